"""What TVM's engines cost beside TVM itself, and the tuned ones beside the untuned: run by engines/tvm's Python.

    LD_LIBRARY_PATH=engines/tvm/.runtime/relay/lib PYTHONPATH=engines/python:engines/tvm \\
      engines/tvm/.venv/relay/bin/python bench/tvm_engines.py models/traffic-signs/engines/{tvm,autotvm,autoscheduler}-1/model.so

For each library: TVM's own time_evaluator in this process, and the gateway's side of a real engine host, round trips over the
frame socket with tensors in shared memory. Libraries take turns, so that a busy machine is as busy for each of them.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time

os.environ.update(TVM_NUM_THREADS="1", TVM_BIND_THREADS="0", TVM_USE_RUNTIME_LIB="1")

import numpy as np
import tvm
from tvm.contrib import graph_executor

import trailer

HEAD = struct.Struct("<IHHIIQII QQ 16x")
LOAD, MAP, INFER, UNLOAD = 1, 2, 3, 5
ENGINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "engines")
ROUNDS, CALLS = 200, 20


class Host:
    """A running host_relay.py with one float32 input and the first output bound."""

    def __init__(self, library):
        description = trailer.read(library)
        self.socket, theirs = socket.socketpair()
        self.memory = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR, 0o600)
        given = [theirs.fileno(), self.memory, os.open(library, os.O_RDONLY)]

        def take_descriptors():
            for at, descriptor in enumerate(given):
                os.dup2(descriptor, 100 + at)
            for at in range(3):
                os.dup2(100 + at, 3 + at)
                os.set_inheritable(3 + at, True)

        environment = {
            **os.environ,
            "CROSSCHECK_THREADS": "1",
            "PYTHONPATH": os.path.join(ENGINES, "python"),
            "LD_LIBRARY_PATH": os.path.join(ENGINES, "tvm/.runtime/relay/lib"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "host_relay.py"],
            cwd=os.path.join(ENGINES, "tvm"),
            env=environment,
            preexec_fn=take_descriptors,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.sequence = 0
        load = {"manifest": {}, "artifact": "/proc/self/fd/5", "directory": "/", "threads": 1, "generation": 1}
        self.ask(LOAD, json.dumps(load).encode())
        os.posix_fallocate(self.memory, 0, 1 << 22)
        self.ask(MAP, json.dumps({"bytes": 1 << 22}).encode())
        source, result = description["inputs"][0], description["outputs"][0]
        data = np.random.default_rng(0).random(source["shape"], dtype="float32")
        os.pwrite(self.memory, data.tobytes(), 0)
        dims = source["shape"]
        space = (data.nbytes + 255) // 256 * 256
        self.payload = b"".join(
            [
                struct.pack("<HHI", 1, 1, 0),
                struct.pack(f"<HBBIQQ{len(dims)}q", 0, 11, len(dims), 0, 0, data.nbytes, *dims),
                struct.pack("<HBBIQQ", 0, 11, 0, 0, space, 4 * int(np.prod(result["shape"]))),
            ]
        )

    def ask(self, kind, payload=b""):
        self.sequence += 1
        self.socket.sendall(HEAD.pack(0x314B4358, kind, 0, 1, 0, self.sequence, len(payload), 0, 0, 0) + payload)
        answer = b""
        while len(answer) < 64 or len(answer) < 64 + HEAD.unpack_from(answer)[6]:
            answer += self.socket.recv(1 << 16)
        head = HEAD.unpack_from(answer)
        if head[2] != 0:
            sys.exit(f"host answered {head[2]}: {answer[64:].decode(errors='replace')}")
        return head

    def engine_seconds(self):
        return self.ask(INFER, self.payload)[8] / 1e9


def main(libraries):
    names = [os.path.basename(os.path.dirname(path)) for path in libraries]
    hosts = [Host(path) for path in libraries]
    timers = []
    for path in libraries:
        graph = graph_executor.GraphModule(tvm.runtime.load_module(path)["default"](tvm.cpu()))
        timers.append(graph.module.time_evaluator("run", tvm.cpu(), number=1, repeat=CALLS))
    bare, served, around = ([[] for _ in libraries] for _ in range(3))
    for _ in range(ROUNDS):
        for index, (timer, host) in enumerate(zip(timers, hosts)):
            bare[index] += list(timer().results)
            for _ in range(CALLS):
                begin = time.perf_counter()
                served[index].append(host.engine_seconds())
                around[index].append(time.perf_counter() - begin)
    micro = lambda values: f"{np.percentile(values, 50) * 1e6:8.1f}"
    print(f"p50 in microseconds of {ROUNDS * CALLS} calls each, interleaved")
    print(f"{'engine':18} time_evaluator  in host  round trip   host adds   untuned / this")
    for index, name in enumerate(names):
        added = np.percentile(around[index], 50) - np.percentile(bare[index], 50)
        ratio = np.percentile(bare[0], 50) / np.percentile(bare[index], 50)
        print(f"{name:18} {micro(bare[index])}     {micro(served[index])}   {micro(around[index])}    {added * 1e6:8.1f}   {ratio:8.2f}")
    for host in hosts:
        host.ask(UNLOAD)
        host.process.wait()


main(sys.argv[1:])

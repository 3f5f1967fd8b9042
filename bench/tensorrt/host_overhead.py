"""What the engine host adds to TensorRT: the bare enqueue-and-synchronise loop against the host process.

    python bench/tensorrt/host_overhead.py REPOSITORY/MODEL/engines/tensorrt-1 --out result.json

All loops run one request at a time, interleaved in blocks in random order, so that clock and temperature hit all alike:

    bare            execute_async_v3, synchronise: no copies
    bareCopies      the same with pinned copies in and out, as a plain program would write it
    graph           runner.py in this process: one graph with copies and events
    host            a host process of engines/tensorrt: INFER frame out, answer back
    hostAndTensors  the same with the tensors written to and read from the shared file, as the gateway does
"""

import argparse
import ctypes
import mmap
import os
import random
import struct
import time

import common
from client import INFER, HostClient
from runner import Binding


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", help="folder with engine.yaml")
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--block", type=int, default=100)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    common.api.use_configured_libraries()
    machine = common.Machine()
    result = {"engine": arguments.engine, "versions": machine.versions(), "microseconds": measure(machine, arguments)}
    times = result["microseconds"]
    for name, row in times.items():
        print(f"{name:28} p50 {row['p50']:9.1f}  p90 {row['p90']:9.1f}  p99 {row['p99']:9.1f}  max {row['max']:9.1f} us  n {row['n']}")
    bare = times["bare"]["p50"]
    result["hostOverBareP50"] = round(times["host"]["p50"] / bare, 3)
    result["hostAndTensorsOverBareP50"] = round(times["hostAndTensors"]["p50"] / bare, 3)
    print(f"host / bare at p50: {result['hostOverBareP50']} (with tensors written and read: {result['hostAndTensorsOverBareP50']}); target 1.25")
    if arguments.out:
        common.write_json(arguments.out, result)


def measure(machine, arguments):
    cuda, folder = machine.cuda, os.path.abspath(arguments.engine)
    runner = machine.runner(folder)
    shapes = [port.shape for port in runner.inputs], [port.shape for port in runner.outputs]
    hosts = {"": {}, "NoGraph": {"CROSSCHECK_TENSORRT_GRAPH": "off"}, "Yield": {"CROSSCHECK_TENSORRT_WAIT": "yield"}, "Block": {"CROSSCHECK_TENSORRT_WAIT": "block"}}
    loops, reported, clients = {}, {}, []

    def bare():
        runner.enqueue()
        cuda.synchronize(runner.stream)

    buffers = [[cuda.allocate_host(port.capacity) for port in ports] for ports in (runner.inputs, runner.outputs)]

    def bare_copies():
        for port, address in zip(runner.inputs, buffers[0]):
            cuda.copy_in(port.device, address, port.capacity, runner.stream)
        runner.enqueue()
        for port, address in zip(runner.outputs, buffers[1]):
            cuda.copy_out(address, port.device, port.capacity, runner.stream)
        cuda.synchronize(runner.stream)

    shared = mmap.mmap(-1, sum(port.capacity + 256 for port in (*runner.inputs, *runner.outputs)))
    at = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    runner.attach(at, len(shared))
    places = [[], []]
    for side, ports in enumerate((runner.inputs, runner.outputs)):
        for index, port in enumerate(ports):
            places[side].append((index, at, shapes[side][index]))
            at += -(-port.capacity // 256) * 256
    binding = Binding(runner, *places)
    loops["bare"], loops["bareCopies"], loops["graph"] = bare, bare_copies, binding.run
    for suffix, environment in hosts.items():
        client = HostClient(os.path.join(common.FAMILY, "host.py"), common.read_manifest(folder), os.path.join(folder, "model.plan"), folder, environment=environment)
        clients.append(client)
        payload = client.prepare()
        tensors = [os.urandom(size) if datatype != "FP32" else _floats(size) for _, datatype, _, _, size in client.inputs]
        client.infer(payload, tensors)
        engine, device = reported.setdefault(f"host{suffix}Engine", []), reported.setdefault(f"host{suffix}Device", [])

        def host(client=client, payload=payload, engine=engine, device=device):
            _, in_engine, on_device = client.ask(INFER, payload)
            engine.append(in_engine)
            device.append(on_device)

        loops[f"host{suffix}"] = host
        if suffix == "":
            loops["hostAndTensors"] = lambda client=client, payload=payload, tensors=tensors: client.infer(payload, tensors)

    times = {name: [] for name in loops}
    for name, loop in loops.items():
        for _ in range(200):
            loop()
    for series in reported.values():
        series.clear()
    for _ in range(arguments.iterations // arguments.block):
        for name in random.sample(list(loops), len(loops)):
            loop, series = loops[name], times[name]
            for _ in range(arguments.block):
                begin = time.perf_counter_ns()
                loop()
                series.append(time.perf_counter_ns() - begin)
    for client in clients:
        client.close()
    return {name: common.summary(series) for name, series in {**times, **reported}.items()}


def _floats(size):
    values = random.Random(1)
    return b"".join(struct.pack("<f", values.uniform(-1, 1)) for _ in range(size // 4))


if __name__ == "__main__":
    main()

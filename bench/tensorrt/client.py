"""The gateway's side of docs/engine-host.md in Python: drives one host program, for benches and tests."""

import json
import os
import socket
import struct
import subprocess
import sys

HEAD = struct.Struct("<IHHIIQII QQ 16x")
COUNTS = struct.Struct("<HHI")
DESCRIPTOR = struct.Struct("<HBBIQQ")
MAGIC, GENERATION = 0x314B4358, 7
LOAD, MAP, INFER, PING, UNLOAD = 1, 2, 3, 4, 5
CODES = {"BOOL": 1, "UINT8": 2, "INT8": 6, "INT32": 8, "INT64": 9, "FP16": 10, "FP32": 11, "BF16": 13}
BYTES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "INT32": 4, "INT64": 8, "FP16": 2, "FP32": 4, "BF16": 2}


class HostError(RuntimeError):
    def __init__(self, status, answer):
        super().__init__(answer.get("error", f"status {status}"))
        self.status, self.answer = status, answer


class HostClient:
    """One host process with one slot."""

    def __init__(self, program, manifest, artifact, directory, python=sys.executable, environment=None):
        self.stream, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.shared = os.memfd_create("crosscheck-bench")
        self.size = 0
        plan = os.open(artifact, os.O_RDONLY)
        low = [child.fileno(), self.shared, plan]
        root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
        self.process = subprocess.Popen(
            [python, "-c", _WITH_DESCRIPTORS, *map(str, low), python, program],
            pass_fds=low,
            cwd=os.path.dirname(program),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env={**os.environ, "PYTHONPATH": _python_path(root), "CROSSCHECK_HOST_PROTOCOL": "1", **(environment or {})},
        )
        child.close()
        os.close(plan)
        self.sequence = 0
        job = {"manifest": manifest, "artifact": "/proc/self/fd/5", "directory": directory, "threads": 1, "generation": GENERATION}
        try:
            self.info = json.loads(self.ask(LOAD, json.dumps(job, default=str).encode())[0])
        except HostError:
            self._end()
            raise

    def ask(self, kind, payload=b""):
        """(payload, engine nanoseconds, device nanoseconds) of the answer; HostError when its status is not OK."""
        self.sequence += 1
        self.stream.sendall(HEAD.pack(MAGIC, kind, 0, GENERATION, 0, self.sequence, len(payload), 0, 0, 0) + payload)
        magic, answered, status, _, _, sequence, size, _, engine, device = HEAD.unpack(self._receive(HEAD.size))
        answer = self._receive(size)
        assert (magic, answered, sequence) == (MAGIC, kind + 128, self.sequence), "the host broke the protocol"
        if status:
            raise HostError(status, json.loads(answer))
        return answer, engine, device

    def prepare(self, shapes=None, space=1 << 20):
        """Lays out the slot for these input shapes (default: the engine's own) and returns the INFER payload.

        `shapes` is {input: shape}; `space` is kept for an output whose size is not known.
        """
        shapes = shapes or {}
        position, self.inputs, self.outputs = 0, [], []
        for index, spec in enumerate(self.info["inputs"]):
            shape = shapes.get(spec["name"], spec["shape"])
            size = _count(shape) * BYTES[spec["datatype"]]
            self.inputs.append((index, spec["datatype"], shape, position, size))
            position += -(-size // 256) * 256
        for index, spec in enumerate(self.info["outputs"]):
            static = all(n >= 0 for n in spec["shape"])
            size = _count(spec["shape"]) * BYTES[spec["datatype"]] if static else space
            self.outputs.append((index, spec["datatype"], position, size))
            position += -(-size // 256) * 256
        if position > self.size:
            os.posix_fallocate(self.shared, 0, position)
            self.size = position
            self.ask(MAP, json.dumps({"bytes": position}).encode())
        parts = [COUNTS.pack(len(self.inputs), len(self.outputs), 0)]
        for index, datatype, shape, offset, size in self.inputs:
            parts.append(DESCRIPTOR.pack(index, CODES[datatype], len(shape), 0, offset, size) + struct.pack(f"<{len(shape)}q", *shape))
        for index, datatype, offset, size in self.outputs:
            parts.append(DESCRIPTOR.pack(index, CODES[datatype], 0, 0, offset, size))
        return b"".join(parts)

    def infer(self, payload, tensors):
        """Writes the inputs, runs, reads the outputs: ([(shape, bytes)], engine ns, device ns)."""
        for (_, _, _, offset, _), data in zip(self.inputs, tensors):
            os.pwrite(self.shared, data, offset)
        answer, engine, device = self.ask(INFER, payload)
        return self.read(answer), engine, device

    def read(self, answer):
        """The outputs that an INFER answer describes."""
        _, count, _ = COUNTS.unpack_from(answer)
        at, got = COUNTS.size, []
        for _ in range(count):
            _, _, rank, _, offset, size = DESCRIPTOR.unpack_from(answer, at)
            shape = struct.unpack_from(f"<{rank}q", answer, at + DESCRIPTOR.size)
            at += DESCRIPTOR.size + 8 * rank
            got.append((shape, os.pread(self.shared, size, offset)))
        return got

    def close(self):
        """UNLOAD; returns the exit code."""
        try:
            self.ask(UNLOAD)
        except (OSError, EOFError):
            pass
        return self._end()

    def _end(self):
        self.stream.close()
        os.close(self.shared)
        return self.process.wait(30)

    def _receive(self, size):
        parts = []
        while size:
            part = self.stream.recv(size)
            if not part:
                raise EOFError(f"the host ended with exit code {self.process.wait(30)}")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


# Puts the three descriptors where the protocol wants them, then becomes the host.
_WITH_DESCRIPTORS = """
import os, sys
low = [os.dup2(int(n), 100 + i) for i, n in enumerate(sys.argv[1:4])]
for i, n in enumerate(low):
    os.dup2(n, 3 + i)
    os.close(n)
os.execv(sys.argv[4], sys.argv[4:])
"""


def _python_path(root):
    return os.pathsep.join(filter(None, [os.path.join(root, "engines", "python"), os.environ.get("PYTHONPATH")]))


def _count(shape):
    elements = 1
    for n in shape:
        elements *= n
    return elements

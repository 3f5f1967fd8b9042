"""Engine hosts in Python: the child's side of docs/engine-host.md (Linux, Python 3.8 or later, standard library only).

A host program is an engine and one call:

    from crosscheck_host import Engine, LoadFailed, TensorSpec, serve

    class Doubler(Engine):
        def __init__(self, job):                      # raise LoadFailed("why", "remedy") when it cannot be loaded
            self.runtime = {"name": "doubler", "version": "1"}
            self.device = {"kind": "cpu", "name": "any"}
            self.inputs = [TensorSpec("x", "FP32", [-1, 3])]
            self.outputs = [TensorSpec("y", "FP32", [-1, 3])]

        def infer(self, call):
            x = call.inputs[0].array                  # numpy view of the shared memory, or .data, or .address
            call.outputs[0].resize(x.shape)           # needed for dynamic shapes only
            call.outputs[0].array[:] = 2 * x

    serve(Doubler)

Before `infer` runs, the library has checked that every input is there once, with the datatype and a shape that the specs
allow, and that all of it lies in the mapped file. The time spent in `infer` is reported as engine time unless `infer`
returns a better one. numpy is imported only when `array` or `write` is used.
"""
from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

__all__ = ["BadRequest", "Call", "Engine", "Job", "LoadFailed", "OutputTooLarge", "Tensor", "TensorSpec", "serve"]

FRAME_SOCKET, SHARED_FILE = 3, 4

MAGIC = 0x314B4358
HEAD = struct.Struct("<IHHIIQII QQ 16x")
PAYLOAD_LIMIT = 1 << 20
LOAD, MAP, INFER, PING, UNLOAD = 1, 2, 3, 4, 5
OK, BAD_REQUEST, ENGINE_ERROR, OUTPUT_TOO_LARGE, LOAD_FAILED, NOT_LOADED = 0, 1, 2, 3, 4, 5
EXIT_BROKEN = 70

COUNTS = struct.Struct("<HHI")
DESCRIPTOR = struct.Struct("<HBBIQQ")
RANK_LIMIT = 16

# V2 datatype -> (code in frames, element bytes, numpy dtype); numpy has no bfloat16, so BF16 stays raw words.
DATATYPES = {
    "BOOL": (1, 1, "?"),
    "UINT8": (2, 1, "<u1"),
    "UINT16": (3, 2, "<u2"),
    "UINT32": (4, 4, "<u4"),
    "UINT64": (5, 8, "<u8"),
    "INT8": (6, 1, "<i1"),
    "INT16": (7, 2, "<i2"),
    "INT32": (8, 4, "<i4"),
    "INT64": (9, 8, "<i8"),
    "FP16": (10, 2, "<f2"),
    "FP32": (11, 4, "<f4"),
    "FP64": (12, 8, "<f8"),
    "BF16": (13, 2, "<u2"),
}


class BadRequest(Exception):
    """The input does not fit the engine; the client gets the message (400)."""


class LoadFailed(Exception):
    """The engine cannot be loaded here; `remedy` says what would help."""

    def __init__(self, error: str, remedy: str = ""):
        super().__init__(error)
        self.remedy = remedy


class OutputTooLarge(Exception):
    """An output needs `size` bytes, more than its space; raised by Tensor.resize, never by hand."""

    def __init__(self, index: int, size: int):
        super().__init__(f"output {index} needs {size} bytes")
        self.index, self.size = index, size


class TensorSpec:
    """What an engine takes or gives: -1 is a dynamic dimension, `bounds` its [min, max] per dimension, if it has some."""

    def __init__(
        self,
        name: str,
        datatype: str,
        shape: Sequence[int],
        bounds: Optional[Sequence[Sequence[int]]] = None,
    ):
        if datatype not in DATATYPES:
            raise LoadFailed(f'tensor "{name}" has datatype {datatype}, which hosts do not exchange')
        self.name, self.datatype, self.shape = name, datatype, [int(n) for n in shape]
        self.bounds = None if bounds is None else [[int(low), int(high)] for low, high in bounds]
        self.code, self.element_bytes, self.dtype = DATATYPES[datatype]

    @property
    def static(self) -> bool:
        return all(n >= 0 for n in self.shape)

    def misfit(self, shape: Sequence[int]) -> Optional[str]:
        """Why a tensor of this shape is refused, or None when it fits."""
        if len(shape) != len(self.shape):
            return f'"{self.name}" has rank {len(shape)}; the engine takes shape {self.shape}'
        for axis, (have, want) in enumerate(zip(shape, self.shape)):
            low, high = self.bounds[axis] if self.bounds else (0, sys.maxsize)
            if have < 0 or (want >= 0 and have != want) or (want < 0 and not low <= have <= high):
                within = f" within bounds {self.bounds}" if self.bounds else ""
                return f'"{self.name}" has shape {list(shape)}; the engine takes {self.shape}{within}'
        return None

    def to_json(self) -> Dict[str, Any]:
        fields: Dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        if self.bounds is not None:
            fields["bounds"] = self.bounds
        return fields


class Job:
    """What LOAD asks for. `artifact` is a path to open (the file whose digest was checked); read no other file for it."""

    def __init__(self, payload: Dict[str, Any]):
        self.manifest: Dict[str, Any] = payload["manifest"]  # engine.yaml
        self.artifact: str = payload["artifact"]
        self.directory: str = payload["directory"]
        self.threads: int = int(payload["threads"])


class Engine:
    """Base of an engine: set the four attributes in the constructor, override `infer`."""

    runtime: Dict[str, str]
    device: Dict[str, str]
    inputs: List[TensorSpec]
    outputs: List[TensorSpec]

    def infer(self, call: "Call") -> Union[None, int, Tuple[int, int]]:
        """Runs the engine. May return engine nanoseconds, or (engine, device) nanoseconds, instead of being timed."""
        raise NotImplementedError

    def mapped(self, memory: memoryview, address: int) -> None:
        """The shared file is mapped here now (and anew when it has grown); the old mapping lives until this returns."""

    def ping(self) -> Dict[str, Any]:
        """Fields for the answer to PING, such as {"deviceBytes": n}."""
        return {}

    def close(self) -> None:
        """Frees the engine, before the process exits."""


class Tensor:
    """One tensor of a call, in the shared file. `bytes` is an input's size, of an output the space that it may fill."""

    __slots__ = ("spec", "index", "shape", "offset", "bytes", "_memory", "_array")

    def __init__(self, spec: TensorSpec, index: int, shape: Any, offset: int, size: int, memory: "Memory"):
        self.spec = spec
        self.index = index
        self.shape: Optional[Tuple[int, ...]] = shape
        self.offset = offset
        self.bytes = size
        self._memory = memory
        self._array: Any = None

    @property
    def address(self) -> int:
        """Where the first byte lies in this process, for pointers given to native code."""
        return self._memory.address + self.offset

    @property
    def data(self) -> memoryview:
        """The tensor's bytes, writable; an output's whole space while its shape is not known."""
        size = self.bytes if self.shape is None else self.size
        return self._memory.view[self.offset : self.offset + size]

    @property
    def size(self) -> int:
        """Bytes of the tensor's shape."""
        if self.shape is None:
            raise RuntimeError(f'output "{self.spec.name}" has no shape yet; call resize first')
        return count(self.shape) * self.spec.element_bytes

    @property
    def array(self) -> Any:
        """numpy view of the shared memory, in the tensor's shape; BF16 as uint16 words. Kept, so asking again is free."""
        if self._array is None:
            import numpy

            elements = self.size // self.spec.element_bytes
            flat = numpy.frombuffer(self._memory.view, self.spec.dtype, elements, self.offset)
            self._array = flat.reshape(self.shape)
        return self._array

    def resize(self, shape: Sequence[int]) -> None:
        """Gives an output its shape. Raises OutputTooLarge, which the library answers, when its space does not do."""
        wanted = tuple(int(n) for n in shape)
        if wanted == self.shape:
            return
        size = count(wanted) * self.spec.element_bytes
        if size > self.bytes:
            raise OutputTooLarge(self.index, size)
        self.shape, self._array = wanted, None

    def write(self, array: Any) -> None:
        """Copies a numpy array into an output, with its shape."""
        self.resize(array.shape)
        self.array[...] = array


class Call:
    """One INFER. The object is kept for its slot: while the same payload comes, `bound` holds whatever the engine put there
    (bindings, device buffers); it starts as None when shapes, outputs or the mapping changed."""

    __slots__ = ("slot", "inputs", "outputs", "bound", "_payload", "_answer", "_shapes")

    def __init__(self, slot: int, inputs: List[Tensor], outputs: List[Tensor], payload: bytes):
        self.slot = slot
        self.inputs = inputs  # all of them, in the order of engine.inputs
        self.outputs = outputs  # those asked for, in the order asked; Tensor.index is the place in engine.outputs
        self.bound: Any = None
        self._payload = payload
        self._answer = b""
        self._shapes: Any = None


def serve(load: Callable[[Job], Engine]) -> None:
    """Serves one engine on descriptors 3, 4 and 5 and does not return. `load` builds the engine; it may be a class."""
    die_with_parent()
    # Ctrl-C in a terminal reaches the whole process group; only the gateway decides when a host ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    exit_now(Host(socket.socket(fileno=FRAME_SOCKET), load).run())


class Memory:
    """The shared file as this process sees it."""

    def __init__(self, size: int):
        self.mapping = mmap.mmap(SHARED_FILE, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.view = memoryview(self.mapping)
        self.size = size
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.mapping))


class Broken(Exception):
    """The other side does not keep to the protocol."""


class Host:
    def __init__(self, stream: socket.socket, load: Callable[[Job], Engine]):
        stream.setblocking(True)
        self.stream = stream
        self.load = load
        self.engine: Optional[Engine] = None
        self.memory: Optional[Memory] = None
        self.calls: Dict[int, Call] = {}
        self.generation: Optional[int] = None
        self.buffer = memoryview(bytearray(2 * (HEAD.size + PAYLOAD_LIMIT)))
        self.start = self.end = 0

    def run(self) -> int:
        """Answers frames until the end of file (0), UNLOAD (0), a failed load (1) or a broken peer (70)."""
        try:
            while True:
                frame = self.read()
                if frame is None:
                    return 0
                code = self.answer(*frame)
                if code is not None:
                    return code
        except Broken as broken:
            print(f"engine host: {broken}", file=sys.stderr)
            return EXIT_BROKEN
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the gateway is gone

    def read(self) -> Optional[Tuple[int, int, int, bytes]]:
        if not self.fill(HEAD.size):
            return None
        magic, kind, _, generation, slot, sequence, size, _, _, _ = HEAD.unpack_from(self.buffer, self.start)
        if magic != MAGIC:
            raise Broken(f"frame with magic {magic:#010x}, not {MAGIC:#010x}")
        if size > PAYLOAD_LIMIT:
            raise Broken(f"frame with {size} bytes of payload, more than {PAYLOAD_LIMIT}")
        if kind not in (LOAD, MAP, INFER, PING, UNLOAD):
            raise Broken(f"frame of unknown type {kind}")
        # The first LOAD names this process's generation; what comes before it may carry any.
        if self.generation is not None and generation != self.generation:
            raise Broken(f"frame of generation {generation} in generation {self.generation}")
        if not self.fill(HEAD.size + size):
            raise Broken("end of file inside a frame")
        begin = self.start + HEAD.size
        payload = self.buffer[begin : begin + size].tobytes()
        self.start = begin + size
        self.head = (kind, generation, slot, sequence)
        return kind, slot, sequence, payload

    def fill(self, size: int) -> bool:
        """Has `size` unread bytes in the buffer; False at end of file between frames."""
        if self.start == self.end:
            self.start = self.end = 0
        while self.end - self.start < size:
            if len(self.buffer) - self.start < size:
                rest = self.buffer[self.start : self.end].tobytes()
                self.buffer[: len(rest)] = rest
                self.start, self.end = 0, len(rest)
            got = self.stream.recv_into(self.buffer[self.end :])
            if got == 0:
                if self.end > self.start:
                    raise Broken("end of file inside a frame")
                return False
            self.end += got
        return True

    def send(self, status: int, payload: bytes = b"", engine_ns: int = 0, device_ns: int = 0) -> None:
        kind, generation, slot, sequence = self.head
        head = HEAD.pack(
            MAGIC, kind + 128, status, generation, slot, sequence, len(payload), 0, engine_ns, device_ns
        )
        self.stream.sendall(head + payload)

    def send_json(self, status: int, fields: Dict[str, Any]) -> None:
        self.send(status, json.dumps(fields).encode())

    def answer(self, kind: int, slot: int, sequence: int, payload: bytes) -> Optional[int]:
        if kind == INFER:
            self.on_infer(slot, payload)
        elif kind == PING:
            self.send_json(OK, self.engine.ping() if self.engine else {})
        elif kind == LOAD:
            return self.on_load(payload)
        elif kind == MAP:
            self.on_map(payload)
        else:
            self.calls.clear()
            if self.engine:
                self.engine.close()
            self.send(OK)
            return 0
        return None

    def on_load(self, payload: bytes) -> Optional[int]:
        if self.engine is not None:
            self.send_json(BAD_REQUEST, {"error": "an engine is loaded already; one host holds one engine"})
            return None
        try:
            message = json.loads(payload)
            self.generation = int(message["generation"])
            self.engine = self.load(Job(message))
            self.send_json(
                OK,
                {
                    "runtime": self.engine.runtime,
                    "device": self.engine.device,
                    "inputs": [spec.to_json() for spec in self.engine.inputs],
                    "outputs": [spec.to_json() for spec in self.engine.outputs],
                },
            )
            return None
        except Exception as error:
            if not isinstance(error, LoadFailed):
                traceback.print_exc()
            self.send_json(LOAD_FAILED, {"error": describe(error), "remedy": getattr(error, "remedy", "")})
            return 1

    def on_map(self, payload: bytes) -> None:
        if self.engine is None:
            self.send_json(NOT_LOADED, {"error": "MAP before LOAD"})
            return
        try:
            memory = Memory(int(json.loads(payload)["bytes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.send_json(BAD_REQUEST, {"error": f"cannot map the shared file: {describe(error)}"})
            return
        self.calls.clear()
        self.engine.mapped(memory.view, memory.address)
        self.memory = memory
        self.send(OK)

    def on_infer(self, slot: int, payload: bytes) -> None:
        engine, memory = self.engine, self.memory
        if engine is None or memory is None:
            self.send_json(NOT_LOADED, {"error": f"INFER before {'LOAD' if engine is None else 'MAP'}"})
            return
        try:
            call = self.calls.get(slot)
            if call is None or call._payload != payload:
                call = bind(engine, memory, slot, payload)
                self.calls[slot] = call
            begin = time.perf_counter_ns()
            times = engine.infer(call)
            spent = time.perf_counter_ns() - begin
            answer = describe_outputs(call)
        except BadRequest as error:
            self.send_json(BAD_REQUEST, {"error": str(error)})
        except OutputTooLarge as error:
            self.send_json(OUTPUT_TOO_LARGE, {"index": error.index, "bytes": error.size})
        except Exception as error:
            traceback.print_exc()
            self.calls.pop(slot, None)
            self.send_json(ENGINE_ERROR, {"error": describe(error)})
        else:
            if times is None:
                self.send(OK, answer, spent)
            elif isinstance(times, tuple):
                self.send(OK, answer, int(times[0]), int(times[1]))
            else:
                self.send(OK, answer, int(times))


def bind(engine: Engine, memory: Memory, slot: int, payload: bytes) -> Call:
    """INFER's payload as tensors in the mapped file, checked against the engine's specs."""
    try:
        input_count, output_count, _ = COUNTS.unpack_from(payload)
        at = COUNTS.size
        inputs: Dict[int, Tensor] = {}
        outputs: List[Tensor] = []
        for position in range(input_count + output_count):
            index, code, rank, _, offset, size = DESCRIPTOR.unpack_from(payload, at)
            at += DESCRIPTOR.size
            if rank > RANK_LIMIT:
                raise BadRequest(f"rank {rank} is more than {RANK_LIMIT}")
            shape = struct.unpack_from(f"<{rank}q", payload, at)
            at += 8 * rank
            is_input = position < input_count
            specs = engine.inputs if is_input else engine.outputs
            what = "input" if is_input else "output"
            if index >= len(specs):
                raise BadRequest(f"the engine has no {what} {index}, it has {len(specs)}")
            spec = specs[index]
            if code != spec.code:
                raise BadRequest(f'{what} "{spec.name}" is {spec.datatype}, code {spec.code}, not code {code}')
            if offset % 256 or offset + size > memory.size:
                raise BadRequest(f'{what} "{spec.name}" at offset {offset} with {size} bytes is not in the shared file')
            if not is_input:
                outputs.append(Tensor(spec, index, tuple(spec.shape) if spec.static else None, offset, size, memory))
                continue
            reason = spec.misfit(shape)
            if reason:
                raise BadRequest(f"input {reason}")
            if size != count(shape) * spec.element_bytes:
                raise BadRequest(f'input "{spec.name}" has {size} bytes; {list(shape)} {spec.datatype} is another size')
            if index in inputs:
                raise BadRequest(f'input "{spec.name}" is given twice')
            inputs[index] = Tensor(spec, index, shape, offset, size, memory)
        if at != len(payload):
            raise BadRequest(f"the payload has {len(payload)} bytes, its descriptors {at}")
    except struct.error as error:
        raise BadRequest("the payload ends inside a descriptor") from error
    for index, spec in enumerate(engine.inputs):
        if index not in inputs:
            raise BadRequest(f'input "{spec.name}" is missing')
    for output in outputs:
        if output.shape is not None and output.size > output.bytes:
            raise OutputTooLarge(output.index, output.size)
    return Call(slot, [inputs[index] for index in range(len(engine.inputs))], outputs, payload)


def describe_outputs(call: Call) -> bytes:
    shapes = [output.shape for output in call.outputs]
    if shapes == call._shapes:
        return call._answer
    parts = [COUNTS.pack(0, len(shapes), 0)]
    for output, shape in zip(call.outputs, shapes):
        size = output.size  # raises when the engine left an output without a shape
        parts.append(DESCRIPTOR.pack(output.index, output.spec.code, len(shape), 0, output.offset, size))
        parts.append(struct.pack(f"<{len(shape)}q", *shape))
    call._answer, call._shapes = b"".join(parts), shapes
    return call._answer


def count(shape: Sequence[int]) -> int:
    elements = 1
    for n in shape:
        elements *= n
    return elements


def describe(error: BaseException) -> str:
    text = str(error).strip()
    return text if isinstance(error, LoadFailed) and text else f"{type(error).__name__}: {text}" if text else type(error).__name__


def die_with_parent() -> None:
    """For gateways that have no setpriv: the kernel kills this process when its parent goes, stopped or hung too."""
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_pdeathsig = 1
    libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def exit_now(code: int) -> None:
    """Leaves without the interpreter's teardown: native runtimes crash there more often than not."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

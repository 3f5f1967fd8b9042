# The Python twin of echo-host.ts, on crosscheck_host.py.
import os
import signal
import sys
import time

from crosscheck_host import BadRequest, Engine, LoadFailed, TensorSpec, serve


def spin():
    while True:
        pass


def raise_(error):
    raise error


COMMANDS = {
    1: lambda: os._exit(3),
    2: spin,
    3: lambda: os.kill(os.getpid(), signal.SIGKILL),
    4: lambda: time.sleep(0.1),
    5: lambda: raise_(RuntimeError("the engine stumbled")),
    6: lambda: raise_(BadRequest("that is no input")),
    7: lambda: sys.stderr.write(("x" * 5000 + "\n") * 300),
    8: lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


class Echo(Engine):
    def __init__(self, job):
        if job.manifest.get("refuse"):
            raise LoadFailed("it will not", "ask another")
        print("artifact:", open(job.artifact).read())
        self.runtime = {"name": "echo", "version": "1"}
        self.device = {"kind": "cpu", "name": "test"}
        specs = job.manifest["tensors"]
        self.inputs = [TensorSpec(s["name"], s["datatype"], s["shape"], s.get("bounds")) for s in specs]
        self.outputs = [
            TensorSpec(s["name"] + "-out", s["datatype"], s["shape"], s.get("bounds")) for s in specs
        ]

    def infer(self, call):
        for tensor in call.inputs:
            if tensor.spec.name == "command":
                COMMANDS.get(tensor.data[0], lambda: None)()
        for output in call.outputs:
            source = call.inputs[output.index]
            output.resize(source.shape)
            output.data[:] = source.data

    def ping(self):
        return {"deviceBytes": 7}


serve(Echo)

"""The engine host of openvino: tensors of the request lie in the gateway's shared memory."""

import io
import time

from crosscheck_host import Engine, LoadFailed, TensorSpec, serve

try:
    import openvino
    from plugin import DATATYPES, device, settings, version
except ImportError as missing:
    openvino, problem = None, missing


class OpenVinoEngine(Engine):
    def __init__(self, job):
        if openvino is None:
            raise LoadFailed(f"OpenVINO cannot be imported: {problem}", "run npx crosscheck setup openvino")
        made = job.manifest.get("compiler", {}).get("version")
        if made not in (None, version()):
            raise LoadFailed(f"the engine was made by OpenVINO {made}, this is {version()}", "compile it again")
        try:
            with open(job.artifact, "rb") as file:
                blob = io.BytesIO(file.read())
            model = openvino.Core().import_model(blob, "CPU", settings(job.manifest.get("precision", "fp32"), job.threads))
        except Exception as cause:
            raise LoadFailed(f"OpenVINO {version()} cannot load the model: {cause}", "compile it again on this machine") from cause
        self.runtime = {"name": "openvino", "version": version()}
        self.device = device()
        self.inputs = [spec(port) for port in model.inputs]
        self.outputs = [spec(port) for port in model.outputs]
        self.request = model.create_infer_request()
        self.bound = None

    def infer(self, call):
        if self.bound is not call:
            self.bind(call)
            self.bound = call
        begin = time.perf_counter_ns()
        self.request.infer()
        for tensor in call.outputs:
            if not tensor.spec.static:  # its size is known only now
                tensor.write(self.request.get_output_tensor(tensor.index).data)
        return time.perf_counter_ns() - begin

    def bind(self, call):
        asked = {tensor.index: tensor for tensor in call.outputs}
        for tensor in call.inputs:
            self.request.set_input_tensor(tensor.index, wrap(tensor))
        for index, own in enumerate(self.outputs):
            if not own.static:
                continue
            if index in asked:
                self.request.set_output_tensor(index, wrap(asked[index]))
            else:
                self.request.set_output_tensor(index, openvino.Tensor(element_type(own), own.shape))

    def mapped(self, memory, address):
        self.bound = None


def wrap(tensor):
    if tensor.spec.datatype == "BF16":  # numpy has none
        return openvino.Tensor(tensor.array, tensor.shape, openvino.Type.bf16)
    return openvino.Tensor(tensor.array, shared_memory=True)


def element_type(own):
    return openvino.Type(next(kind for kind, datatype in DATATYPES.items() if datatype == own.datatype))


def spec(port):
    dims = port.get_partial_shape()
    shape = [dim.get_length() if dim.is_static else -1 for dim in dims]
    return TensorSpec(port.get_any_name(), DATATYPES[port.get_element_type().get_type_name()], shape)


if __name__ == "__main__":
    serve(OpenVinoEngine)

"""The compile program: one TensorRT build behind the contract of engines/README.md."""

import threading
import time

import api
import build as builds
import plan as plans
from crosscheck_compile import CompileError, run
from cuda import Cuda, CudaError

_PROGRESS_SECONDS = 0.5


def compile_plan(job, progress):
    try:
        trt = api.import_tensorrt()
        cuda = Cuda(api.device_ordinal(), "block")
    except api.TensorRTMissing as error:
        raise CompileError(str(error), api.REMEDY) from error
    except CudaError as error:
        raise CompileError(str(error), "compile on the machine that will serve the plan: plans are bound to their GPU") from error
    device = cuda.describe()
    logger = api.make_logger(trt)
    report = _Throttled(progress)

    def work():
        cuda.make_current()
        return builds.build(
            trt, cuda, logger, str(job.model_file), job.precision, job.options,
            replay=job.replay and str(job.replay), calibration=job.calibration and str(job.calibration), progress=report,
        )  # fmt: skip

    progress("building", message=f"TensorRT {trt.__version__} on {device['name']}")
    try:
        built = _interruptible(work)
        artifact = builds.write_beside(job.out_directory, built)
    except builds.BuildError as error:
        raise CompileError(str(error), error.remedy) from error
    return {
        "artifact": artifact,
        "tuningLog": None,
        "timingCache": "timing.cache",
        "compilerVersion": trt.__version__,
        "target": plans.target_of(device),
        "device": {"kind": "cuda", **device},
        "options": job.options,
        "seed": None,  # the builder takes none: it decides by what it measures
        "fingerprint": built.fingerprint,
        "notes": built.notes,
    }


def _interruptible(work):
    """Runs the build in a thread of its own: the builder is one long native call, and Ctrl-C must not wait for it."""
    outcome = {}

    def body():
        try:
            outcome["value"] = work()
        except BaseException as error:  # handed to the main thread as it is
            outcome["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


class _Throttled:
    """The builder's phases as progress events, a few a second; it reports from threads of its own."""

    def __init__(self, progress):
        self._progress = progress
        self._lock = threading.Lock()
        self._next = 0.0

    def __call__(self, phase, parent, step, steps):
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + _PROGRESS_SECONDS
            self._progress("building", trial=step, trials=steps, message=phase if parent is None else f"{parent}: {phase}")


if __name__ == "__main__":
    api.use_configured_libraries()
    run(compile_plan)

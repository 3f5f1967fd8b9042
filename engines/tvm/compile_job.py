"""What both compile programs do around their compiler: its surroundings, its target, and the end of its workers."""

import os

# Schedules are measured with the threads that serve later.
os.environ.setdefault("TVM_BIND_THREADS", "0")

from crosscheck_compile import CompileError, run  # noqa: E402

from interrupts import end_soon_after_interrupt, kill_workers  # noqa: E402
from model_file import ModelFile  # noqa: E402
from targets import default_target, missing_cpu_features  # noqa: E402

LIBRARY = "model.so"
LOG = "tuning.jsonl"


def run_compile(compile):
    """Runs `compile(job, options, model, progress)`, before which nothing may import TVM; `options["target"]` is chosen and fits."""

    def prepared(job, progress):
        try:
            os.environ["TVM_NUM_THREADS"] = str(job.threads)
            # Measuring workers run elsewhere and import this folder's modules.
            os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)), os.environ.get("PYTHONPATH", "")])
            os.chdir(job.work_directory)  # TVM leaves files where it runs
            end_soon_after_interrupt()
            options = with_target(job.options)
            model = ModelFile(str(job.model_file), options.pop("shape"))
            progress("importing", message=f"{len(model.proto.graph.node)} nodes")
            return compile(job, options, model, progress)
        finally:
            kill_workers()  # measuring workers that stayed would hold this program's output open

    run(prepared)


def with_target(options):
    target = options["target"] or default_target()
    lacking = missing_cpu_features(target)
    if lacking:
        raise CompileError(f'target "{target}" needs {", ".join(lacking)}, which this processor lacks', "give another with --option target=...")
    return {**options, "target": target}


def refuse_without_hits(hit, build):
    """`build`: what it would not be, such as "an autotvm build"."""
    if not hit:
        raise CompileError(
            f"not one task of this model is in the tuning log, so this would not be {build}",
            "give the log of this very model, shape and target, or tune without --replay",
        )

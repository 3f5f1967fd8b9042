"""The compile program of tvm, autotvm and autoscheduler: TVM 0.19 or older, which still has Relay."""

import os
import shutil

# Before TVM is imported: no tuning packages from the network, schedules measured with the threads that serve later.
os.environ["TOPHUB_LOCATION"] = "NONE"
os.environ.setdefault("TVM_BIND_THREADS", "0")

from crosscheck_compile import CompileError, run  # noqa: E402

from interrupts import end_soon_after_interrupt, kill_workers  # noqa: E402
from model_file import ModelFile  # noqa: E402
from targets import cpu_name, default_target, missing_cpu_features  # noqa: E402

LIBRARY = "model.so"
LOG = "tuning.jsonl"


def compile_and_clean_up(job, progress):
    try:
        return compile(job, progress)
    finally:
        kill_workers()  # measuring workers that stayed would hold this program's output open


def compile(job, progress):
    os.environ["TVM_NUM_THREADS"] = str(job.threads)
    # Measuring workers run elsewhere and import this folder's modules.
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)), os.environ.get("PYTHONPATH", "")])
    os.chdir(job.work_directory)  # TVM leaves files where it runs
    end_soon_after_interrupt()
    options = dict(job.options)
    options["target"] = options["target"] or default_target()
    lacking = missing_cpu_features(options["target"])
    if lacking:
        raise CompileError(
            f'target "{options["target"]}" needs {", ".join(lacking)}, which this processor lacks', "give another with --option target=..."
        )
    model = ModelFile(str(job.model_file), options.pop("shape"))
    progress("importing", message=f"{len(model.proto.graph.node)} nodes")

    import tvm

    from relay_model import RelayModel, fingerprint

    relay_model = RelayModel(model, options["target"])
    if options.get("layout") == "nhwc":
        relay_model.to_nhwc()
    compiler = compiler_named(job.compiler)
    if compiler is None:
        log, used = None, None
        progress("building", message="default schedules")
        library = relay_model.build(no_tuning(tvm))
    else:
        log = make_log(job, options, compiler, relay_model, progress)
        progress("building", message=f"best schedules of {log.name}")
        used = compiler.context(compiler.read_log(str(log), relay_model.target))
        library = relay_model.build(used, compiler.SCHEDULER)
    hit, missed = compiler.hits_and_misses(used) if used else ([], [])
    if compiler and not hit:
        raise CompileError(
            f"not one task of this model is in the tuning log, so this would not be an {job.compiler} build",
            "give the log of this very model, shape and target, or tune without --replay",
        )
    relay_model.export(library, str(job.out_directory / LIBRARY))
    if log:
        shutil.copyfile(log, job.out_directory / LOG)
    return {
        "artifact": LIBRARY,
        "tuningLog": LOG if log else None,
        "timingCache": None,
        "compilerVersion": tvm.__version__,
        "target": options["target"],
        "device": device(relay_model.target),
        "options": untuned(options) if job.replay else options,
        "seed": None if job.replay else options.get("seed") or None,
        "fingerprint": fingerprint(library),
        "notes": {"tasksHit": hit, "tasksFallenBack": missed},
    }


def untuned(options):
    """Of a replay: its other options belong to the tuning that made the log."""
    return {key: options[key] for key in ("target", "layout") if key in options}


def compiler_named(name):
    if name == "autotvm":
        import autotvm_compiler

        return autotvm_compiler
    if name == "autoscheduler":
        import autoscheduler_compiler

        return autoscheduler_compiler
    return None


def no_tuning(tvm):
    return tvm.autotvm.task.FallbackContext()


def make_log(job, options, compiler, relay_model, progress):
    """The log to build from: the one given, or the one in the work directory after tuning has filled it up."""
    if job.replay:
        return job.replay
    log = job.work_directory / LOG

    def tell(**fields):
        progress("tuning", **{key: value for key, value in fields.items() if value is not None})

    compiler.tune(relay_model, options, str(log), tell)
    return log


def device(target):
    if target.kind.name == "cuda":
        import tvm

        return {"kind": "cuda", "name": tvm.cuda(0).device_name}
    return {"kind": "cpu", "name": cpu_name()}


if __name__ == "__main__":
    run(compile_and_clean_up)

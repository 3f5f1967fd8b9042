"""The compile program of tvm, autotvm and autoscheduler: TVM 0.19 or older, which still has Relay."""

import os
import shutil

os.environ["TOPHUB_LOCATION"] = "NONE"  # before TVM is imported: no tuning packages from the network

from compile_job import LIBRARY, LOG, refuse_without_hits, run_compile  # noqa: E402
from targets import cpu_name  # noqa: E402


def compile(job, options, model, progress):
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
    if compiler:
        refuse_without_hits(hit, f"an {job.compiler} build")
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
    run_compile(compile)

"""The compile program of metaschedule: today's TVM, which has Relax."""

import os

os.environ.setdefault("TVM_BIND_THREADS", "0")

from crosscheck_compile import CompileError, run  # noqa: E402

from interrupts import end_soon_after_interrupt, kill_workers  # noqa: E402
from model_file import ModelFile, last_line  # noqa: E402
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

    import metaschedule_compiler as metaschedule
    from relax_model import RelaxModel, fingerprint

    relax_model = RelaxModel(model, options["target"], job.threads)
    database = metaschedule.open_database(job.work_directory / "database", job.replay, relax_model)
    if not job.replay:
        metaschedule.tune(relax_model, options, database, job.work_directory, progress)
    hit, missed = metaschedule.hits_and_misses(relax_model, database)
    if not hit:
        raise CompileError(
            "not one task of this model is in the tuning log, so this would not be a metaschedule build",
            "give the log of this very model, shape and target, or tune without --replay",
        )
    progress("building", message=f"best schedules of {len(hit)} tasks")
    library = relax_model.build(database)
    relax_model.export(library, str(job.out_directory / LIBRARY))
    metaschedule.write_log(job.out_directory / LOG, database, relax_model)
    return {
        "artifact": LIBRARY,
        "tuningLog": LOG,
        "timingCache": None,
        "compilerVersion": tvm.__version__,
        "target": options["target"],
        "device": {"kind": "cpu", "name": cpu_name()},
        "options": {"target": options["target"]} if job.replay else options,
        "seed": None if job.replay else options["seed"] or None,
        "fingerprint": fingerprint(library),
        "notes": {"tasksHit": hit, "tasksFallenBack": missed},
    }


if __name__ == "__main__":
    run(compile_and_clean_up)

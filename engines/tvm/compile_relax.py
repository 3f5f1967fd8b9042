"""The compile program of metaschedule: today's TVM, which has Relax."""

from compile_job import LIBRARY, LOG, refuse_without_hits, run_compile
from targets import cpu_name


def compile(job, options, model, progress):
    import tvm

    import metaschedule_compiler as metaschedule
    from relax_model import RelaxModel, fingerprint

    relax_model = RelaxModel(model, options["target"], job.threads)
    database = metaschedule.open_database(job.work_directory / "database", job.replay, relax_model)
    if not job.replay:
        metaschedule.tune(relax_model, options, database, job.work_directory, progress)
    hit, missed = metaschedule.hits_and_misses(relax_model, database)
    refuse_without_hits(hit, "a metaschedule build")
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
    run_compile(compile)

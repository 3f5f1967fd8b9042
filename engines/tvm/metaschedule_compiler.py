"""MetaSchedule: programs searched from traces; the best one measured for each task."""

import json
import os

import tvm
from crosscheck_compile import CompileError
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.builder import local_builder
from tvm.support.popen_pool import PopenPoolExecutor

from clock import Clock
from foreign_intrinsics import leave_out_foreign_intrinsics
from model_file import last_line

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
NEVER = 1e9  # MetaSchedule's time for a schedule that failed


def open_database(folder, replay, relax_model):
    """The database of this work directory, or the one in a tuning log."""
    os.makedirs(folder, exist_ok=True)
    if replay:
        read_log(replay, folder, relax_model)
    else:
        for name in (WORKLOADS, RECORDS):
            drop_torn_line(folder / name)
    try:
        return ms.database.JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))
    except Exception as cause:
        raise CompileError(f"the tuning log's records cannot be read: {last_line(cause)}", "tune again without --replay") from cause


def tune(relax_model, options, database, work_directory, progress):
    """Measures each task `trials` times. Which tasks had how many is kept beside the database, so that a later run goes on."""
    tasks = relax_model.tasks
    if not tasks:
        raise CompileError("MetaSchedule finds nothing to tune in this model", "use compiler tvm (default schedules)")
    leave_out_foreign_intrinsics()
    counts = Counts(work_directory / "measured.json")
    trials = options["trials"]
    clock = Clock(sum(max(0, trials - counts.of(task.task_name)) for task in tasks))
    contexts, _ = ms.relax_integration.extracted_tasks_to_tune_contexts(
        tasks,
        str(work_directory),
        strategy=small_search() if options["tuner"] == "random" else "evolutionary",
        num_threads="logical",
        seed=options["seed"] or None,
    )
    keep_builders()
    builder = ms.builder.LocalBuilder(max_workers=os.cpu_count(), initializer=leave_out_foreign_intrinsics)
    runner = ms.runner.LocalRunner(
        evaluator_config=ms.runner.EvaluatorConfig(
            number=1, repeat=options["repeat"], min_repeat_ms=options["minRepeatMs"], enable_cpu_cache_flush=False
        ),
        initializer=leave_out_foreign_intrinsics,
    )
    for index, (task, context) in enumerate(zip(tasks, contexts)):
        left = trials - counts.of(task.task_name)
        if left <= 0:
            continue

        def tell(task=task, index=index):
            event = {"task": index + 1, "tasks": len(tasks), "trial": counts.of(task.task_name), "trials": trials}
            best = best_seconds(database, task)
            if best is not None:
                event["bestSeconds"] = best
            if clock.seconds_left() is not None:
                event["secondsLeft"] = clock.seconds_left()
            progress("tuning", **event, message=task.task_name)

        tell()
        ms.tune.tune_tasks(
            tasks=[context],
            task_weights=[1.0],
            work_dir=str(work_directory),
            max_trials_global=left,
            num_trials_per_iter=min(left, 16),
            builder=builder,
            runner=runner,
            database=database,
            cost_model=make_cost_model(options["tuner"]),
            measure_callbacks=[
                ms.measure_callback.AddToDatabase(),
                *([ms.measure_callback.UpdateCostModel()] if options["tuner"] == "xgb" else []),
                ms.measure_callback.RemoveBuildArtifact(),
                Report(counts, clock, task.task_name, tell),
            ],
            task_scheduler=ms.task_scheduler.RoundRobin(),
        )
        # A small space may have fewer schedules than trials; the task is done all the same.
        clock.count(trials - counts.of(task.task_name))
        counts.add(task.task_name, trials - counts.of(task.task_name))


def keep_builders():
    """TVM starts new builder processes, which import it for seconds, for each round; these stay for the whole tuning."""
    pools = []

    def pool(**settings):
        if not pools:
            pools.append(KeptPool(**settings))
        return pools[0]

    local_builder.PopenPoolExecutor = pool


class KeptPool(PopenPoolExecutor):
    def shutdown(self, *_):
        """The builder says this after every round."""


def small_search():
    """TVM's default population of 512 is for a learned cost model; without one it only takes minutes."""
    return ms.search_strategy.EvolutionarySearch(
        population_size=64, init_min_unmeasured=32, max_fail_count=2, genetic_num_iters=1
    )


def make_cost_model(name):
    if name == "random":
        return ms.cost_model.RandomModel()
    try:
        return ms.cost_model.XGBModel(num_tuning_cores=os.cpu_count())
    except ImportError:
        raise CompileError(
            "tuner xgb needs xgboost, which is not installed",
            "run CROSSCHECK_TVM_XGBOOST=1 node engines/tvm/setup.mjs, or use tuner=random",
        ) from None


@derived_object
class Report(ms.measure_callback.PyMeasureCallback):
    """Counts the measurements and tells the user after each round."""

    def __init__(self, counts, clock, name, tell):
        super().__init__()
        self.counts, self.clock, self.name, self.tell = counts, clock, name, tell

    def apply(self, task_scheduler, task_id, measure_candidates, builder_results, runner_results):
        self.counts.add(self.name, len(runner_results))
        self.clock.count(len(runner_results))
        self.tell()


class Counts:
    """Measurements per task, on disk."""

    def __init__(self, path):
        self.path = path
        self.counts = json.loads(path.read_text()) if path.exists() else {}

    def of(self, name):
        return self.counts.get(name, 0)

    def add(self, name, number):
        self.counts[name] = self.of(name) + number
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.counts))
        fresh.replace(self.path)


def hits_and_misses(relax_model, database):
    hit, missed = [], []
    for task in relax_model.tasks:
        (missed if best_seconds(database, task) is None else hit).append(task.task_name)
    return sorted(hit), sorted(missed)


def best_seconds(database, task):
    record = database.query_tuning_record(task.dispatched[0], task.target, task.task_name)
    if record is None or not record.run_secs:
        return None
    seconds = sum(float(value) for value in record.run_secs) / len(record.run_secs)
    return seconds if seconds < NEVER else None


def write_log(path, database, relax_model):
    """One file for both of the database's: a head, then the records. A workload is the model's own; its hash is enough."""
    with open(database.path_workload, encoding="utf-8") as file:
        hashes = [json.loads(line)[0] for line in file if line.strip()]
    with open(database.path_tuning_record, encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.strip()]
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"metaschedule": tvm.__version__, "target": relax_model.target_text}) + "\n")
        for number, record in records:
            file.write(json.dumps({"workload": hashes[number], "record": record}) + "\n")


def read_log(path, folder, relax_model):
    """Makes a database of the log's records of this model's workloads."""
    workloads = [ms.database.Workload(task.dispatched[0]).as_json() for task in relax_model.tasks]
    numbers = {workload[0]: number for number, workload in enumerate(workloads)}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise CompileError(f"tuning log {path} cannot be read: {cause}", "give another log") from cause
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if number == 1:
                check_head(path, row, relax_model.target_text)
            elif row["workload"] in numbers:
                records.append([numbers[row["workload"]], checked(row["record"])])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as cause:
            raise CompileError(
                f"tuning log {path} line {number} is not a record of this compiler: {describe(cause)}",
                "delete the line, or tune again without --replay",
            ) from cause
    for name, rows in ((WORKLOADS, workloads), (RECORDS, records)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def prune(lines):
    """The lines that a replay needs: the head, and of each workload the fastest record."""
    best = {}
    for line in lines[1:]:
        row = json.loads(line)
        seconds = row["record"][1]
        mean = sum(seconds) / len(seconds) if seconds else NEVER
        if mean < min(NEVER, best.get(row["workload"], (NEVER,))[0]):
            best[row["workload"]] = (mean, line)
    return [lines[0], *(line for _, line in best.values())]


def check_head(path, head, target):
    if head["metaschedule"] != tvm.__version__:
        raise CompileError(
            f"tuning log {path} was made by TVM {head['metaschedule']}, this is {tvm.__version__}", "tune again, or use that TVM"
        )
    if head["target"] != target:
        raise CompileError(
            f'tuning log {path} is for target "{head["target"]}", this build for "{target}"', "give that target with --option target=..."
        )


def checked(record):
    trace, seconds = record[0], record[1]
    if not isinstance(trace, list) or not all(isinstance(value, (int, float)) for value in seconds or []):
        raise ValueError("a record is a trace and its times")
    return record


def describe(cause):
    return f"{cause} is missing" if isinstance(cause, KeyError) else str(cause)


def drop_torn_line(path):
    """A database whose writer was killed may end in half a line."""
    if path.exists():
        text = path.read_bytes()
        end = text.rfind(b"\n") + 1
        if end < len(text):
            path.write_bytes(text[:end])

"""AutoScheduler: sketches without templates; the best program measured for each task."""

import json
import math
import os

import numpy as np
import tvm
from tvm import auto_scheduler
from tvm.auto_scheduler.dispatcher import ApplyHistoryBest
from tvm.auto_scheduler.measure_record import load_record_from_string

import measuring
import tuning_log
from clock import Clock
from crosscheck_compile import CompileError

NAME = "autoscheduler"
SCHEDULER = "auto"

# TVM's default of 2048 is for a learned cost model; without one a large population only takes minutes.
SMALL_POPULATION = {**auto_scheduler.SketchPolicy.DEFAULT_PARAMS, "evolutionary_search_population": 128}


def tune(relay_model, options, log, progress):
    """Measures until each task has `trials` records in `log`; the records that are there count and guide the search."""
    tasks, _ = auto_scheduler.extract_tasks(relay_model.module["main"], relay_model.params, relay_model.target)
    if not tasks:
        raise CompileError("AutoScheduler finds nothing to tune in this model", "use compiler tvm (default schedules) or autotvm")
    trials = options["trials"]
    tuning_log.drop_torn_line(log)
    costs = costs_by_task(log)
    clock = Clock(sum(max(0, trials - len(costs.get(task.workload_key, []))) for task in tasks))
    runner = make_runner(relay_model.target, options)
    for index, task in enumerate(tasks):
        done = costs.get(task.workload_key, [])
        left = trials - len(done)
        if left <= 0:
            continue
        report = Report(progress, clock, done, task=index + 1, tasks=len(tasks), trials=trials, message=name_of(task))
        progress(task=index + 1, tasks=len(tasks), trial=len(done), trials=trials, message=name_of(task))
        preload = [auto_scheduler.PreloadMeasuredStates(log)] if done else []
        policy = auto_scheduler.SketchPolicy(
            task,
            make_cost_model(options["tuner"], log if done else None),
            params=SMALL_POPULATION if options["tuner"] == "random" else None,
            seed=None if options["seed"] == 0 else options["seed"] + index,
            verbose=0,
            init_search_callbacks=preload,
        )
        task.tune(
            auto_scheduler.TuningOptions(
                num_measure_trials=left,
                num_measures_per_round=min(left, 16),
                builder=auto_scheduler.LocalBuilder(timeout=options["timeoutSeconds"]),
                runner=runner.runner if hasattr(runner, "runner") else runner,
                measure_callbacks=[auto_scheduler.RecordToFile(log), report],
                verbose=0,
            ),
            policy,
        )


def make_runner(target, options):
    settings = {
        "number": 1,
        "repeat": options["repeat"],
        "min_repeat_ms": options["minRepeatMs"],
        "timeout": options["timeoutSeconds"],
        "cooldown_interval": 0,
    }
    # A GPU is measured in a process of its own, since a bad kernel spoils the CUDA context of whoever ran it.
    if target.kind.name == "cuda":
        return auto_scheduler.LocalRPCMeasureContext(**settings)
    measuring.keep_autoscheduler_workers()
    return auto_scheduler.LocalRunner(**settings)


def make_cost_model(name, log):
    if name == "random":
        return auto_scheduler.RandomModel()
    try:
        model = auto_scheduler.XGBModel()
    except ImportError:
        raise CompileError(
            "tuner xgb needs xgboost 1.7, which is not installed",
            "run CROSSCHECK_TVM_XGBOOST=1 node engines/tvm/setup.mjs, or use tuner=random",
        ) from None
    if log:
        model.update_from_file(log)
    return model


class Report(auto_scheduler.measure.PythonBasedMeasureCallback):
    """Tells the user after each round of measurements."""

    def __init__(self, progress, clock, costs, **fixed):
        super().__init__()
        self.tell = lambda inputs, results: report_round(progress, clock, costs, fixed, results)

    def callback(self, policy, inputs, results):
        self.tell(inputs, results)


def report_round(progress, clock, costs, fixed, results):
    clock.count(len(results))
    costs.extend(cost_of(result) for result in results)
    best = min(costs)
    progress(**fixed, trial=len(costs), bestSeconds=None if math.isinf(best) else best, secondsLeft=clock.seconds_left())


def read_log(path, target):
    records = tuning_log.read_records(path, load_checked)
    tuning_log.check_target(path, {str(given.task.target) for given, _ in records}, str(target))
    return records


def load_checked(line):
    """TVM's own reader takes broken JSON for the end of the program; so the JSON is checked first."""
    record = json.loads(line)
    if not isinstance(record, dict) or set(record) < {"i", "r", "v"}:
        raise ValueError("it is not an AutoScheduler record")
    return load_record_from_string(line)


class Context(ApplyHistoryBest):
    """Applies the best record of each task and remembers which tasks had one."""

    def __init__(self, records):
        super().__init__(records)
        self.hit = {}
        self.missed = {}

    def query(self, target, workload_key, has_complex_op, dag, func_name):
        state = self._query_inside(target, workload_key, func_name)
        if state is not None:
            self.hit[workload_key] = func_name
        elif has_complex_op:
            self.missed[workload_key] = func_name
        return state


def context(records):
    return Context(records)


def hits_and_misses(used):
    return sorted(used.hit.values()), sorted(used.missed.values())


def prune(lines):
    best = {}
    for line in lines:
        given, result = load_checked(line)
        cost = cost_of(result)
        if not math.isinf(cost) and (given.task.workload_key not in best or cost < best[given.task.workload_key][0]):
            best[given.task.workload_key] = (cost, line)
    return [line for _, line in best.values()]


def costs_by_task(log):
    if not os.path.exists(log) or os.path.getsize(log) == 0:
        return {}
    costs = {}
    for given, result in tuning_log.read_records(log, load_checked):
        costs.setdefault(given.task.workload_key, []).append(cost_of(result))
    return costs


def cost_of(result):
    return float(np.mean([cost.value for cost in result.costs])) if result.error_no == 0 else math.inf


def name_of(task):
    return str(task.desc or task.workload_key).removeprefix("vm_mod_fused_")

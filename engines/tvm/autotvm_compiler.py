"""AutoTVM: templates with knobs; the best knobs measured for each task."""

import json
import math

import numpy as np
from tvm import autotvm
from tvm.autotvm.task.dispatcher import ApplyHistoryBest

import measuring
import tuning_log
from clock import Clock
from crosscheck_compile import CompileError

NAME = "autotvm"
SCHEDULER = None


def tune(relay_model, options, log, progress):
    """Measures until each task has `trials` records in `log`; the records that are there count."""
    tasks = autotvm.task.extract_from_program(relay_model.module["main"], relay_model.params, relay_model.target)
    if not tasks:
        raise CompileError("AutoTVM finds nothing to tune in this model", "use compiler tvm (default schedules) or autoscheduler")
    trials = options["trials"]
    totals = [min(trials, len(task.config_space)) for task in tasks]
    tuning_log.drop_torn_line(log)
    done = count_records(log)
    clock = Clock(sum(max(0, total - done.get(workload_key(task), 0)) for task, total in zip(tasks, totals)))
    measure = measure_option(relay_model.target, options["timeoutSeconds"], options["repeat"], options["minRepeatMs"])
    for index, task in enumerate(tasks):
        have = done.get(workload_key(task), 0)
        left = totals[index] - have
        state = {"trial": have, "best": best_seconds(log, task) if have else math.inf}

        def report(_tuner, _inputs, results, index=index, task=task, state=state):
            state["trial"] += len(results)
            clock.count(len(results))
            costs = [float(np.mean(result.costs)) for result in results if result.error_no == 0]
            state["best"] = min([state["best"], *costs])
            progress(
                task=index + 1, tasks=len(tasks), trial=state["trial"], trials=totals[index],
                bestSeconds=None if math.isinf(state["best"]) else state["best"],
                secondsLeft=clock.seconds_left(), message=describe(task),
            )

        if left <= 0:
            continue
        progress(task=index + 1, tasks=len(tasks), trial=have, trials=totals[index], message=describe(task))
        make_tuner(options["tuner"], task, left).tune(
            n_trial=left, measure_option=measure, callbacks=[autotvm.callback.log_to_file(log), report], si_prefix="G"
        )


def measure_option(target, timeout, repeat, min_repeat_ms):
    if target.kind.name == "llvm":
        builder, runner = measuring.shared_library_builder(timeout), measuring.CpuRunner(timeout, repeat, min_repeat_ms)
    else:
        # A GPU is measured over TVM's own RPC, since a bad kernel spoils the CUDA context of whoever ran it.
        builder = autotvm.LocalBuilder(timeout=timeout)
        runner = autotvm.LocalRunner(number=1, repeat=repeat, min_repeat_ms=min_repeat_ms, timeout=timeout, cooldown_interval=0)
    return autotvm.measure_option(builder=builder, runner=runner)


def make_tuner(name, task, trials):
    if name == "ga":
        return autotvm.tuner.GATuner(task, pop_size=max(2, min(32, trials)))
    if name == "xgb":
        try:
            import xgboost  # noqa: F401
        except ImportError:
            raise CompileError(
                "tuner xgb needs xgboost 1.7, which is not installed",
                "run CROSSCHECK_TVM_XGBOOST=1 node engines/tvm/setup.mjs, or use tuner=random or tuner=ga",
            ) from None
        return autotvm.tuner.XGBTuner(task, loss_type="rank")
    return autotvm.tuner.RandomTuner(task)


def read_log(path, target):
    records = tuning_log.read_records(path, autotvm.record.decode)
    tuning_log.check_target(path, {str(given.target) for given, _ in records}, str(target))
    return records


class Context(ApplyHistoryBest):
    """Applies the best record of each workload and remembers which workloads had one."""

    def __init__(self, records):
        super().__init__(records)
        self.hit = {}
        self.missed = {}

    def _query_inside(self, target, workload):
        config = super()._query_inside(target, workload)
        # TVM puts the default of a changed layout here too, as if somebody had found it.
        fallen_back = config is None or config.is_fallback
        (self.missed if fallen_back else self.hit)[repr(workload)] = short(workload)
        return config


def context(records):
    return Context(records)


def hits_and_misses(used):
    return sorted(used.hit.values()), sorted(used.missed.values())


def prune(lines):
    """The lines that a replay needs: the best of each workload, first one first, as ApplyHistoryBest chooses."""
    best = {}
    for line in lines:
        record = json.loads(line)
        key = json.dumps(record["input"])
        if record["result"][1] == 0 and (key not in best or np.mean(record["result"][0]) < best[key][0]):
            best[key] = (np.mean(record["result"][0]), line)
    return [line for _, line in best.values()]


def count_records(log):
    try:
        with open(log, encoding="utf-8") as file:
            keys = [json.dumps(json.loads(line)["input"][1:3]) for line in file if line.strip()]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, IndexError, TypeError) as cause:
        raise CompileError(f"tuning log {log} is damaged: {cause}", "delete it and tune again") from cause
    return {key: keys.count(key) for key in keys}


def workload_key(task):
    return json.dumps([task.name, json.loads(json.dumps(task.args))])


def best_seconds(log, task):
    costs = [math.inf]
    with open(log, encoding="utf-8") as file:
        for record in map(json.loads, filter(str.strip, file)):
            if json.dumps(record["input"][1:3]) == workload_key(task) and record["result"][1] == 0:
                costs.append(float(np.mean(record["result"][0])))
    return min(costs)


def describe(task):
    return short((task.name, *task.args))


def short(workload):
    """conv2d_NCHWc.x86 1x3x48x48 8x3x3x3 and the other arguments that tell tasks apart."""
    words = [str(workload[0])]
    for argument in workload[1:]:
        if isinstance(argument, (tuple, list)) and argument and argument[0] == "TENSOR":
            words.append("x".join(str(dim) for dim in argument[1]))
        elif isinstance(argument, (tuple, list)):
            words.append(json.dumps(argument).replace(" ", ""))
    return " ".join(words)

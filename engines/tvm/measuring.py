"""Measuring schedules on this CPU without TVM's detours.

TVM 0.14 starts new processes, each of which imports TVM for seconds, for every round (AutoScheduler) and an RPC tracker
and server for every task (AutoTVM). Here one worker, which outlives rounds and tasks, measures; it is still a process of
its own, so that a schedule that crashes or hangs costs one measurement and not the build.
"""

import time
import traceback

import numpy as np
import tvm
from tvm import auto_scheduler, autotvm
from tvm.autotvm.measure import MeasureErrorNo, MeasureResult
from tvm.autotvm.measure.measure import Runner
from tvm.contrib import cc
from tvm.contrib.popen_pool import PopenPoolExecutor, PopenWorker


class CpuRunner(Runner):
    """An AutoTVM runner for libraries built by `shared_library_builder`."""

    def __init__(self, timeout, repeat, min_repeat_ms):
        super().__init__(timeout, 1)
        self.settings = (repeat, min_repeat_ms)
        self.worker = PopenWorker()

    def get_build_kwargs(self):
        return {"checks": {}}

    def run(self, measure_inputs, build_results):
        return [self.run_one(built) for built in build_results]

    def run_one(self, built):
        if isinstance(built, MeasureResult):
            return built
        if built.error is not None:
            return MeasureResult(tuple(built.error), MeasureErrorNo.COMPILE_HOST, built.time_cost, time.time())
        begin = time.time()
        try:
            self.worker.send(time_library, (built.filename, built.arg_info, *self.settings), timeout=self.timeout)
            costs, error = self.worker.recv(), MeasureErrorNo.NO_ERROR
        except TimeoutError as cause:
            costs, error = ("", cause), MeasureErrorNo.RUN_TIMEOUT
        except Exception as cause:
            costs, error = (traceback.format_exc(), cause), MeasureErrorNo.RUNTIME_DEVICE
        return MeasureResult(costs, error, time.time() - begin + built.time_cost, time.time())


def shared_library_builder(timeout):
    return autotvm.LocalBuilder(timeout=timeout, build_func=cc.create_shared)


def time_library(filename, arguments, repeat, min_repeat_ms):
    device = tvm.cpu()
    arrays = [tvm.nd.empty(shape, dtype, device) for shape, dtype in arguments]
    fill = tvm.get_global_func("tvm.contrib.random.random_fill")
    for array in arrays:
        fill(array)
    function = tvm.runtime.load_module(filename)
    timer = function.time_evaluator(function.entry_name, device, number=1, repeat=repeat, min_repeat_ms=min_repeat_ms)
    costs = timer(*arrays).results
    if not np.all(np.asarray(costs) > 0):
        raise RuntimeError("the schedule was timed at zero")
    return tuple(costs)


def keep_autoscheduler_workers():
    """AutoScheduler's builder and CPU runner, with workers that stay."""
    pools = {}
    worker = PopenWorker()

    def pool(size, timeout, *initializer):
        if (size, timeout) not in pools:
            pools[size, timeout] = PopenPoolExecutor(size, timeout, *initializer)
        return pools[size, timeout]

    auto_scheduler.measure.PopenPoolExecutor = pool
    auto_scheduler.measure.PopenWorker = lambda: worker



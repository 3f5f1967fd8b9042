"""Compile programs in Python: the contract of engines/README.md (Python 3.8 or later, standard library only).

    from crosscheck_compile import CompileError, run

    def compile(job, progress):
        progress("tuning", task=1, tasks=5, message="conv2d")
        ...write job.out_directory / "model.so"...
        if not supported:
            raise CompileError("operator Foo is not supported", "export the model without Foo")
        return {"artifact": "model.so", "compilerVersion": "0.14.0", ...}

    run(compile)

While `compile` runs, whatever anything prints to standard output, native code and child processes included, goes to
standard error, so that events stay clean JSON lines. SIGINT raises KeyboardInterrupt; what is done stays in
`job.work_directory` and the process ends with 130.
"""
from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional, TextIO

__all__ = ["CompileError", "Job", "run"]


class CompileError(Exception):
    """The model cannot be compiled; `remedy` says what would help."""

    def __init__(self, error: str, remedy: str = ""):
        super().__init__(error)
        self.remedy = remedy


class Job:
    """The job as engines/README.md has it; `raw` is the JSON itself."""

    def __init__(self, raw: Dict[str, Any]):
        self.raw = raw
        self.model_name: str = raw["model"]["name"]
        self.model_file = Path(raw["model"]["file"])
        self.model_sha256: str = raw["model"]["sha256"]
        self.compiler: str = raw["compiler"]
        self.precision: str = raw["precision"]
        self.build: int = raw["build"]
        self.threads: int = raw["threads"]
        self.options: Dict[str, Any] = raw["options"]
        self.replay: Optional[Path] = optional_path(raw.get("replay"))
        self.calibration: Optional[Path] = optional_path(raw.get("calibration"))
        self.work_directory = Path(raw["workDirectory"])
        self.out_directory = Path(raw["outDirectory"])


Progress = Callable[..., None]
"""progress(phase, task=, tasks=, trial=, trials=, bestSeconds=, secondsLeft=, message=): all but the phase optional."""


def run(compile: Callable[[Job, Progress], Dict[str, Any]]) -> None:
    """Reads the job, runs `compile`, prints its result (the fields of the `result` event) and exits."""
    # A parent without job control may have left SIGINT ignored; an interrupt must reach the tuner all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    events = take_standard_output()

    def emit(fields: Dict[str, Any]) -> None:
        events.write(json.dumps(fields) + "\n")
        events.flush()

    def progress(phase: str, **fields: Any) -> None:
        emit({"type": "progress", "phase": phase, **fields})

    try:
        result = compile(Job(json.loads(sys.stdin.readline())), progress)
        emit({"type": "result", **result})
        code = 0
    except KeyboardInterrupt:
        code = 130
    except CompileError as error:
        emit({"type": "error", "error": str(error), "remedy": error.remedy})
        code = 1
    except Exception as error:
        traceback.print_exc()
        emit({"type": "error", "error": f"{type(error).__name__}: {error}", "remedy": "the build's log has the traceback"})
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # native compilers hang or crash in the interpreter's teardown


def take_standard_output() -> TextIO:
    """Keeps the real standard output for events and points descriptor 1 at standard error."""
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return events


def optional_path(value: Optional[str]) -> Optional[Path]:
    return None if value is None else Path(value)

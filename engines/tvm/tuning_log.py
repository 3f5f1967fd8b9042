"""Tuning logs on disk: one JSON record a line, appended after each measurement, read back with every line checked."""

import os

import tvm

from crosscheck_compile import CompileError
from model_file import last_line


def drop_torn_line(path):
    """A log whose writer was killed may end in half a line; a build that goes on with it drops that half."""
    if not os.path.exists(path):
        return
    with open(path, "rb+") as file:
        text = file.read()
        end = text.rfind(b"\n") + 1
        if end < len(text):
            file.truncate(end)


def read_records(path, decode):
    """Every record of a log, by `decode` of one line; the first line that is none is named."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise CompileError(f"tuning log {path} cannot be read: {cause}", "give another log") from cause
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = decode(line)
            if record is None:
                raise ValueError("its format version is another")
            records.append(record)
        except Exception as cause:
            raise CompileError(
                f"tuning log {path} line {number} is not a record of this compiler: {last_line(cause)}",
                "delete the line, or tune again without --replay",
            ) from cause
    if not records:
        raise CompileError(f"tuning log {path} has no records", "tune without --replay")
    return records


def check_target(path, targets, wanted):
    """TVM matches records by the kind of device only; a schedule for another processor must not slip in."""
    others = sorted({str(target) for target in targets if signature(target) != signature(wanted)})
    if others:
        raise CompileError(
            f'tuning log {path} is for target "{others[0]}", this build for "{wanted}"', "give that target with --option target=..."
        )


def signature(target):
    target = tvm.target.Target(target)
    attrs = {key: str(value) for key, value in target.attrs.items() if key in ("mcpu", "mattr", "mtriple", "arch")}
    return (target.kind.name, tuple(sorted(attrs.items())))

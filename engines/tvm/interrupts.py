"""Ctrl-C during native tuning: Python's own handler may wait for minutes inside compiled code, this one does not."""

import os
import signal
import threading
import time


def end_soon_after_interrupt(seconds=1.5):
    """After SIGINT or SIGTERM the process and its workers are gone within `seconds`; logs are written line by line, so nothing is lost."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch():
        while os.read(reader, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        kill_workers()
        time.sleep(seconds)
        kill_workers()
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


def kill_workers():
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def descendants(root):
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
        except OSError:
            pass
    found, pending = [], [root]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found

"""prune_log.py autotvm|autoscheduler|metaschedule LOG: prints the records of a tuning log that a replay uses, the best of each task.

A replay of what is printed gives the same engine as a replay of the whole log. Run it with the Python of that compiler.
"""

import sys


def main(compiler, path):
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip()]
    if compiler == "autotvm":
        from autotvm_compiler import prune
    elif compiler == "autoscheduler":
        from autoscheduler_compiler import prune
    else:
        from metaschedule_compiler import prune
    for line in prune(lines):
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One explicit target for tuning and replay: never the machine's own name, so that logs fit other machines."""

import platform

X86_64_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
X86_64_V4 = X86_64_V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def default_target():
    machine = platform.machine()
    if machine in ("x86_64", "AMD64"):
        return "llvm -mcpu=x86-64-v3" if X86_64_V3 <= cpu_flags() else "llvm -mcpu=x86-64"
    if machine in ("aarch64", "arm64"):
        return "llvm -mtriple=aarch64-linux-gnu -mattr=+neon"
    return "llvm"


def missing_cpu_features(text):
    """What `text`, a target, needs and this processor lacks: its library would end in SIGILL."""
    if "-mcpu=x86-64-v3" in text:
        return sorted(X86_64_V3 - cpu_flags())
    if "-mcpu=x86-64-v4" in text:
        return sorted(X86_64_V4 - cpu_flags())
    return []


def cpu_flags():
    for line in cpu_info():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def cpu_name():
    for line in cpu_info():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_info():
    try:
        with open("/proc/cpuinfo") as file:
            return file.read().split("\n\n")[0].splitlines()
    except OSError:
        return []

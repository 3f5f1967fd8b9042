"""A module of its own, so that measuring workers get it without importing TVM first."""

import platform
import sys
import types


def leave_out_foreign_intrinsics():
    """TVM parses the tensor intrinsics of every kind of device before it tunes for this CPU: 16 s of a core in each process."""
    own = "x86" if platform.machine() == "x86_64" else "arm_cpu"
    for name in {"cuda", "rocm", "hexagon", "riscv_cpu", "x86", "arm_cpu"} - {own}:
        sys.modules.setdefault(f"tvm.s_tir.tensor_intrin.{name}", types.ModuleType(name))

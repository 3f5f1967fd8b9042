"""What Python hosts tell of a CUDA GPU, asked of the driver library: it is there wherever such a GPU works."""

import ctypes

_ATTRIBUTE_MPS_ENABLED = 133  # CU_DEVICE_ATTRIBUTE_MPS_ENABLED of cuda.h, since CUDA 12


def mps_enabled(ordinal=0):
    """Whether kernels of several processes run side by side on this GPU (NVIDIA's Multi-Process Service); without, they have it
    in turns. False also where the driver does not know."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    device, value = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), ordinal):
        return False
    return driver.cuDeviceGetAttribute(ctypes.byref(value), _ATTRIBUTE_MPS_ENABLED, device) == 0 and value.value == 1

// A small NVML for testing the binding: the functions the gateway calls, with the signatures and layouts of nvml.h
// (written anew; the compiler lays the structures out), and made-up values. FAKE_NVML: "no-driver" fails at start,
// "hang" blocks in the third reading, "old" lacks what drivers before 535 lack.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpuInstance, computeInstance; } process;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
static int readings;
static struct device { unsigned int index; } devices[2] = {{0}, {1}};

static int mode(const char *name) {
  const char *value = getenv("FAKE_NVML");
  return value != NULL && strcmp(value, name) == 0;
}

int nvmlInit_v2(void) { return mode("no-driver") ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  snprintf(version, length, "570.00.1");
  return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned int *count) {
  if (mode("hang") && ++readings > 2) sleep(1000);
  *count = 2;
  return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct device **handle) {
  *handle = &devices[index];
  return SUCCESS;
}
int nvmlDeviceGetName(struct device *d, char *name, unsigned int length) {
  snprintf(name, length, "Fake GPU %u", d->index);
  return SUCCESS;
}
int nvmlDeviceGetUUID(struct device *d, char *uuid, unsigned int length) {
  snprintf(uuid, length, "GPU-fake-%u", d->index);
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(struct device *d, utilization *out) {
  *out = (utilization){.gpu = 37 + d->index, .memory = 99};
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(struct device *d, memory *out) {
  *out = (memory){.total = 150754820096ULL, .free = 1, .used = 5000000000ULL + d->index};
  return SUCCESS;
}
int nvmlDeviceGetPowerUsage(struct device *d, unsigned int *milliwatts) {
  if (d->index == 1) return NOT_SUPPORTED;
  *milliwatts = 123456;
  return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(struct device *d, unsigned int *milliwatts) {
  *milliwatts = 700000;
  return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(struct device *d, unsigned long long *millijoules) {
  static unsigned long long spent = 9000000000000ULL;
  *millijoules = spent += 2000;
  return SUCCESS;
}
int nvmlDeviceGetTemperature(struct device *d, int sensor, unsigned int *celsius) {
  *celsius = 41 + sensor;
  return SUCCESS;
}
int nvmlDeviceGetClockInfo(struct device *d, int type, unsigned int *megahertz) {
  if (type > 3) return NOT_SUPPORTED;
  *megahertz = 1000 + type;
  return SUCCESS;
}
#ifdef OLD
int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *d, unsigned long long *mask) {
#else
int nvmlDeviceGetCurrentClocksEventReasons(struct device *d, unsigned long long *mask) {
#endif
  // Device 0: software power cap and software thermal slowdown. Device 1: idle, and clocks set by the user.
  *mask = d->index == 0 ? 0x24 : 0x3;
  return SUCCESS;
}
#ifndef OLD
int nvmlDeviceGetComputeRunningProcesses_v3(struct device *d, unsigned int *count, process *out) {
  if (*count < 2) return 7;
  *count = 2;
  out[0] = (process){.pid = 4242, .used = 3000000000ULL, .gpuInstance = ~0u, .computeInstance = ~0u};
  out[1] = (process){.pid = 4243, .used = ~0ULL, .gpuInstance = ~0u, .computeInstance = ~0u};
  return SUCCESS;
}
#endif

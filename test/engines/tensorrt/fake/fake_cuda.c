// The part of the CUDA driver API that engines/tensorrt/cuda.py calls, on host memory. It stands in for libcuda.so.1 so
// that the ctypes calls (argument widths, order, graph capture) run where there is no GPU. It computes nothing by itself:
// a "kernel" is a callback that the fake TensorRT puts on the stream.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*kernel_t)(void);
enum kind { COPY, KERNEL, RECORD };
struct operation { enum kind kind; void *to; const void *from; size_t size; kernel_t kernel; struct event *event; };
struct graph { struct operation operations[64]; int count; };
struct event { int64_t nanoseconds; };
struct stream { struct graph *capturing; };

static char last[64];

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static int run(struct operation *o) {
  if (o->kind == COPY) memcpy(o->to, o->from, o->size);
  if (o->kind == KERNEL) o->kernel();
  if (o->kind == RECORD) o->event->nanoseconds = now();
  return 0;
}
static int put(struct stream *s, struct operation o) {
  if (!s->capturing) return run(&o);
  if (s->capturing->count == 64) return 2;
  s->capturing->operations[s->capturing->count++] = o;
  return 0;
}
int fake_kernel(struct stream *s, kernel_t kernel) { return put(s, (struct operation){.kind = KERNEL, .kernel = kernel}); }

int fake_capturing(struct stream *s) { return s->capturing != NULL; }

int cuInit(unsigned flags) { return getenv("FAKE_CUDA_NO_DEVICE") ? 100 : (int)flags; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Fake GPU"); return device; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8UL << 30; return device; }
int cuDeviceGetUuid(unsigned char *uuid, int device) { for (int i = 0; i < 16; i++) uuid[i] = i; return device; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : attribute == 133 ? getenv("FAKE_MPS") != NULL : 0;
  return device;
}
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) { return flags > 4 ? 1 : device; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = last; return device; }
int cuCtxSetCurrent(void *context) { return context == last ? 0 : 1; }
int cuGetErrorString(int code, const char **text) {
  snprintf(last, sizeof last, "fake error %d", code);
  *text = last;
  return 0;
}
int cuMemAlloc_v2(uint64_t *address, size_t size) { *address = (uint64_t)malloc(size); return *address ? 0 : 2; }
int cuMemFree_v2(uint64_t address) { free((void *)address); return 0; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { *address = malloc(size); return *address ? (int)flags : 2; }
int cuMemFreeHost(void *address) { free(address); return 0; }
int cuMemHostRegister_v2(void *address, size_t size, unsigned flags) { return getenv("FAKE_CUDA_CANNOT_PIN") || !address || !size ? 801 : (int)flags; }
int cuMemHostUnregister(void *address) { return address ? 0 : 1; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, struct stream *s) {
  return put(s, (struct operation){.kind = COPY, .to = (void *)to, .from = from, .size = size});
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, struct stream *s) {
  return put(s, (struct operation){.kind = COPY, .to = to, .from = (void *)from, .size = size});
}
int cuStreamCreate(struct stream **s, unsigned flags) { *s = calloc(1, sizeof **s); return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(struct stream *s) { return s->capturing ? 900 : 0; }
int cuEventCreate(struct event **event, unsigned flags) { *event = calloc(1, sizeof **event); return flags > 1; }
int cuEventRecord(struct event *event, struct stream *s) {
  if (s->capturing) return 0;  // only orders, as in CUDA
  return put(s, (struct operation){.kind = RECORD, .event = event});
}
int cuEventRecordWithFlags(struct event *event, struct stream *s, unsigned flags) {
  return flags == 1 ? put(s, (struct operation){.kind = RECORD, .event = event}) : 1;
}
int cuEventElapsedTime(float *milliseconds, struct event *start, struct event *end) {
  *milliseconds = (end->nanoseconds - start->nanoseconds) / 1e6f;
  return 0;
}
int cuStreamBeginCapture_v2(struct stream *s, int mode) {
  if (mode != 1 || s->capturing) return 1;
  s->capturing = calloc(1, sizeof *s->capturing);
  return 0;
}
int cuStreamEndCapture(struct stream *s, struct graph **graph) {
  *graph = s->capturing;
  s->capturing = NULL;
  return *graph ? 0 : 1;
}
int cuGraphInstantiateWithFlags(struct graph **executable, struct graph *graph, uint64_t flags) {
  *executable = malloc(sizeof *graph);
  memcpy(*executable, graph, sizeof *graph);
  return (int)flags;
}
int cuGraphDestroy(struct graph *graph) { free(graph); return 0; }
int cuGraphExecDestroy(struct graph *graph) { free(graph); return 0; }
int cuGraphLaunch(struct graph *graph, struct stream *s) {
  for (int i = 0; i < graph->count; i++) {
    int code = put(s, graph->operations[i]);
    if (code) return code;
  }
  return 0;
}

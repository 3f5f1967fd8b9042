/*
 * Prints when a processor was elsewhere: `stolen CORE`, bound to that core and of the class SCHED_FIFO. Nothing in this
 * machine may run before it, so that when it wakes late the hypervisor had taken the core. A line for each time: from
 * and until, in nanoseconds of CLOCK_MONOTONIC. Ends when standard input is closed.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { period_ns = 2000000, late_ns = 300000, flush_every = 100 };

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int count, char **arguments) {
  if (count != 2) return 2;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(atoi(arguments[1]), &cores);
  struct sched_param priority = {.sched_priority = 50};
  if (sched_setaffinity(0, sizeof cores, &cores) || sched_setscheduler(0, SCHED_FIFO, &priority)) return 1;
  puts("ready");
  fflush(stdout);
  long long due = now_ns();
  for (long tick = 1;; tick++) {
    due += period_ns;
    struct timespec wake = {due / 1000000000LL, due % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
    long long now = now_ns();
    if (now - due > late_ns) {
      printf("%lld %lld\n", due, now);
      due = now;
    }
    if (tick % flush_every == 0) {
      fflush(stdout);
      struct pollfd input = {0, POLLIN, 0};
      if (poll(&input, 1, 0) > 0) return 0;
    }
  }
}

#define _GNU_SOURCE
#include "CSchedule.h"
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of <linux/sched/types.h>, which clashes with glibc's <sched.h>. */
struct ri_sched_attr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
};

_Static_assert(sizeof(struct ri_sched_attr) == 56, "SCHED_ATTR_SIZE_VER1");

int ri_set_time_slice(uint64_t nanoseconds) {
  struct ri_sched_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return errno;
  attributes.runtime = nanoseconds;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0 ? 0 : errno;
}

/* What a thread may ask of the scheduler. */
#ifndef RI_CSCHEDULE_H
#define RI_CSCHEDULE_H
#include <features.h>
#include <stdint.h>

/* Asks for slices of this length for the calling thread (sched_setattr(2), `sched_runtime` of an
   ordinary thread, since Linux 6.12; older kernels take no notice). 0 or an errno. */
int ri_set_time_slice(uint64_t nanoseconds);
#endif

// Counts the memory allocations of a thread, for tests that promise none.
#ifndef CMALLOCCOUNT_H
#define CMALLOCCOUNT_H
#include <features.h>
#include <stdint.h>

// Calls of malloc, calloc, realloc and their aligned kin on this thread so far.
uint64_t malloc_count(void);
#endif

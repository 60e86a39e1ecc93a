// What Swift cannot import for the load generator: epoll, GNU calls and variadics. No logic.
#ifndef CLOADIO_H
#define CLOADIO_H
#include <features.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/// accept4 with SOCK_NONBLOCK | SOCK_CLOEXEC.
int load_accept(int listener);
/// memfd_create with MFD_CLOEXEC.
int load_memory_file(const char *name);
/// pipe2 with O_CLOEXEC.
int load_pipe(int ends[2]);
/// prctl(PR_SET_PDEATHSIG, SIGKILL).
int load_die_with_parent(void);
/// unshare(CLONE_NEWNET).
int load_unshare_network(void);

/// Counters in memory that two processes share.
static inline uint64_t load_counter_read(const uint64_t *counter) {
  return __atomic_load_n(counter, __ATOMIC_RELAXED);
}
static inline void load_counter_write(uint64_t *counter, uint64_t value) {
  __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}
#endif

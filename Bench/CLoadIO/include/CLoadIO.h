// What Swift cannot import for the load generator: epoll, GNU calls and variadics. No logic.
#ifndef CLOADIO_H
#define CLOADIO_H
#include <features.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

/// accept4 with SOCK_NONBLOCK | SOCK_CLOEXEC.
int load_accept(int listener);
/// memfd_create with MFD_CLOEXEC.
int load_memory_file(const char *name);
/// pipe2 with O_CLOEXEC.
int load_pipe(int ends[2]);
/// prctl(PR_SET_PDEATHSIG, SIGKILL).
int load_die_with_parent(void);
/// prctl(PR_SET_TIMERSLACK, 1): timers of this thread fire when they are due.
int load_exact_timers(void);
/// unshare(CLONE_NEWNET).
int load_unshare_network(void);

/// A message of load_sendmmsg and load_recvmmsg: struct mmsghdr, for which Swift would need
/// _GNU_SOURCE.
typedef struct {
  struct msghdr header;
  unsigned count;
} load_message;
/// sendmmsg(2), recvmmsg(2) without a timeout.
int load_sendmmsg(int socket, load_message *messages, unsigned count);
int load_recvmmsg(int socket, load_message *messages, unsigned count);

/// Counters in memory that two processes share.
static inline uint64_t load_counter_read(const uint64_t *counter) {
  return __atomic_load_n(counter, __ATOMIC_RELAXED);
}
static inline void load_counter_add(uint64_t *counter, uint64_t value) {
  __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
}
#endif

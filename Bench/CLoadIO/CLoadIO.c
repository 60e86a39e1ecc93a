#define _GNU_SOURCE
#include "CLoadIO.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

_Static_assert(sizeof(load_message) == sizeof(struct mmsghdr), "load_message is mmsghdr");

int load_accept(int listener) {
  return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
int load_sendmmsg(int socket, load_message *messages, unsigned count) {
  return sendmmsg(socket, (struct mmsghdr *)messages, count, 0);
}
int load_recvmmsg(int socket, load_message *messages, unsigned count) {
  return recvmmsg(socket, (struct mmsghdr *)messages, count, MSG_DONTWAIT, 0);
}
int load_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
int load_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
int load_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL); }
int load_exact_timers(void) { return prctl(PR_SET_TIMERSLACK, 1UL); }
int load_unshare_network(void) { return unshare(CLONE_NEWNET); }

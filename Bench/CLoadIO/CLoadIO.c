#define _GNU_SOURCE
#include "CLoadIO.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int load_accept(int listener) {
  return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
int load_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
int load_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
int load_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL); }
int load_exact_timers(void) { return prctl(PR_SET_TIMERSLACK, 1UL); }
int load_unshare_network(void) { return unshare(CLONE_NEWNET); }

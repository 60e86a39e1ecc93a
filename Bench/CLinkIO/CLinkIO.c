#define _GNU_SOURCE
#include "CLinkIO.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

int link_current_network(void) { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

int link_enter_network(int network) { return setns(network, CLONE_NEWNET); }

int link_open_tun(const char *name, int offload) {
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) return -1;
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_NAPI | (offload ? IFF_VNET_HDR : 0);
  unsigned long offloads = offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
  if (ioctl(device, TUNSETIFF, &request) < 0 || ioctl(device, TUNSETOFFLOAD, offloads) < 0) {
    int error = errno;
    close(device);
    errno = error;
    return -1;
  }
  return device;
}

int link_wait(struct pollfd *sources, uint64_t count, int64_t nanoseconds) {
  struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return ppoll(sources, count, nanoseconds < 0 ? NULL : &time, NULL);
}

int link_schedule(int thread, int priority, int core) {
  struct sched_param wanted = {.sched_priority = priority};
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  int pinned = sched_setaffinity(thread, sizeof cores, &cores);
  return sched_setscheduler(thread, SCHED_RR, &wanted) < 0 ? -1 : pinned;
}

int link_current_core(void) { return sched_getcpu(); }

int link_set_timer_slack(uint64_t nanoseconds) { return prctl(PR_SET_TIMERSLACK, nanoseconds); }

int link_signals(void) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGHUP);
  sigaddset(&wanted, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0) return -1;
  return signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

int link_next_signal(int signals) {
  struct signalfd_siginfo next;
  return read(signals, &next, sizeof next) == sizeof next ? (int)next.ssi_signo : 0;
}

int link_signal_at_parents_end(int signal) { return prctl(PR_SET_PDEATHSIG, signal); }

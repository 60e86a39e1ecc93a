// What Swift cannot import for the link emulator: namespaces, TUN devices, waits in nanoseconds,
// signals as a descriptor. No logic.
#ifndef CLINKIO_H
#define CLINKIO_H
#include <features.h>
#include <poll.h>
#include <stdint.h>

/// The network namespace of the calling thread as a descriptor, or -1.
int link_current_network(void);
/// setns(CLONE_NEWNET) of the calling thread.
int link_enter_network(int network);
/// A non-blocking TUN device of this name in the calling thread's namespace, without packet
/// information; what it receives goes through NAPI. With offload, each packet begins with a
/// virtio_net_hdr of 10 bytes and may be TCP of up to 64 KiB without a checksum (TUN_F_CSUM,
/// TUN_F_TSO4, TUN_F_TSO6). -1: errno says why.
int link_open_tun(const char *name, int offload);
/// ppoll; a negative time waits for ever.
int link_wait(struct pollfd *sources, uint64_t count, int64_t nanoseconds);
/// Ties a thread (0: the calling one) to a core and puts it under SCHED_RR with this priority.
int link_schedule(int thread, int priority, int core);
/// The core that runs the calling thread.
int link_current_core(void);
/// How late the kernel may end a wait of this thread (PR_SET_TIMERSLACK).
int link_set_timer_slack(uint64_t nanoseconds);
/// Blocks SIGINT, SIGTERM, SIGHUP and SIGCHLD, and gives them as a signalfd; -1: errno says why.
int link_signals(void);
/// The number of the next signal that waits there; 0 when there is none.
int link_next_signal(int signals);
/// prctl(PR_SET_PDEATHSIG, signal).
int link_signal_at_parents_end(int signal);
#endif

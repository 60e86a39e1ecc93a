// What Swift cannot import from liburing and Linux's socket headers: macros, variadics and
// constants newer than Debian 12's headers. No logic.
#ifndef CLINUXIO_H
#define CLINUXIO_H
#include <features.h>
#include <liburing.h>
#include "CEpoll.h"
#include "CSchedule.h"
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>

// netinet/tcp.h, netinet/udp.h, asm/socket.h: not in Swift's Glibc module, or newer than its
// headers.
static const int32_t RI_TCP_NOTSENT_LOWAT = 25;
static const int32_t RI_UDP_SEGMENT = 103;
static const int32_t RI_UDP_GRO = 104;
static const int32_t RI_SO_BUF_LOCK = 72;
static const int32_t RI_IP_PMTUDISC_PROBE = 3;

// in6_pktinfo (ipv6(7)), which the headers hide without _GNU_SOURCE.
struct ri_in6_pktinfo {
  struct in6_addr address;
  uint32_t interface;
};

// linux/io_uring.h: macros over enumerators, and what is newer than liburing 2.3.
static const uint8_t RI_IOSQE_BUFFER_SELECT = 1 << 5;
static const uint8_t RI_IOSQE_CQE_SKIP_SUCCESS = 1 << 6;
static const uint16_t RI_RECVSEND_BUNDLE = 1 << 4;
static const uint32_t RI_FEAT_RECVSEND_BUNDLE = 1 << 14;

// The queues and buffer rings are shared with the kernel: heads and tails are published with
// release and read with acquire (io_uring(7)).
static inline uint32_t ri_load_acquire(const unsigned *value) {
  return __atomic_load_n(value, __ATOMIC_ACQUIRE);
}
static inline void ri_store_release(unsigned *place, uint32_t value) {
  __atomic_store_n(place, value, __ATOMIC_RELEASE);
}
static inline void ri_buffer_ring_publish(struct io_uring_buf_ring *ring, uint16_t tail) {
  __atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
}

// io_uring_enter(2) with an optional relative timeout (nanoseconds; negative: none). Returns what
// the call does, or a negated errno.
static inline int ri_uring_enter(
    struct io_uring *ring, uint32_t submit, uint32_t wait, uint32_t flags, int64_t timeout) {
  if (timeout < 0) return io_uring_enter2(ring->enter_ring_fd, submit, wait, flags, NULL, 8);
  struct __kernel_timespec time = {timeout / 1000000000, timeout % 1000000000};
  struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)&time};
  return io_uring_enter2(ring->enter_ring_fd, submit, wait, flags | IORING_ENTER_EXT_ARG,
                         (sigset_t *)&argument, sizeof argument);
}

// A receive into buffers that the kernel picks from `group`. `flags` are IORING_RECV*; `total`
// ends a multishot receive after so many bytes (sqe->optlen; 0: no end).
static inline void ri_prep_recv_select(
    struct io_uring_sqe *sqe, int fd, uint32_t length, uint16_t group, uint16_t flags,
    uint32_t total) {
  io_uring_prep_recv(sqe, fd, NULL, length, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->ioprio = flags;
  sqe->buf_group = group;
  sqe->file_index = total;
}
static inline void ri_prep_recvmsg_select(
    struct io_uring_sqe *sqe, int fd, struct msghdr *message, uint16_t group, uint16_t flags) {
  io_uring_prep_recvmsg(sqe, fd, message, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->ioprio = flags;
  sqe->buf_group = group;
}

// SO_ATTACH_REUSEPORT_CBPF (socket(7)): of the sockets that share a UDP port, in the order of
// their coming, a packet goes to that which the first two bytes of its QUIC connection id name:
// their XOR, modulo `count`. The id begins at byte 1 of a short header, at byte 6 of a long one
// (RFC 8999 section 5). 0, or -1 and errno.
int32_t ri_pick_by_connection_id(int32_t fd, uint32_t count);
// SO_DETACH_REUSEPORT_BPF: they are picked by addresses and ports again.
int32_t ri_pick_by_addresses(int32_t fd);

// The tcpi_min_rtt of linux/tcp.h, which does not go together with netinet/tcp.h: 0, or -1 where it
// is missing. All bits set: no sample yet.
int ri_minimum_rtt(int descriptor, uint32_t *microseconds);
// A netlink socket that hears of changed addresses and routes (rtnetlink(7)), or a negated errno.
int ri_watch_addresses(int nonblocking);

// prctl is variadic.
static inline int ri_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

#endif

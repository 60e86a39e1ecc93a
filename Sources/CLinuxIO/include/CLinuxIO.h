// What Swift cannot import from liburing and Linux's socket headers: macros, variadics and
// constants newer than Debian 12's headers. No logic.
#ifndef CLINUXIO_H
#define CLINUXIO_H
#include <features.h>
#include <liburing.h>
#include "CEpoll.h"
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/random.h>

// netinet/tcp.h, netinet/udp.h: not in Swift's Glibc module, or newer than its headers.
static const int32_t RI_TCP_NOTSENT_LOWAT = 25;
static const int32_t RI_UDP_SEGMENT = 103;
static const int32_t RI_UDP_GRO = 104;

// in6_pktinfo (ipv6(7)), which the headers hide without _GNU_SOURCE.
struct ri_in6_pktinfo {
  struct in6_addr address;
  uint32_t interface;
};
#endif

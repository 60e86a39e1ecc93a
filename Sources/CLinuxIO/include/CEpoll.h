// epoll and the calls that the headers hide without _GNU_SOURCE. No logic.
#ifndef CEPOLL_H
#define CEPOLL_H
#include <features.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static const uint32_t RI_EPOLLIN = EPOLLIN;
static const uint32_t RI_EPOLLOUT = EPOLLOUT;
static const uint32_t RI_EPOLLERR = EPOLLERR;
static const uint32_t RI_EPOLLHUP = EPOLLHUP;
static const uint32_t RI_EPOLLRDHUP = EPOLLRDHUP;
static const uint32_t RI_EPOLLET = EPOLLET;

// mmsghdr (recvmmsg(2)).
struct ri_mmsghdr {
  struct msghdr header;
  uint32_t count;
};

int ri_accept4(int descriptor, int flags);
int ri_recvmmsg(int descriptor, struct ri_mmsghdr *messages, uint32_t count);
#endif

#define _GNU_SOURCE
#include "CEpoll.h"
#include <stddef.h>

_Static_assert(sizeof(struct ri_mmsghdr) == sizeof(struct mmsghdr), "mmsghdr");
_Static_assert(offsetof(struct ri_mmsghdr, count) == offsetof(struct mmsghdr, msg_len), "mmsghdr");

int ri_accept4(int descriptor, int flags) { return accept4(descriptor, NULL, NULL, flags); }

int ri_recvmmsg(int descriptor, struct ri_mmsghdr *messages, uint32_t count) {
  return recvmmsg(descriptor, (struct mmsghdr *)messages, count, MSG_DONTWAIT, NULL);
}

#include "CLinuxIO.h"
#include <linux/tcp.h>
#include <stddef.h>

int ri_minimum_rtt(int descriptor, uint32_t *microseconds) {
  struct tcp_info info;
  socklen_t size = sizeof info;
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return -1;
  // Older kernels know less of it (4.6 brought the field).
  if (size < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt) return -1;
  *microseconds = info.tcpi_min_rtt;
  return 0;
}

#include "CNFTables.h"
#include <errno.h>
#include <linux/capability.h>
#include <malloc.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct nlmsghdr) == 16 && sizeof(struct nfgenmsg) == 4 &&
                   sizeof(struct nlattr) == 4,
               "CounterDump.swift lays them out by hand");

struct nft_ctx *ri_nft_open(bool dry_run) {
  struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
  if (context == NULL) return NULL;
  nft_ctx_set_dry_run(context, dry_run);
  if (nft_ctx_buffer_output(context) == 0 && nft_ctx_buffer_error(context) == 0) return context;
  nft_ctx_free(context);
  return NULL;
}

void ri_nft_close(struct nft_ctx *context) { nft_ctx_free(context); }

int32_t ri_nft_run(struct nft_ctx *context, const char *commands) {
  return nft_run_cmd_from_buffer(context, commands);
}

const char *ri_nft_error(struct nft_ctx *context) { return nft_ctx_get_error_buffer(context); }

void ri_release_memory(void) { malloc_trim(0); }

int32_t ri_netfilter_socket(void) {
  int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  return descriptor < 0 ? -errno : descriptor;
}

bool ri_may_administer_network(void) {
  // capget(2), which has no wrapper in the C library.
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}

// libnftables as plain functions over an opaque context: its own header defines _GNU_SOURCE, which
// must not reach Swift's C modules. No logic.
//
// Threads: a context belongs to one thread at a time, and acts in that thread's network namespace.
#ifndef CNFTABLES_H
#define CNFTABLES_H
#include <features.h>
#include <stdbool.h>
#include <stdint.h>

struct nft_ctx;

// libnftables ends the process when it gets no netlink socket or no memory: try
// `ri_netfilter_socket` first.
struct nft_ctx *ri_nft_open(bool dry_run, bool json);
void ri_nft_close(struct nft_ctx *context);
// 0 when all commands were carried out, else none was. The two texts are valid until the next run.
int32_t ri_nft_run(struct nft_ctx *context, const char *commands);
const char *ri_nft_output(struct nft_ctx *context);
const char *ri_nft_error(struct nft_ctx *context);

// A netlink socket for netfilter, or a negated errno.
int32_t ri_netfilter_socket(void);
// Whether the calling thread has CAP_NET_ADMIN.
bool ri_may_administer_network(void);
#endif

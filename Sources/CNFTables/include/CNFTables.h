// libnftables as plain functions over an opaque context: its own header defines _GNU_SOURCE, which
// must not reach Swift's C modules. No logic.
//
// Threads: one at a time calls into libnftables (its list of interfaces belongs to the process); it
// acts in that thread's network namespace.
#ifndef CNFTABLES_H
#define CNFTABLES_H
#include <features.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

struct nft_ctx;

// libnftables ends the process when it gets no netlink socket or no memory: try
// `ri_netfilter_socket` first.
struct nft_ctx *ri_nft_open(bool dry_run);
void ri_nft_close(struct nft_ctx *context);
// 0 when all commands were carried out, else none was.
int32_t ri_nft_run(struct nft_ctx *context, const char *commands);
// Why not; valid until the next run.
const char *ri_nft_error(struct nft_ctx *context);

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h: what is a macro there,
// or an enumerator of no type.
static const uint16_t RI_NLM_REQUEST_DUMP = NLM_F_REQUEST | NLM_F_DUMP;
static const uint16_t RI_NLM_DUMP_INTERRUPTED = NLM_F_DUMP_INTR;
static const uint16_t RI_NLMSG_ERROR = NLMSG_ERROR;
static const uint16_t RI_NLMSG_DONE = NLMSG_DONE;
static const uint16_t RI_NLA_TYPE_MASK = (uint16_t)NLA_TYPE_MASK;
static const uint16_t RI_NFT_GET_OBJECT = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ;
static const uint16_t RI_NFT_NEW_OBJECT = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWOBJ;
static const uint8_t RI_NFPROTO_INET = 1;
static const uint16_t RI_NFTA_OBJECT_TABLE = NFTA_OBJ_TABLE;
static const uint16_t RI_NFTA_OBJECT_NAME = NFTA_OBJ_NAME;
static const uint16_t RI_NFTA_OBJECT_TYPE = NFTA_OBJ_TYPE;
static const uint16_t RI_NFTA_OBJECT_DATA = NFTA_OBJ_DATA;
static const uint32_t RI_NFT_OBJECT_COUNTER = NFT_OBJECT_COUNTER;
static const uint16_t RI_NFTA_COUNTER_BYTES = NFTA_COUNTER_BYTES;
static const uint16_t RI_NFTA_COUNTER_PACKETS = NFTA_COUNTER_PACKETS;

// A netlink socket for netfilter, or a negated errno.
int32_t ri_netfilter_socket(void);
// Gives memory that is free back to the system (malloc_trim(3)).
void ri_release_memory(void);

// Whether the calling thread has CAP_NET_ADMIN.
bool ri_may_administer_network(void);
#endif

#include <features.h>
#include <nftables/libnftables.h>

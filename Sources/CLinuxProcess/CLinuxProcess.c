#define _GNU_SOURCE
#include "CLinuxProcess.h"
#include <sys/prctl.h>

int ri_die_with_parent(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }

int ri_set_dumpable(int dumpable) { return prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0); }

int ri_name_process(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int ri_spawn_close_from(posix_spawn_file_actions_t *actions, int descriptor) {
  return posix_spawn_file_actions_addclosefrom_np(actions, descriptor);
}

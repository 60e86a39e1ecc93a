// What Swift cannot import from Linux's headers on processes and files: variadics, and what they
// hide without _GNU_SOURCE. No logic.
#ifndef CLINUXPROCESS_H
#define CLINUXPROCESS_H
#include <features.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/inotify.h>

// prctl(2). 0 or -1 with errno.
int ri_die_with_parent(int signal);
int ri_set_dumpable(int dumpable);
int ri_name_process(const char *name);

// posix_spawn_file_actions_addclosefrom_np(3): an errno.
int ri_spawn_close_from(posix_spawn_file_actions_t *actions, int descriptor);

// Bytes of a struct inotify_event before its name.
static const int32_t RI_INOTIFY_EVENT_BYTES = sizeof(struct inotify_event);
#endif

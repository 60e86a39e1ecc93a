// What Swift cannot import from liburing and Linux's socket headers: macros, variadics and
// constants newer than Debian 12's headers. No logic.
#ifndef CLINUXIO_H
#define CLINUXIO_H
#include <features.h>
#include <liburing.h>
#endif

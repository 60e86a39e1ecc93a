#ifndef CNGTCP2_H
#define CNGTCP2_H
#include <features.h>
#include <stdint.h>
#endif

// AES-GCM of intel-ipsec-mb as plain functions: its own interface is macros over a table of
// function pointers. Empty where the library does not exist (any machine but amd64). No logic.
#ifndef CIPSECMB_H
#define CIPSECMB_H
#include <features.h>
#endif

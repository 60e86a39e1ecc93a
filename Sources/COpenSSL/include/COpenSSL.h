// What Swift cannot import from OpenSSL: function-like macros. No logic.
#ifndef COPENSSL_H
#define COPENSSL_H
#include <features.h>
#include <openssl/ssl.h>
#endif

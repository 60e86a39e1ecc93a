// What Swift cannot import from OpenSSL: function-like macros, variadics, and one CPU probe that
// OpenSSL keeps to itself. No logic.
#ifndef COPENSSL_H
#define COPENSSL_H
#include <features.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static inline bool openssl_set_versions(SSL_CTX *context, int least, int most) {
  return SSL_CTX_set_min_proto_version(context, least) == 1 &&
         SSL_CTX_set_max_proto_version(context, most) == 1;
}

static inline bool openssl_set_groups(SSL_CTX *context, const char *names) {
  return SSL_CTX_set1_groups_list(context, names) == 1;
}

static inline bool openssl_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
  return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}

// The server's order of ciphers counts, but a client that puts ChaCha20 first (no AES in its CPU)
// gets it. Buffers are given back between uses. No sessions are kept and no tickets given.
static inline void openssl_set_options(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                   SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
}

static inline bool openssl_set_server_name(SSL *ssl, const char *name) {
  return SSL_set_tlsext_host_name(ssl, name) == 1;
}

static inline void openssl_set_owner(SSL *ssl, void *owner) { SSL_set_app_data(ssl, owner); }
static inline void *openssl_owner(const SSL *ssl) { return SSL_get_app_data(ssl); }

// The connection whose peer certificate a verification is about.
static inline SSL *openssl_verified_connection(X509_STORE_CTX *verification) {
  return (SSL *)X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
}

// A list of certificates that does not own them.
static inline STACK_OF(X509) *openssl_certificate_stack(void) { return sk_X509_new_null(); }
static inline void openssl_certificate_stack_push(STACK_OF(X509) *stack, X509 *certificate) {
  sk_X509_push(stack, certificate);
}
static inline void openssl_certificate_stack_free(STACK_OF(X509) *stack) { sk_X509_free(stack); }

// All bytes of a memory BIO, unread; valid until the BIO changes.
static inline long openssl_memory(BIO *memory, char **bytes) {
  return BIO_get_mem_data(memory, bytes);
}

static inline int openssl_reason(unsigned long code) { return ERR_GET_REASON(code); }

static inline EVP_PKEY *openssl_make_p256_key(void) { return EVP_EC_gen("P-256"); }

// Whether the CPU computes AES itself.
static inline bool openssl_cpu_has_aes(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES);
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
  return false;
#endif
}
#endif

// What the files of this shim share.
#ifndef CNGTCP2_INTERNAL_H
#define CNGTCP2_INTERNAL_H
#define _GNU_SOURCE
#include "CNGTCP2.h"
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdlib.h>
#include <string.h>

// Names that changed with 1.0 (the newest header of upstream; Debian 13 has 1.11).
#if NGTCP2_VERSION_NUM >= 0x010000
#define QUIC_LEVEL ngtcp2_encryption_level
#define QUIC_LEVEL_APPLICATION NGTCP2_ENCRYPTION_LEVEL_1RTT
#define quic_level_from_gnutls ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level
#else
#define QUIC_LEVEL ngtcp2_crypto_level
#define QUIC_LEVEL_APPLICATION NGTCP2_CRYPTO_LEVEL_APPLICATION
#define quic_level_from_gnutls ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level
#endif

_Static_assert(QUIC_CID_MAX == NGTCP2_MAX_CIDLEN, "connection ids");
_Static_assert(QUIC_RESET_TOKEN == NGTCP2_STATELESS_RESET_TOKENLEN, "reset tokens");
// Vectors are handed on as they are.
_Static_assert(sizeof(quic_bytes) == sizeof(ngtcp2_vec), "vectors");
_Static_assert(offsetof(quic_bytes, count) == offsetof(ngtcp2_vec, len), "vectors");

struct quic_credentials {
  gnutls_certificate_credentials_t certificates;
  gnutls_priority_t priority;
  gnutls_datum_t ticket_key;
  gnutls_anti_replay_t anti_replay;
  bool allows_early_data;
  uint8_t ticket_key_bytes[QUIC_TICKET_KEY];
  bool (*replayed)(void *store, const uint8_t *hello, size_t count, int64_t expires);
  void *store;
};

struct quic_link {
  // What GnuTLS's session points to; first, so that the one is the other.
  ngtcp2_crypto_conn_ref reference;
  ngtcp2_conn *conn;
  gnutls_session_t session;
  const quic_handlers *handlers;
  void *owner;
  bool is_server, has_early_data, own_protection;
};

// A sockaddr of either family.
typedef union quic_sockaddr {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} quic_sockaddr;

socklen_t quic_to_sockaddr(quic_sockaddr *to, const quic_address *from);
void quic_from_sockaddr(quic_address *to, const struct sockaddr *from);

// Sets up `link->session`. 0 or an error of GnuTLS.
int quic_tls_server(quic_link *link, quic_credentials *credentials);
int quic_tls_client(quic_link *link, quic_credentials *credentials, const char *server_name,
                    quic_bytes session);

// Packet protection by the handlers' keys.
int quic_encrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *key,
                 const uint8_t *from, size_t count, const uint8_t *nonce, size_t nonce_count,
                 const uint8_t *aad, size_t aad_count);
int quic_decrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *key,
                 const uint8_t *from, size_t count, const uint8_t *nonce, size_t nonce_count,
                 const uint8_t *aad, size_t aad_count);
int quic_hp_mask(uint8_t *to, const ngtcp2_crypto_cipher *cipher,
                 const ngtcp2_crypto_cipher_ctx *mask, const uint8_t *sample);
int quic_update_key(ngtcp2_conn *conn, uint8_t *rx_secret, uint8_t *tx_secret,
                    ngtcp2_crypto_aead_ctx *rx_key, uint8_t *rx_iv,
                    ngtcp2_crypto_aead_ctx *tx_key, uint8_t *tx_iv, const uint8_t *rx_current,
                    const uint8_t *tx_current, size_t count, void *user);
void quic_delete_key(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *key, void *user);
void quic_delete_mask(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *mask, void *user);
int quic_secrets(gnutls_session_t session, gnutls_record_encryption_level_t level,
                 const void *rx, const void *tx, size_t count);

// What a connection says of its path, in either version's words.
#if NGTCP2_VERSION_NUM >= 0x010000
#define STATISTICS ngtcp2_conn_info
#define GET_STATISTICS ngtcp2_conn_get_conn_info
#define NO_SAMPLE(statistics) ((statistics).min_rtt == UINT64_MAX)
#else
#define STATISTICS ngtcp2_conn_stat
#define GET_STATISTICS ngtcp2_conn_get_conn_stat
#define NO_SAMPLE(statistics) ((statistics).first_rtt_sample_ts == UINT64_MAX)
#endif

#endif

// Packet protection of the application's packets by keys of the handlers; those of the handshake
// stay with GnuTLS. Which of the two a handle of ngtcp2 is shows in its lowest bit: pointers to
// allocated memory have none there.
#include "Internal.h"

// RFC 9001 section 5.1: key, IV and header protection key are as long as the cipher's.
enum { KEY_MAX = 32, IV = 12, TAG = 16 };

// The seal, open and mask functions are the same for all links; ngtcp2's callbacks get no owner.
static const quic_handlers *shared;
#define shared_handlers __atomic_load_n(&shared, __ATOMIC_RELAXED)

static void *tagged(void *key) { return key ? (void *)((uintptr_t)key | 1) : NULL; }
static bool is_ours(const void *handle) { return ((uintptr_t)handle & 1) != 0; }
static void *untagged(const void *handle) { return (void *)((uintptr_t)handle & ~(uintptr_t)1); }

int quic_encrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *key,
                 const uint8_t *from, size_t count, const uint8_t *nonce, size_t nonce_count,
                 const uint8_t *aad, size_t aad_count) {
  if (!is_ours(key->native_handle))
    return ngtcp2_crypto_encrypt_cb(to, aead, key, from, count, nonce, nonce_count, aad,
                                    aad_count);
  shared_handlers->seal(untagged(key->native_handle), to, from, count, nonce, aad, aad_count);
  return 0;
}

int quic_decrypt(uint8_t *to, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *key,
                 const uint8_t *from, size_t count, const uint8_t *nonce, size_t nonce_count,
                 const uint8_t *aad, size_t aad_count) {
  if (!is_ours(key->native_handle))
    return ngtcp2_crypto_decrypt_cb(to, aead, key, from, count, nonce, nonce_count, aad,
                                    aad_count);
  if (count < TAG) return NGTCP2_ERR_DECRYPT;
  bool is_genuine = shared_handlers->open(untagged(key->native_handle), to, from, count, nonce,
                                          aad, aad_count);
  return is_genuine ? 0 : NGTCP2_ERR_DECRYPT;
}

int quic_hp_mask(uint8_t *to, const ngtcp2_crypto_cipher *cipher,
                 const ngtcp2_crypto_cipher_ctx *mask, const uint8_t *sample) {
  if (!is_ours(mask->native_handle)) return ngtcp2_crypto_hp_mask_cb(to, cipher, mask, sample);
  shared_handlers->mask(untagged(mask->native_handle), to, sample);
  return 0;
}

void quic_delete_key(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *key, void *user) {
  if (!is_ours(key->native_handle))
    return ngtcp2_crypto_delete_crypto_aead_ctx_cb(conn, key, user);
  shared_handlers->drop_key(untagged(key->native_handle));
}

void quic_delete_mask(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *mask, void *user) {
  if (!is_ours(mask->native_handle))
    return ngtcp2_crypto_delete_crypto_cipher_ctx_cb(conn, mask, user);
  shared_handlers->drop_mask(untagged(mask->native_handle));
}

// The algorithm's number in quic_handlers; -1: GnuTLS is to do it.
static int algorithm(const ngtcp2_crypto_ctx *context) {
  switch ((gnutls_cipher_algorithm_t)(intptr_t)context->aead.native_handle) {
  case GNUTLS_CIPHER_AES_128_GCM: return 0;
  case GNUTLS_CIPHER_AES_256_GCM: return 1;
  case GNUTLS_CIPHER_CHACHA20_POLY1305: return 2;
  default: return -1;
  }
}

static bool expand(const ngtcp2_crypto_ctx *context, const char *label, const uint8_t *secret,
                   size_t secret_count, uint8_t *to, size_t count) {
  return ngtcp2_crypto_hkdf_expand_label(to, count, &context->md, secret, secret_count,
                                         (const uint8_t *)label, strlen(label)) == 0;
}

static bool make_key(const quic_handlers *handlers, const ngtcp2_crypto_ctx *context,
                     const uint8_t *secret, size_t count, ngtcp2_crypto_aead_ctx *key,
                     uint8_t *iv) {
  uint8_t bytes[KEY_MAX];
  size_t key_count = ngtcp2_crypto_aead_keylen(&context->aead);
  if (key_count > sizeof bytes || !expand(context, "quic key", secret, count, bytes, key_count) ||
      !expand(context, "quic iv", secret, count, iv, IV))
    return false;
  key->native_handle = tagged(handlers->make_key(algorithm(context), bytes, key_count));
  gnutls_memset(bytes, 0, sizeof bytes);
  return key->native_handle != NULL;
}

// Installs one direction of the application's keys.
static int install(quic_link *link, const ngtcp2_crypto_ctx *context, bool is_rx,
                   const uint8_t *secret, size_t count) {
  ngtcp2_crypto_aead_ctx key = {0};
  ngtcp2_crypto_cipher_ctx mask = {0};
  uint8_t bytes[KEY_MAX], iv[IV];
  size_t key_count = ngtcp2_crypto_aead_keylen(&context->aead);
  if (!make_key(link->handlers, context, secret, count, &key, iv)) return -1;
  if (!expand(context, "quic hp", secret, count, bytes, key_count)) goto failed;
  mask.native_handle = tagged(link->handlers->make_mask(algorithm(context), bytes, key_count));
  gnutls_memset(bytes, 0, sizeof bytes);
  if (mask.native_handle == NULL) goto failed;
  int result = is_rx ? ngtcp2_conn_install_rx_key(link->conn, secret, count, &key, iv, IV, &mask)
                     : ngtcp2_conn_install_tx_key(link->conn, secret, count, &key, iv, IV, &mask);
  if (result == 0) return 0;
  link->handlers->drop_mask(untagged(mask.native_handle));
failed:
  link->handlers->drop_key(untagged(key.native_handle));
  return -1;
}

// Set instead of the crypto library's own secret function.
int quic_secrets(gnutls_session_t session, gnutls_record_encryption_level_t gnutls_level,
                 const void *rx, const void *tx, size_t count) {
  quic_link *link = gnutls_session_get_ptr(session);
  QUIC_LEVEL level = quic_level_from_gnutls(gnutls_level);
  const ngtcp2_crypto_ctx *context = ngtcp2_conn_get_crypto_ctx(link->conn);
  if (link->own_protection && level == QUIC_LEVEL_APPLICATION && context != NULL &&
      context->aead.native_handle != NULL && algorithm(context) >= 0 &&
      ngtcp2_conn_get_negotiated_version(link->conn) == NGTCP2_PROTO_VER_V1) {
    __atomic_store_n(&shared, link->handlers, __ATOMIC_RELAXED);
    if (rx != NULL && install(link, context, true, rx, count) != 0) return -1;
    if (tx != NULL && install(link, context, false, tx, count) != 0) return -1;
    return 0;
  }
  if (rx != NULL && ngtcp2_crypto_derive_and_install_rx_key(link->conn, NULL, NULL, NULL, level,
                                                            rx, count) != 0)
    return -1;
  if (tx != NULL && ngtcp2_crypto_derive_and_install_tx_key(link->conn, NULL, NULL, NULL, level,
                                                            tx, count) != 0)
    return -1;
  return 0;
}

// RFC 9001 section 6.1.
int quic_update_key(ngtcp2_conn *conn, uint8_t *rx_secret, uint8_t *tx_secret,
                    ngtcp2_crypto_aead_ctx *rx_key, uint8_t *rx_iv,
                    ngtcp2_crypto_aead_ctx *tx_key, uint8_t *tx_iv, const uint8_t *rx_current,
                    const uint8_t *tx_current, size_t count, void *user) {
  quic_link *link = user;
  const ngtcp2_crypto_ctx *context = ngtcp2_conn_get_crypto_ctx(conn);
  if (!link->own_protection || algorithm(context) < 0 ||
      ngtcp2_conn_get_negotiated_version(conn) != NGTCP2_PROTO_VER_V1)
    return ngtcp2_crypto_update_key_cb(conn, rx_secret, tx_secret, rx_key, rx_iv, tx_key, tx_iv,
                                       rx_current, tx_current, count, user);
  if (!expand(context, "quic ku", rx_current, count, rx_secret, count) ||
      !expand(context, "quic ku", tx_current, count, tx_secret, count) ||
      !make_key(link->handlers, context, rx_secret, count, rx_key, rx_iv))
    return NGTCP2_ERR_CALLBACK_FAILURE;
  if (!make_key(link->handlers, context, tx_secret, count, tx_key, tx_iv)) {
    link->handlers->drop_key(untagged(rx_key->native_handle));
    rx_key->native_handle = NULL;
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  return 0;
}

// GnuTLS: credentials and sessions. TLS 1.3 alone, AES-128-GCM first, ChaCha20 last.
#include "Internal.h"

#define ALPN "remoteingress"
// The server's order counts, as GnuTLS would otherwise go by the client's.
#define PRIORITY                                                                                  \
  "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"       \
  "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE"
// Clients whose clock or network is off by more than this get no 0-RTT; the store against replays
// remembers for as long.
#define REPLAY_WINDOW_MILLISECONDS 10000

static int add_hello(void *pointer, time_t expires, const gnutls_datum_t *key,
                     const gnutls_datum_t *data) {
  (void)data;
  quic_credentials *credentials = pointer;
  bool is_seen = credentials->replayed(credentials->store, key->data, key->size, (int64_t)expires);
  return is_seen ? GNUTLS_E_DB_ENTRY_EXISTS : 0;
}

static quic_credentials *make_credentials(void) {
  quic_credentials *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  if (gnutls_certificate_allocate_credentials(&made->certificates) == 0 &&
      gnutls_priority_init(&made->priority, PRIORITY, NULL) == 0)
    return made;
  quic_credentials_free(made);
  return NULL;
}

quic_credentials *quic_client_credentials(void) { return make_credentials(); }

quic_credentials *quic_server_credentials(quic_bytes certificate, quic_bytes key,
                                          const uint8_t ticket_key[QUIC_TICKET_KEY],
                                          bool allows_early_data,
                                          bool (*replayed)(void *, const uint8_t *, size_t,
                                                           int64_t),
                                          void *store) {
  quic_credentials *made = make_credentials();
  if (made == NULL) return NULL;
  made->replayed = replayed;
  made->store = store;
  made->allows_early_data = allows_early_data;
  memcpy(made->ticket_key_bytes, ticket_key, QUIC_TICKET_KEY);
  made->ticket_key.data = made->ticket_key_bytes;
  made->ticket_key.size = QUIC_TICKET_KEY;
  gnutls_datum_t chain = {(unsigned char *)certificate.start, (unsigned)certificate.count};
  gnutls_datum_t private = {(unsigned char *)key.start, (unsigned)key.count};
  if (gnutls_certificate_set_x509_key_mem(made->certificates, &chain, &private,
                                          GNUTLS_X509_FMT_PEM) < 0 ||
      gnutls_anti_replay_init(&made->anti_replay) != 0) {
    quic_credentials_free(made);
    return NULL;
  }
  gnutls_anti_replay_set_window(made->anti_replay, REPLAY_WINDOW_MILLISECONDS);
  gnutls_anti_replay_set_add_function(made->anti_replay, add_hello);
  gnutls_anti_replay_set_ptr(made->anti_replay, made);
  return made;
}

void quic_credentials_free(quic_credentials *credentials) {
  if (credentials == NULL) return;
  if (credentials->anti_replay) gnutls_anti_replay_deinit(credentials->anti_replay);
  if (credentials->certificates) gnutls_certificate_free_credentials(credentials->certificates);
  if (credentials->priority) gnutls_priority_deinit(credentials->priority);
  gnutls_memset(credentials->ticket_key_bytes, 0, QUIC_TICKET_KEY);
  free(credentials);
}

// A client that names no protocol is refused as well (RFC 9001 section 8.1).
static int hello_received(gnutls_session_t session, unsigned type, unsigned when,
                          unsigned incoming, const gnutls_datum_t *message) {
  (void)type, (void)when, (void)incoming, (void)message;
  gnutls_datum_t selected;
  if (gnutls_alpn_get_selected_protocol(session, &selected) != 0)
    return GNUTLS_E_NO_APPLICATION_PROTOCOL;
  return 0;
}

static int ticket_received(gnutls_session_t session, unsigned type, unsigned when,
                           unsigned incoming, const gnutls_datum_t *message) {
  (void)type, (void)when, (void)incoming, (void)message;
  quic_link *link = gnutls_session_get_ptr(session);
  gnutls_datum_t data;
  if (gnutls_session_get_data2(session, &data) != 0) return 0;
  link->handlers->new_ticket(link->owner, data.data, data.size);
  gnutls_memset(data.data, 0, data.size);
  gnutls_free(data.data);
  return 0;
}

static int verify(gnutls_session_t session) {
  enum { CHAIN_MAX = 10 };
  quic_link *link = gnutls_session_get_ptr(session);
  unsigned count = 0;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
  quic_bytes certificates[CHAIN_MAX];
  if (chain == NULL || count == 0) return GNUTLS_E_CERTIFICATE_ERROR;
  if (count > CHAIN_MAX) count = CHAIN_MAX;
  for (unsigned i = 0; i < count; i++)
    certificates[i] = (quic_bytes){chain[i].data, chain[i].size};
  return link->handlers->verify(link->owner, certificates, count) ? 0
                                                                  : GNUTLS_E_CERTIFICATE_ERROR;
}

static int configure(quic_link *link, quic_credentials *credentials) {
  gnutls_datum_t alpn = {(unsigned char *)ALPN, sizeof ALPN - 1};
  int result = gnutls_priority_set(link->session, credentials->priority);
  if (result != 0) return result;
  result = link->is_server ? ngtcp2_crypto_gnutls_configure_server_session(link->session)
                           : ngtcp2_crypto_gnutls_configure_client_session(link->session);
  if (result != 0) return result;
  gnutls_handshake_set_secret_function(link->session, quic_secrets);
  gnutls_session_set_ptr(link->session, link);
  result = gnutls_credentials_set(link->session, GNUTLS_CRD_CERTIFICATE,
                                  credentials->certificates);
  if (result != 0) return result;
  return gnutls_alpn_set_protocols(link->session, &alpn, 1, GNUTLS_ALPN_MANDATORY);
}

int quic_tls_server(quic_link *link, quic_credentials *credentials) {
  unsigned flags = GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_END_OF_EARLY_DATA;
  if (credentials->allows_early_data) flags |= GNUTLS_ENABLE_EARLY_DATA;
  int result = gnutls_init(&link->session, flags);
  if (result != 0) return result;
  result = configure(link, credentials);
  if (result != 0) return result;
  result = gnutls_session_ticket_enable_server(link->session, &credentials->ticket_key);
  if (result != 0) return result;
  gnutls_handshake_set_hook_function(link->session, GNUTLS_HANDSHAKE_CLIENT_HELLO,
                                     GNUTLS_HOOK_POST, hello_received);
  if (credentials->allows_early_data) {
    gnutls_anti_replay_enable(link->session, credentials->anti_replay);
    // The value that RFC 9001 section 4.6.1 asks for.
    gnutls_record_set_max_early_data_size(link->session, 0xffffffffu);
  }
  return 0;
}

int quic_tls_client(quic_link *link, quic_credentials *credentials, const char *server_name,
                    quic_bytes session) {
  int result = gnutls_init(&link->session, GNUTLS_CLIENT | GNUTLS_ENABLE_EARLY_DATA |
                                               GNUTLS_NO_END_OF_EARLY_DATA);
  if (result != 0) return result;
  result = configure(link, credentials);
  if (result != 0) return result;
  gnutls_session_set_verify_function(link->session, verify);
  gnutls_handshake_set_hook_function(link->session, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                     GNUTLS_HOOK_POST, ticket_received);
  if (server_name != NULL)
    gnutls_server_name_set(link->session, GNUTLS_NAME_DNS, server_name, strlen(server_name));
  // A session that GnuTLS refuses is as good as none.
  if (session.count > 0)
    link->has_early_data = gnutls_session_set_data(link->session, session.start,
                                                   session.count) == 0;
  return 0;
}

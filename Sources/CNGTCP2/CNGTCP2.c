// One connection: ngtcp2's object with its settings, and what Swift calls on it.
#include "Internal.h"

const int QUIC_BLOCKED_STREAM = NGTCP2_ERR_STREAM_DATA_BLOCKED;
const int QUIC_SHUT = NGTCP2_ERR_STREAM_SHUT_WR;
const int QUIC_GONE = NGTCP2_ERR_STREAM_NOT_FOUND;
const int QUIC_DRAINING = NGTCP2_ERR_DRAINING;
const int QUIC_CLOSING = NGTCP2_ERR_CLOSING;
const int QUIC_WRITE_MORE = NGTCP2_ERR_WRITE_MORE;
const int QUIC_RETRY = NGTCP2_ERR_RETRY;
const int QUIC_DROP = NGTCP2_ERR_DROP_CONN;
const int QUIC_CRYPTO = NGTCP2_ERR_CRYPTO;
const int QUIC_IDLE = NGTCP2_ERR_IDLE_CLOSE;
const int QUIC_HANDSHAKE_TIMEOUT = NGTCP2_ERR_HANDSHAKE_TIMEOUT;
const int QUIC_VERSION = NGTCP2_ERR_RECV_VERSION_NEGOTIATION;
const int QUIC_NO_MEMORY = NGTCP2_ERR_NOMEM;
const int QUIC_CALLBACK = NGTCP2_ERR_CALLBACK_FAILURE;
const int QUIC_STREAMS_SPENT = NGTCP2_ERR_STREAM_ID_BLOCKED;

const char *quic_error_text(int error) { return ngtcp2_strerror(error); }

// MARK: Values

socklen_t quic_to_sockaddr(quic_sockaddr *to, const quic_address *from) {
  memset(to, 0, sizeof *to);
  if (from->is_v6) {
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(from->port);
    to->v6.sin6_scope_id = from->scope;
    memcpy(&to->v6.sin6_addr, from->ip, 16);
    return sizeof to->v6;
  }
  to->v4.sin_family = AF_INET;
  to->v4.sin_port = htons(from->port);
  memcpy(&to->v4.sin_addr, from->ip, 4);
  return sizeof to->v4;
}

void quic_from_sockaddr(quic_address *to, const struct sockaddr *from) {
  memset(to, 0, sizeof *to);
  if (from->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    to->is_v6 = true;
    to->port = ntohs(v6->sin6_port);
    to->scope = v6->sin6_scope_id;
    memcpy(to->ip, &v6->sin6_addr, 16);
  } else {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
    to->port = ntohs(v4->sin_port);
    memcpy(to->ip, &v4->sin_addr, 4);
  }
}

typedef struct path_memory {
  quic_sockaddr local, remote;
  ngtcp2_path path;
} path_memory;

static const ngtcp2_path *to_path(path_memory *to, const quic_path *from) {
  memset(to, 0, sizeof *to);
  to->path.local.addrlen = quic_to_sockaddr(&to->local, &from->local);
  to->path.remote.addrlen = quic_to_sockaddr(&to->remote, &from->remote);
  to->path.local.addr = &to->local.any;
  to->path.remote.addr = &to->remote.any;
  return &to->path;
}

static void from_path(quic_path *to, const ngtcp2_path *from) {
  quic_from_sockaddr(&to->local, from->local.addr);
  quic_from_sockaddr(&to->remote, from->remote.addr);
}

static void to_cid(ngtcp2_cid *to, const quic_cid *from) {
  ngtcp2_cid_init(to, from->bytes, from->count);
}

static void from_cid(quic_cid *to, const ngtcp2_cid *from) {
  memset(to, 0, sizeof *to);
  to->count = (uint8_t)from->datalen;
  memcpy(to->bytes, from->data, from->datalen);
}

static uint64_t to_tag(void *stream_user) { return (uint64_t)(uintptr_t)stream_user; }

// MARK: ngtcp2's callbacks

static int stream_open(ngtcp2_conn *conn, int64_t stream, void *user) {
  (void)conn;
  quic_link *link = user;
  return link->handlers->stream_opened(link->owner, stream) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int recv_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t stream, uint64_t offset,
                            const uint8_t *bytes, size_t count, void *user, void *stream_user) {
  (void)conn, (void)offset;
  quic_link *link = user;
  bool is_last = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
  return link->handlers->stream_data(link->owner, stream, to_tag(stream_user), bytes, count,
                                     is_last)
             ? 0
             : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int acked_stream_data(ngtcp2_conn *conn, int64_t stream, uint64_t offset, uint64_t count,
                             void *user, void *stream_user) {
  (void)conn, (void)offset;
  quic_link *link = user;
  link->handlers->acknowledged(link->owner, stream, to_tag(stream_user), count);
  return 0;
}

static int stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t stream, uint64_t error,
                        void *user, void *stream_user) {
  (void)conn, (void)flags, (void)error;
  quic_link *link = user;
  link->handlers->stream_closed(link->owner, stream, to_tag(stream_user));
  return 0;
}

static int stream_reset(ngtcp2_conn *conn, int64_t stream, uint64_t final_size, uint64_t error,
                        void *user, void *stream_user) {
  (void)conn, (void)final_size, (void)error;
  quic_link *link = user;
  link->handlers->stream_reset(link->owner, stream, to_tag(stream_user));
  return 0;
}

static int stream_stop_sending(ngtcp2_conn *conn, int64_t stream, uint64_t error, void *user,
                               void *stream_user) {
  return stream_reset(conn, stream, 0, error, user, stream_user);
}

static int extend_stream_data(ngtcp2_conn *conn, int64_t stream, uint64_t max, void *user,
                              void *stream_user) {
  (void)conn, (void)max;
  quic_link *link = user;
  link->handlers->stream_credit(link->owner, stream, to_tag(stream_user));
  return 0;
}

static int recv_datagram(ngtcp2_conn *conn, uint32_t flags, const uint8_t *bytes, size_t count,
                         void *user) {
  (void)conn, (void)flags;
  quic_link *link = user;
  link->handlers->datagram(link->owner, bytes, count);
  return 0;
}

static int handshake_completed(ngtcp2_conn *conn, void *user) {
  quic_link *link = user;
  bool is_accepted = (gnutls_session_get_flags(link->session) & GNUTLS_SFLAGS_EARLY_DATA) != 0;
  if (!link->is_server && link->has_early_data && !is_accepted) {
    int result = ngtcp2_conn_early_data_rejected(conn);
    if (result != 0) return result;
  }
  link->handlers->handshake_completed(link->owner, is_accepted);
  return 0;
}

static int early_data_rejected(ngtcp2_conn *conn, void *user) {
  (void)conn;
  quic_link *link = user;
  link->handlers->early_data_rejected(link->owner);
  return 0;
}

static int recv_stateless_reset(ngtcp2_conn *conn, const ngtcp2_pkt_stateless_reset *reset,
                                void *user) {
  (void)conn, (void)reset;
  quic_link *link = user;
  link->handlers->stateless_reset(link->owner);
  return 0;
}

#if NGTCP2_VERSION_NUM >= 0x010000
static int recv_new_token(ngtcp2_conn *conn, const uint8_t *token, size_t count, void *user) {
  (void)conn;
  quic_link *link = user;
  link->handlers->new_token(link->owner, token, count);
  return 0;
}
#else
static int recv_new_token(ngtcp2_conn *conn, const ngtcp2_vec *token, void *user) {
  (void)conn;
  quic_link *link = user;
  link->handlers->new_token(link->owner, token->base, token->len);
  return 0;
}
#endif

static int get_new_connection_id(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token,
                                 size_t count, void *user) {
  (void)conn;
  quic_link *link = user;
  quic_cid made = {.count = (uint8_t)count};
  if (!link->handlers->new_cid(link->owner, &made, token)) return NGTCP2_ERR_CALLBACK_FAILURE;
  to_cid(cid, &made);
  return 0;
}

static int remove_connection_id(ngtcp2_conn *conn, const ngtcp2_cid *cid, void *user) {
  (void)conn;
  quic_link *link = user;
  quic_cid retired;
  from_cid(&retired, cid);
  link->handlers->cid_retired(link->owner, &retired);
  return 0;
}

#if NGTCP2_VERSION_NUM >= 0x010000
static int path_validation(ngtcp2_conn *conn, uint32_t flags, const ngtcp2_path *path,
                           const ngtcp2_path *old, ngtcp2_path_validation_result result,
                           void *user) {
  (void)old;
#else
static int path_validation(ngtcp2_conn *conn, uint32_t flags, const ngtcp2_path *path,
                           ngtcp2_path_validation_result result, void *user) {
#endif
  (void)conn, (void)flags, (void)path;
  quic_link *link = user;
  link->handlers->path_validated(link->owner, result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS);
  return 0;
}

static void random_bytes(uint8_t *to, size_t count, const ngtcp2_rand_ctx *context) {
  (void)context;
  quic_random(to, count);
}

static ngtcp2_callbacks make_callbacks(void) {
  ngtcp2_callbacks callbacks = {0};
  callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
  callbacks.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
  callbacks.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
  callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  callbacks.encrypt = quic_encrypt;
  callbacks.decrypt = quic_decrypt;
  callbacks.hp_mask = quic_hp_mask;
  callbacks.update_key = quic_update_key;
  callbacks.delete_crypto_aead_ctx = quic_delete_key;
  callbacks.delete_crypto_cipher_ctx = quic_delete_mask;
  callbacks.handshake_completed = handshake_completed;
  callbacks.early_data_rejected = early_data_rejected;
  callbacks.stream_open = stream_open;
  callbacks.recv_stream_data = recv_stream_data;
  callbacks.acked_stream_data_offset = acked_stream_data;
  callbacks.stream_close = stream_close;
  callbacks.stream_reset = stream_reset;
  callbacks.stream_stop_sending = stream_stop_sending;
  callbacks.extend_max_stream_data = extend_stream_data;
  callbacks.recv_datagram = recv_datagram;
  callbacks.recv_stateless_reset = recv_stateless_reset;
  callbacks.recv_new_token = recv_new_token;
  callbacks.get_new_connection_id = get_new_connection_id;
  callbacks.remove_connection_id = remove_connection_id;
  callbacks.path_validation = path_validation;
  callbacks.rand = random_bytes;
  return callbacks;
}

static ngtcp2_conn *connection_of(ngtcp2_crypto_conn_ref *reference) {
  return ((quic_link *)reference)->conn;
}

// MARK: Making and freeing

static ngtcp2_settings make_settings(const quic_options *options) {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = options->now;
  settings.cc_algo = options->bbr ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
  settings.max_tx_udp_payload_size = options->udp_payload_max;
  settings.handshake_timeout = options->handshake_timeout;
  settings.initial_rtt = options->initial_rtt;
  settings.no_pmtud = !options->discovers_mtu;
  return settings;
}

static ngtcp2_transport_params make_parameters(const quic_options *options) {
  ngtcp2_transport_params parameters;
  ngtcp2_transport_params_default(&parameters);
  parameters.initial_max_stream_data_bidi_local = options->stream_window;
  parameters.initial_max_stream_data_bidi_remote = options->stream_window;
  parameters.initial_max_stream_data_uni = options->uni_window;
  parameters.initial_max_data = options->connection_window;
  parameters.initial_max_streams_bidi = options->streams_bidi;
  parameters.initial_max_streams_uni = options->streams_uni;
  parameters.max_idle_timeout = options->idle_timeout;
  parameters.max_datagram_frame_size = options->datagram_max;
  parameters.max_ack_delay = options->ack_delay_max;
  parameters.active_connection_id_limit = 7;
  return parameters;
}

static quic_link *make_link(const quic_handlers *handlers, void *owner,
                            const quic_options *options, bool is_server) {
  quic_link *link = calloc(1, sizeof *link);
  if (link == NULL) return NULL;
  link->reference.get_conn = connection_of;
  link->reference.user_data = link;
  link->handlers = handlers;
  link->owner = owner;
  link->is_server = is_server;
  link->own_protection = options->own_protection;
  return link;
}

quic_link *quic_accept(quic_credentials *credentials, const quic_handlers *handlers, void *owner,
                       const quic_options *options, const quic_path *path,
                       const quic_initial *initial, const quic_cid *original,
                       const quic_cid *source, const uint8_t reset_token[QUIC_RESET_TOKEN]) {
  quic_link *link = make_link(handlers, owner, options, true);
  if (link == NULL) return NULL;
  ngtcp2_settings settings = make_settings(options);
  ngtcp2_transport_params parameters = make_parameters(options);
#if NGTCP2_VERSION_NUM >= 0x010000
  settings.token = initial->token.start;
  settings.tokenlen = initial->token.count;
  parameters.original_dcid_present = 1;
#else
  settings.token.base = (uint8_t *)initial->token.start;
  settings.token.len = initial->token.count;
#endif
  to_cid(&parameters.original_dcid, original ? original : &initial->destination);
  if (original) {
    parameters.retry_scid_present = 1;
    to_cid(&parameters.retry_scid, &initial->destination);
  }
  parameters.stateless_reset_token_present = 1;
  memcpy(parameters.stateless_reset_token, reset_token, QUIC_RESET_TOKEN);

  ngtcp2_callbacks callbacks = make_callbacks();
  ngtcp2_cid dcid, scid;
  to_cid(&dcid, &initial->source);
  to_cid(&scid, source);
  path_memory memory;
  if (ngtcp2_conn_server_new(&link->conn, &dcid, &scid, to_path(&memory, path),
                             initial->version, &callbacks, &settings, &parameters, NULL,
                             link) != 0 ||
      quic_tls_server(link, credentials) != 0) {
    quic_link_free(link);
    return NULL;
  }
  ngtcp2_conn_set_tls_native_handle(link->conn, link->session);
  return link;
}

// Gives the new connection what a former one has learned. Whatever is wrong with it: no 0-RTT.
static void use_parameters(quic_link *link, quic_bytes bytes) {
#if NGTCP2_VERSION_NUM >= 0x010000
  if (ngtcp2_conn_decode_and_set_0rtt_transport_params(link->conn, bytes.start, bytes.count) != 0)
    link->has_early_data = false;
#else
  ngtcp2_transport_params parameters;
  if (ngtcp2_decode_transport_params(&parameters,
                                     NGTCP2_TRANSPORT_PARAMS_TYPE_ENCRYPTED_EXTENSIONS,
                                     bytes.start, bytes.count) != 0) {
    link->has_early_data = false;
    return;
  }
  ngtcp2_conn_set_early_remote_transport_params(link->conn, &parameters);
#endif
}

quic_link *quic_connect(quic_credentials *credentials, const quic_handlers *handlers, void *owner,
                        const quic_options *options, const quic_path *path,
                        const quic_cid *source, const char *server_name, quic_bytes session,
                        quic_bytes parameters_bytes, quic_bytes token) {
  quic_link *link = make_link(handlers, owner, options, false);
  if (link == NULL) return NULL;
  ngtcp2_settings settings = make_settings(options);
  ngtcp2_transport_params parameters = make_parameters(options);
#if NGTCP2_VERSION_NUM >= 0x010000
  settings.token = token.start;
  settings.tokenlen = token.count;
#else
  settings.token.base = (uint8_t *)token.start;
  settings.token.len = token.count;
#endif
  ngtcp2_callbacks callbacks = make_callbacks();
  ngtcp2_cid dcid, scid;
  quic_cid first = {.count = 18};
  quic_random(first.bytes, first.count);
  to_cid(&dcid, &first);
  to_cid(&scid, source);
  path_memory memory;
  if (ngtcp2_conn_client_new(&link->conn, &dcid, &scid, to_path(&memory, path),
                             NGTCP2_PROTO_VER_V1, &callbacks, &settings, &parameters, NULL,
                             link) != 0 ||
      quic_tls_client(link, credentials, server_name, session) != 0) {
    quic_link_free(link);
    return NULL;
  }
  ngtcp2_conn_set_tls_native_handle(link->conn, link->session);
  if (link->has_early_data) use_parameters(link, parameters_bytes);
  if (options->keep_alive > 0)
    ngtcp2_conn_set_keep_alive_timeout(link->conn, options->keep_alive);
  return link;
}

void quic_link_free(quic_link *link) {
  if (link == NULL) return;
  if (link->conn) ngtcp2_conn_del(link->conn);
  if (link->session) gnutls_deinit(link->session);
  free(link);
}

bool quic_link_has_early_data(quic_link *link) { return link->has_early_data; }

// MARK: Packets

int quic_link_read(quic_link *link, const quic_path *path, uint8_t ecn, const uint8_t *bytes,
                   size_t count, uint64_t now) {
  path_memory memory;
  ngtcp2_pkt_info info = {.ecn = ecn};
  return ngtcp2_conn_read_pkt(link->conn, to_path(&memory, path), &info, bytes, count, now);
}

long quic_link_write(quic_link *link, quic_path *path, uint8_t *ecn, uint8_t *to, size_t room,
                     long *accepted, bool more, bool is_last, int64_t stream,
                     const quic_bytes *vectors, size_t count, uint64_t now) {
  ngtcp2_path_storage storage;
  ngtcp2_path_storage_zero(&storage);
  ngtcp2_pkt_info info = {0};
  ngtcp2_ssize taken = -1;
  uint32_t flags = (more ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0) |
                   (is_last ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
  ngtcp2_ssize written =
      ngtcp2_conn_writev_stream(link->conn, &storage.path, &info, to, room, &taken, flags, stream,
                                (const ngtcp2_vec *)vectors, count, now);
  *accepted = taken;
  *ecn = (uint8_t)info.ecn;
  if (written > 0) from_path(path, &storage.path);
  return (long)written;
}

long quic_link_write_datagram(quic_link *link, quic_path *path, uint8_t *ecn, uint8_t *to,
                              size_t room, bool *accepted, bool more, const quic_bytes *vectors,
                              size_t count, uint64_t now) {
  ngtcp2_path_storage storage;
  ngtcp2_path_storage_zero(&storage);
  ngtcp2_pkt_info info = {0};
  int taken = 0;
  ngtcp2_ssize written = ngtcp2_conn_writev_datagram(
      link->conn, &storage.path, &info, to, room, &taken,
      more ? NGTCP2_WRITE_DATAGRAM_FLAG_MORE : 0, 0, (const ngtcp2_vec *)vectors, count, now);
  *accepted = taken != 0;
  *ecn = (uint8_t)info.ecn;
  if (written > 0) from_path(path, &storage.path);
  return (long)written;
}

// Before the first sample of a path's round trip there is nothing to pace by but a guess, by which
// the first packets on a new path hold up the next for a third of a second. Their number is bounded
// by the first congestion window, which RFC 9002 section 7.7 allows at once.
void quic_link_batch_written(quic_link *link, uint64_t now) {
  STATISTICS statistics;
  GET_STATISTICS(link->conn, &statistics);
  ngtcp2_conn_update_pkt_tx_time(link->conn, NO_SAMPLE(statistics) ? 0 : now);
}

static long write_close(quic_link *link, quic_path *path, uint8_t *to, size_t room,
                        bool is_application, uint64_t error, int library_error,
                        const char *reason, uint64_t now) {
  ngtcp2_path_storage storage;
  ngtcp2_path_storage_zero(&storage);
  ngtcp2_pkt_info info = {0};
#if NGTCP2_VERSION_NUM >= 0x010000
  ngtcp2_ccerr close;
  ngtcp2_ccerr_default(&close);
  if (is_application)
    ngtcp2_ccerr_set_application_error(&close, error, (const uint8_t *)reason, strlen(reason));
  else if (library_error == NGTCP2_ERR_CRYPTO && ngtcp2_conn_get_tls_alert(link->conn) != 0)
    ngtcp2_ccerr_set_tls_alert(&close, ngtcp2_conn_get_tls_alert(link->conn), NULL, 0);
  else ngtcp2_ccerr_set_liberr(&close, library_error, NULL, 0);
#else
  ngtcp2_connection_close_error close;
  ngtcp2_connection_close_error_default(&close);
  if (is_application)
    ngtcp2_connection_close_error_set_application_error(&close, error, (const uint8_t *)reason,
                                                        strlen(reason));
  else if (library_error == NGTCP2_ERR_CRYPTO && ngtcp2_conn_get_tls_alert(link->conn) != 0)
    ngtcp2_connection_close_error_set_transport_error_tls_alert(
        &close, ngtcp2_conn_get_tls_alert(link->conn), NULL, 0);
  else
    ngtcp2_connection_close_error_set_transport_error_liberr(&close, library_error, NULL, 0);
#endif
  ngtcp2_ssize written = ngtcp2_conn_write_connection_close(link->conn, &storage.path, &info, to,
                                                            room, &close, now);
  if (written > 0) from_path(path, &storage.path);
  return (long)written;
}

long quic_link_write_close(quic_link *link, quic_path *path, uint8_t *to, size_t room,
                           uint64_t application_error, const char *reason, uint64_t now) {
  return write_close(link, path, to, room, true, application_error, 0, reason, now);
}

long quic_link_write_failure(quic_link *link, quic_path *path, uint8_t *to, size_t room,
                             int error, uint64_t now) {
  return write_close(link, path, to, room, false, 0, error, "", now);
}

uint64_t quic_link_expiry(quic_link *link) { return ngtcp2_conn_get_expiry(link->conn); }

int quic_link_expire(quic_link *link, uint64_t now) {
  return ngtcp2_conn_handle_expiry(link->conn, now);
}

// MARK: The rest

void quic_link_get_path(quic_link *link, quic_path *path) {
  from_path(path, ngtcp2_conn_get_path(link->conn));
}

bool quic_link_is_server(quic_link *link) { return link->is_server; }

int quic_link_migrate(quic_link *link, const quic_path *path, uint64_t now) {
  path_memory memory;
  return ngtcp2_conn_initiate_immediate_migration(link->conn, to_path(&memory, path), now);
}

int quic_link_update_keys(quic_link *link, uint64_t now) {
  return ngtcp2_conn_initiate_key_update(link->conn, now);
}

size_t quic_link_remote_parameters(quic_link *link, uint8_t *to, size_t room) {
#if NGTCP2_VERSION_NUM >= 0x010000
  ngtcp2_ssize count = ngtcp2_conn_encode_0rtt_transport_params(link->conn, to, room);
#else
  const ngtcp2_transport_params *parameters =
      ngtcp2_conn_get_remote_transport_params(link->conn);
  if (parameters == NULL) return 0;
  ngtcp2_ssize count = ngtcp2_encode_transport_params(
      to, room, NGTCP2_TRANSPORT_PARAMS_TYPE_ENCRYPTED_EXTENSIONS, parameters);
#endif
  return count > 0 ? (size_t)count : 0;
}

int quic_link_submit_token(quic_link *link, const uint8_t *token, size_t count) {
  return ngtcp2_conn_submit_new_token(link->conn, token, count);
}

bool quic_link_send_ticket(quic_link *link) {
  return gnutls_session_ticket_send(link->session, 1, 0) == 0;
}

size_t quic_link_sources(quic_link *link, quic_cid *to, size_t room) {
  enum { SOURCES_MAX = 32 };
  ngtcp2_cid cids[SOURCES_MAX];
#if NGTCP2_VERSION_NUM >= 0x010000
  size_t count = ngtcp2_conn_get_scid(link->conn, NULL);
#else
  size_t count = ngtcp2_conn_get_num_scid(link->conn);
#endif
  if (count > SOURCES_MAX) return 0;
  ngtcp2_conn_get_scid(link->conn, cids);
  if (count > room) count = room;
  for (size_t i = 0; i < count; i++) from_cid(&to[i], &cids[i]);
  return count;
}

// ngtcp2 and GnuTLS behind plain functions and structures of our own: Swift sees no layout of
// theirs, as the layouts differ between versions (NGTCP2_VERSION_NUM). One `quic_link` is one
// connection: ngtcp2's object, the TLS session, and whom they call back.
//
// Callbacks come in the middle of quic_link_read, quic_link_write…, quic_link_expire and
// quic_link_free only, on the thread that called. None of those may be called from a callback.
#ifndef CNGTCP2_H
#define CNGTCP2_H
#include <features.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: Values

// The sizes of RFC 9000; asserted to be the library's.
enum { QUIC_CID_MAX = 20, QUIC_RESET_TOKEN = 16, QUIC_TICKET_KEY = 64, QUIC_SECRET = 32 };

typedef struct quic_address {
  uint8_t ip[16]; // 4 or 16 bytes in network order
  uint32_t scope;
  uint16_t port;
  bool is_v6;
} quic_address;

typedef struct quic_path {
  quic_address local, remote;
} quic_path;

typedef struct quic_cid {
  uint8_t bytes[QUIC_CID_MAX];
  uint8_t count;
} quic_cid;

typedef struct quic_bytes {
  const uint8_t *start;
  size_t count;
} quic_bytes;

// Results that are not just failures, as constants of ours.
extern const int QUIC_BLOCKED_STREAM, QUIC_SHUT, QUIC_GONE, QUIC_DRAINING, QUIC_CLOSING,
    QUIC_WRITE_MORE, QUIC_RETRY, QUIC_DROP, QUIC_CRYPTO, QUIC_IDLE, QUIC_HANDSHAKE_TIMEOUT,
    QUIC_VERSION, QUIC_NO_MEMORY, QUIC_CALLBACK, QUIC_STREAMS_SPENT;

const char *quic_error_text(int error);

// MARK: Callbacks

// `owner` is the link's; `tag` the stream's, 0 until quic_link_tag_stream.
typedef struct quic_handlers {
  bool (*stream_opened)(void *owner, int64_t stream);
  bool (*stream_data)(void *owner, int64_t stream, uint64_t tag, const uint8_t *bytes,
                      size_t count, bool is_last);
  void (*acknowledged)(void *owner, int64_t stream, uint64_t tag, uint64_t count);
  void (*stream_closed)(void *owner, int64_t stream, uint64_t tag);
  void (*stream_reset)(void *owner, int64_t stream, uint64_t tag);
  void (*stream_credit)(void *owner, int64_t stream, uint64_t tag);
  void (*datagram)(void *owner, const uint8_t *bytes, size_t count);
  void (*handshake_completed)(void *owner, bool is_early_data_accepted);
  void (*early_data_rejected)(void *owner);
  void (*path_validated)(void *owner, bool is_good);
  void (*stateless_reset)(void *owner);
  void (*new_token)(void *owner, const uint8_t *bytes, size_t count);
  void (*new_ticket)(void *owner, const uint8_t *bytes, size_t count);
  bool (*new_cid)(void *owner, quic_cid *cid, uint8_t *reset_token);
  void (*cid_retired)(void *owner, const quic_cid *cid);
  // Client: the peer's certificates in DER, leaf first.
  bool (*verify)(void *owner, const quic_bytes *certificates, size_t count);
  // Packet protection: keys by algorithm (0 AES-128-GCM, 1 AES-256-GCM, 2 ChaCha20-Poly1305).
  void *(*make_key)(int algorithm, const uint8_t *key, size_t count);
  void *(*make_mask)(int algorithm, const uint8_t *key, size_t count);
  void (*drop_key)(void *key);
  void (*drop_mask)(void *mask);
  void (*seal)(void *key, uint8_t *to, const uint8_t *from, size_t count, const uint8_t *nonce,
               const uint8_t *aad, size_t aad_count);
  bool (*open)(void *key, uint8_t *to, const uint8_t *from, size_t count, const uint8_t *nonce,
               const uint8_t *aad, size_t aad_count);
  void (*mask)(void *mask, uint8_t *to, const uint8_t *sample);
} quic_handlers;

// MARK: Credentials

typedef struct quic_credentials quic_credentials;

// A server's: certificate chain and key in PEM. `replayed` says whether a ClientHello was seen
// before, and notes it; it is called from any thread. NULL when GnuTLS refuses them.
quic_credentials *quic_server_credentials(quic_bytes certificate, quic_bytes key,
                                          const uint8_t ticket_key[QUIC_TICKET_KEY],
                                          bool allows_early_data,
                                          bool (*replayed)(void *store, const uint8_t *hello,
                                                           size_t count, int64_t expires),
                                          void *store);
quic_credentials *quic_client_credentials(void);
void quic_credentials_free(quic_credentials *credentials);

// MARK: Links

typedef struct quic_link quic_link;

typedef struct quic_options {
  uint64_t now, idle_timeout, handshake_timeout, keep_alive;
  uint64_t initial_rtt, ack_delay_max;
  uint64_t stream_window, connection_window, uni_window;
  uint64_t streams_bidi, streams_uni;
  uint64_t datagram_max;
  uint32_t udp_payload_max;
  bool bbr, discovers_mtu, own_protection;
} quic_options;

// What an Initial packet says, parsed.
typedef struct quic_initial {
  quic_cid destination, source;
  uint32_t version;
  quic_bytes token;
} quic_initial;

// A server's end, for a client's first Initial. `original` is the destination id of the Initial
// before a Retry, or NULL. NULL when there is no memory.
quic_link *quic_accept(quic_credentials *credentials, const quic_handlers *handlers, void *owner,
                       const quic_options *options, const quic_path *path,
                       const quic_initial *initial, const quic_cid *original,
                       const quic_cid *source, const uint8_t reset_token[QUIC_RESET_TOKEN]);

// A client's end. `session`, `parameters` and `token` are of a former link, or empty.
quic_link *quic_connect(quic_credentials *credentials, const quic_handlers *handlers, void *owner,
                        const quic_options *options, const quic_path *path,
                        const quic_cid *source, const char *server_name, quic_bytes session,
                        quic_bytes parameters, quic_bytes token);

void quic_link_free(quic_link *link);

int quic_link_read(quic_link *link, const quic_path *path, uint8_t ecn, const uint8_t *bytes,
                   size_t count, uint64_t now);

// Writes (a part of) a packet at `to`: up to `count` bytes of vectors for a stream, or for none
// (-1). Returns the bytes of a finished packet, 0 when nothing may be sent now, QUIC_WRITE_MORE
// when the packet has room for more and the next call must come with the same `to`, or an error.
// `accepted` is -1 when nothing of the stream was taken.
long quic_link_write(quic_link *link, quic_path *path, uint8_t *ecn, uint8_t *to, size_t room,
                     long *accepted, bool more, bool is_last, int64_t stream,
                     const quic_bytes *vectors, size_t count, uint64_t now);
long quic_link_write_datagram(quic_link *link, quic_path *path, uint8_t *ecn, uint8_t *to,
                              size_t room, bool *accepted, bool more, const quic_bytes *vectors,
                              size_t count, uint64_t now);
void quic_link_batch_written(quic_link *link, uint64_t now);

// Writes CONNECTION_CLOSE: an application's error, or what `error` of the library stands for.
long quic_link_write_close(quic_link *link, quic_path *path, uint8_t *to, size_t room,
                           uint64_t application_error, const char *reason, uint64_t now);
long quic_link_write_failure(quic_link *link, quic_path *path, uint8_t *to, size_t room,
                             int error, uint64_t now);

uint64_t quic_link_expiry(quic_link *link);
int quic_link_expire(quic_link *link, uint64_t now);

int quic_link_open_bidi(quic_link *link, int64_t *stream, uint64_t tag);
int quic_link_open_uni(quic_link *link, int64_t *stream, uint64_t tag);
bool quic_link_tag_stream(quic_link *link, int64_t stream, uint64_t tag);
int quic_link_shutdown_stream(quic_link *link, int64_t stream, uint64_t error);
void quic_link_extend_stream(quic_link *link, int64_t stream, uint64_t bytes);
void quic_link_extend_connection(quic_link *link, uint64_t bytes);
void quic_link_extend_streams(quic_link *link, size_t bidi, size_t uni);

uint64_t quic_link_stream_room(quic_link *link, int64_t stream);
uint64_t quic_link_connection_room(quic_link *link);
uint64_t quic_link_streams_left(quic_link *link);
uint64_t quic_link_uni_streams_left(quic_link *link);
size_t quic_link_send_quantum(quic_link *link);
size_t quic_link_payload_max(quic_link *link);
// The largest DATAGRAM frame that the peer takes; 0 before its parameters are known.
uint64_t quic_link_datagram_max(quic_link *link);
void quic_link_get_path(quic_link *link, quic_path *path);
bool quic_link_is_server(quic_link *link);
bool quic_link_is_resumed(quic_link *link);
// Smoothed and least round trip in nanoseconds; false before the first sample.
bool quic_link_round_trip(quic_link *link, uint64_t *smoothed, uint64_t *least);
uint64_t quic_link_congestion_window(quic_link *link);
uint64_t quic_link_pto(quic_link *link);
const char *quic_link_cipher(quic_link *link);
uint8_t quic_link_alert(quic_link *link);
// What the peer's CONNECTION_CLOSE says; false when it has sent none.
bool quic_link_peer_error(quic_link *link, bool *is_application, uint64_t *code);
int quic_link_migrate(quic_link *link, const quic_path *path, uint64_t now);
int quic_link_update_keys(quic_link *link, uint64_t now);
bool quic_link_has_early_data(quic_link *link);
// Encodes the peer's transport parameters for a later 0-RTT.
size_t quic_link_remote_parameters(quic_link *link, uint8_t *to, size_t room);
int quic_link_submit_token(quic_link *link, const uint8_t *token, size_t count);
bool quic_link_send_ticket(quic_link *link);
// The connection ids that lead here: up to `room` of them.
size_t quic_link_sources(quic_link *link, quic_cid *to, size_t room);

// MARK: Packets without a link

typedef enum quic_packet_kind {
  QUIC_PACKET_MALFORMED,
  QUIC_PACKET_SHORT,
  QUIC_PACKET_LONG,
  QUIC_PACKET_OTHER_VERSION,
} quic_packet_kind;

typedef struct quic_packet {
  quic_bytes destination, source;
  uint32_t version;
} quic_packet;

// Reads the part of a header that does not depend on the version.
quic_packet_kind quic_packet_parse(const uint8_t *bytes, size_t count, size_t cid_count,
                                   quic_packet *packet);
// Whether it is an Initial that may open a connection. 1 yes, 0 no.
int quic_initial_parse(const uint8_t *bytes, size_t count, quic_initial *initial);

long quic_write_version_negotiation(uint8_t *to, size_t room, const quic_packet *packet);
long quic_write_retry(uint8_t *to, size_t room, const quic_initial *initial,
                      const quic_cid *source, const uint8_t *secret, const quic_address *remote,
                      uint64_t now);
// 1: a Retry's token; `original` is set. 2: a token of an earlier connection. 0: neither, or old.
int quic_token_check(const quic_initial *initial, const uint8_t *secret,
                     const quic_address *remote, uint64_t now, quic_cid *original);
long quic_token_make(uint8_t *to, size_t room, const uint8_t *secret, const quic_address *remote,
                     uint64_t now);
void quic_reset_token(uint8_t to[QUIC_RESET_TOKEN], const uint8_t *secret, const quic_cid *cid);
long quic_write_stateless_reset(uint8_t *to, size_t room,
                                const uint8_t token[QUIC_RESET_TOKEN]);
long quic_write_refusal(uint8_t *to, size_t room, const quic_initial *initial, uint64_t error);

void quic_random(uint8_t *to, size_t count);

#endif

// Packets that belong to no connection: version negotiation, Retry, tokens, stateless resets.
#include "Internal.h"

// RFC 9000 section 8.1.2 and 8.1.3: a Retry's token lives for seconds, one for later for a day.
#define RETRY_TOKEN_LIFE (10 * NGTCP2_SECONDS)
#define TOKEN_LIFE (24 * 3600 * NGTCP2_SECONDS)

static void from_cid(quic_cid *to, const ngtcp2_cid *from) {
  memset(to, 0, sizeof *to);
  to->count = (uint8_t)from->datalen;
  memcpy(to->bytes, from->data, from->datalen);
}

quic_packet_kind quic_packet_parse(const uint8_t *bytes, size_t count, size_t cid_count,
                                   quic_packet *packet) {
  ngtcp2_version_cid parsed;
  int result = ngtcp2_pkt_decode_version_cid(&parsed, bytes, count, cid_count);
  if (result != 0 && result != NGTCP2_ERR_VERSION_NEGOTIATION) return QUIC_PACKET_MALFORMED;
  packet->version = parsed.version;
  packet->destination = (quic_bytes){parsed.dcid, parsed.dcidlen};
  packet->source = (quic_bytes){parsed.scid, parsed.scidlen};
  if (result != 0) return QUIC_PACKET_OTHER_VERSION;
  return bytes[0] & 0x80 ? QUIC_PACKET_LONG : QUIC_PACKET_SHORT;
}

int quic_initial_parse(const uint8_t *bytes, size_t count, quic_initial *initial) {
  ngtcp2_pkt_hd header;
  int result = ngtcp2_accept(&header, bytes, count);
  if (result != 0 || header.type != NGTCP2_PKT_INITIAL) return 0;
  from_cid(&initial->destination, &header.dcid);
  from_cid(&initial->source, &header.scid);
  initial->version = header.version;
#if NGTCP2_VERSION_NUM >= 0x010000
  initial->token = (quic_bytes){header.token, header.tokenlen};
#else
  initial->token = (quic_bytes){header.token.base, header.token.len};
#endif
  return 1;
}

long quic_write_version_negotiation(uint8_t *to, size_t room, const quic_packet *packet) {
  uint8_t unused;
  quic_random(&unused, 1);
  // A version of the reserved form keeps peers able to take what they do not know (15).
  const uint32_t versions[] = {0x1a2a3a4au, NGTCP2_PROTO_VER_V1};
  return (long)ngtcp2_pkt_write_version_negotiation(
      to, room, unused, packet->source.start, packet->source.count, packet->destination.start,
      packet->destination.count, versions, 2);
}

long quic_write_retry(uint8_t *to, size_t room, const quic_initial *initial,
                      const quic_cid *source, const uint8_t *secret, const quic_address *remote,
                      uint64_t now) {
  uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
  quic_sockaddr address;
  socklen_t address_count = quic_to_sockaddr(&address, remote);
  ngtcp2_cid retry_source, original, peer;
  ngtcp2_cid_init(&retry_source, source->bytes, source->count);
  ngtcp2_cid_init(&original, initial->destination.bytes, initial->destination.count);
  ngtcp2_cid_init(&peer, initial->source.bytes, initial->source.count);
  ngtcp2_ssize count =
      ngtcp2_crypto_generate_retry_token(token, secret, QUIC_SECRET, initial->version,
                                         &address.any, address_count, &retry_source, &original,
                                         now);
  if (count < 0) return -1;
  return (long)ngtcp2_crypto_write_retry(to, room, initial->version, &peer, &retry_source,
                                         &original, token, (size_t)count);
}

int quic_token_check(const quic_initial *initial, const uint8_t *secret,
                     const quic_address *remote, uint64_t now, quic_cid *original) {
  if (initial->token.count == 0) return 0;
  quic_sockaddr address;
  socklen_t address_count = quic_to_sockaddr(&address, remote);
  const uint8_t *token = initial->token.start;
  size_t count = initial->token.count;
  if (token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
    ngtcp2_cid first, destination;
    ngtcp2_cid_init(&destination, initial->destination.bytes, initial->destination.count);
    if (ngtcp2_crypto_verify_retry_token(&first, token, count, secret, QUIC_SECRET,
                                         initial->version, &address.any, address_count,
                                         &destination, RETRY_TOKEN_LIFE, now) != 0)
      return 0;
    from_cid(original, &first);
    return 1;
  }
  if (token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR) return 0;
  return ngtcp2_crypto_verify_regular_token(token, count, secret, QUIC_SECRET, &address.any,
                                            address_count, TOKEN_LIFE, now) == 0
             ? 2
             : 0;
}

long quic_token_make(uint8_t *to, size_t room, const uint8_t *secret, const quic_address *remote,
                     uint64_t now) {
  if (room < NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN) return -1;
  quic_sockaddr address;
  socklen_t address_count = quic_to_sockaddr(&address, remote);
  return (long)ngtcp2_crypto_generate_regular_token(to, secret, QUIC_SECRET, &address.any,
                                                    address_count, now);
}

void quic_reset_token(uint8_t to[QUIC_RESET_TOKEN], const uint8_t *secret, const quic_cid *cid) {
  ngtcp2_cid from;
  ngtcp2_cid_init(&from, cid->bytes, cid->count);
  ngtcp2_crypto_generate_stateless_reset_token(to, secret, QUIC_SECRET, &from);
}

long quic_write_stateless_reset(uint8_t *to, size_t room,
                                const uint8_t token[QUIC_RESET_TOKEN]) {
  // RFC 9000 section 10.3: at least 21 bytes, and no longer than what it answers.
  uint8_t unpredictable[64];
  if (room < 21) return -1;
  size_t count = room - QUIC_RESET_TOKEN;
  if (count > 25) count = 25;
  quic_random(unpredictable, count);
  return (long)ngtcp2_pkt_write_stateless_reset(to, room, token, unpredictable, count);
}

long quic_write_refusal(uint8_t *to, size_t room, const quic_initial *initial, uint64_t error) {
  ngtcp2_cid destination, source;
  ngtcp2_cid_init(&destination, initial->destination.bytes, initial->destination.count);
  ngtcp2_cid_init(&source, initial->source.bytes, initial->source.count);
  return (long)ngtcp2_crypto_write_connection_close(to, room, initial->version, &source,
                                                    &destination, error, NULL, 0);
}

void quic_random(uint8_t *to, size_t count) { gnutls_rnd(GNUTLS_RND_RANDOM, to, count); }

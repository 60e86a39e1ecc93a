// A connection's streams, and what it says of itself.
#include "Internal.h"

// MARK: Streams

int quic_link_open_bidi(quic_link *link, int64_t *stream, uint64_t tag) {
  return ngtcp2_conn_open_bidi_stream(link->conn, stream, (void *)(uintptr_t)tag);
}

int quic_link_open_uni(quic_link *link, int64_t *stream, uint64_t tag) {
  return ngtcp2_conn_open_uni_stream(link->conn, stream, (void *)(uintptr_t)tag);
}

bool quic_link_tag_stream(quic_link *link, int64_t stream, uint64_t tag) {
  return 0 == ngtcp2_conn_set_stream_user_data(link->conn, stream, (void *)(uintptr_t)tag);
}

// A peer that gets RESET_STREAM of a stream that it does not know yet never answers it (0.12),
// while STOP_SENDING makes it known. Frames that wait are written in the reverse order of their
// coming, so that one, which comes last, goes first.
int quic_link_shutdown_stream(quic_link *link, int64_t stream, uint64_t error) {
#if NGTCP2_VERSION_NUM >= 0x010000
  return ngtcp2_conn_shutdown_stream(link->conn, 0, stream, error);
#else
  if ((stream & 2) != 0) return ngtcp2_conn_shutdown_stream(link->conn, stream, error);
  int result = ngtcp2_conn_shutdown_stream_write(link->conn, stream, error);
  if (result != 0) return result;
  return ngtcp2_conn_shutdown_stream_read(link->conn, stream, error);
#endif
}

void quic_link_extend_stream(quic_link *link, int64_t stream, uint64_t bytes) {
  ngtcp2_conn_extend_max_stream_offset(link->conn, stream, bytes);
}

void quic_link_extend_connection(quic_link *link, uint64_t bytes) {
  ngtcp2_conn_extend_max_offset(link->conn, bytes);
}

void quic_link_extend_streams(quic_link *link, size_t bidi, size_t uni) {
  if (bidi > 0) ngtcp2_conn_extend_max_streams_bidi(link->conn, bidi);
  if (uni > 0) ngtcp2_conn_extend_max_streams_uni(link->conn, uni);
}

uint64_t quic_link_stream_room(quic_link *link, int64_t stream) {
  return ngtcp2_conn_get_max_stream_data_left(link->conn, stream);
}

uint64_t quic_link_connection_room(quic_link *link) {
  return ngtcp2_conn_get_max_data_left(link->conn);
}

uint64_t quic_link_streams_left(quic_link *link) {
  return ngtcp2_conn_get_streams_bidi_left(link->conn);
}

uint64_t quic_link_uni_streams_left(quic_link *link) {
  return ngtcp2_conn_get_streams_uni_left(link->conn);
}

// MARK: Figures

size_t quic_link_send_quantum(quic_link *link) {
  return ngtcp2_conn_get_send_quantum(link->conn);
}

size_t quic_link_payload_max(quic_link *link) {
  return ngtcp2_conn_get_path_max_tx_udp_payload_size(link->conn);
}

uint64_t quic_link_datagram_max(quic_link *link) {
  const ngtcp2_transport_params *parameters =
      ngtcp2_conn_get_remote_transport_params(link->conn);
  return parameters ? parameters->max_datagram_frame_size : 0;
}

bool quic_link_is_resumed(quic_link *link) {
  return gnutls_session_is_resumed(link->session) != 0;
}

bool quic_link_round_trip(quic_link *link, uint64_t *smoothed, uint64_t *least) {
  STATISTICS statistics;
  GET_STATISTICS(link->conn, &statistics);
  if (NO_SAMPLE(statistics)) return false;
  *smoothed = statistics.smoothed_rtt;
  *least = statistics.min_rtt;
  return true;
}

uint64_t quic_link_congestion_window(quic_link *link) {
  STATISTICS statistics;
  GET_STATISTICS(link->conn, &statistics);
  return statistics.cwnd;
}

uint64_t quic_link_pto(quic_link *link) { return ngtcp2_conn_get_pto(link->conn); }

const char *quic_link_cipher(quic_link *link) {
  return gnutls_cipher_get_name(gnutls_cipher_get(link->session));
}

uint8_t quic_link_alert(quic_link *link) { return ngtcp2_conn_get_tls_alert(link->conn); }

bool quic_link_peer_error(quic_link *link, bool *is_application, uint64_t *code) {
#if NGTCP2_VERSION_NUM >= 0x010000
  const ngtcp2_ccerr *close = ngtcp2_conn_get_ccerr(link->conn);
  if (close->type != NGTCP2_CCERR_TYPE_TRANSPORT && close->type != NGTCP2_CCERR_TYPE_APPLICATION)
    return false;
  *is_application = close->type == NGTCP2_CCERR_TYPE_APPLICATION;
  *code = close->error_code;
#else
  ngtcp2_connection_close_error close;
  ngtcp2_conn_get_connection_close_error(link->conn, &close);
  if (close.type != NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_TRANSPORT &&
      close.type != NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION)
    return false;
  *is_application = close.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION;
  *code = close.error_code;
#endif
  return true;
}

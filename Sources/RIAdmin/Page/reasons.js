// What counters of things that went wrong are called on the page.

const COUNTERS = {
  clientsRefused: "clients refused, no tunnel or no room",
  streamsRefused: "streams refused, not allowed",
  budgetResets: "streams reset, memory budget",
  sessionsRefused: "UDP sessions refused",
  sessionsEvicted: "UDP sessions that made room",
};

const DATAGRAMS = {
  noTunnel: "datagrams, no tunnel",
  noSession: "datagrams, no session",
  noTarget: "datagrams, target not known yet",
  queueFull: "datagrams, queue full",
  stuck: "datagrams, tunnel stuck",
  noBuffer: "datagrams, no buffer",
  socketFull: "datagrams, socket full",
  tooLong: "datagrams, too long",
  refused: "datagrams, nobody listens",
  failed: "datagrams, socket failed",
};

const PACKETS = {
  malformed: "QUIC packets, malformed",
  unknown: "QUIC packets, of no tunnel",
  busy: "QUIC packets, too many handshakes",
  waiting: "QUIC packets, too many waiting",
  rateLimited: "QUIC answers, too many",
  noBuffer: "QUIC packets, no buffer",
};

const TRAFFIC = {
  streamsRefused: "streams refused, table full",
  dataAfterClose: "streams reset, data after close",
  creditOverdrawn: "streams reset, credit overdrawn",
  framesDropped: "frames of streams that are gone",
  framesSkipped: "frames of unknown type",
};

const TARGETS = {
  targetsRefused: "targets that refused",
  targetsTimedOut: "targets that did not answer",
  targetsFailed: "targets not reached otherwise",
};

const CAUSES = {
  peerClosed: "closed by the other side", silent: "silent", timedOut: "timed out",
  malformed: "malformed", tooMany: "too many at once", unauthorized: "unauthorized",
  refused: "refused by the hub", noAddress: "no address", replaced: "replaced by a newer one",
  revoked: "no longer allowed", outOfBuffers: "out of buffers", stopping: "stopping",
  drained: "drained", network: "network", tls: "TLS", protocolViolation: "protocol violation",
  forgotten: "the other side began anew",
};

/// `{ name, count }` for each, those that are 0 included; of causes only what there was.
export function reasons(counters = {}, metrics = {}) {
  const from = (names, counts = {}) =>
    Object.entries(names).map(([key, name]) => ({ name, count: counts[key] ?? 0 }));
  const caused = (what, counts = {}) =>
    Object.entries(counts)
      .map(([key, count]) => ({ name: `${what}, ${CAUSES[key] ?? key}`, count }));
  return [
    ...from(COUNTERS, counters), ...from(TRAFFIC, metrics.traffic), ...from(TARGETS, metrics),
    ...from(DATAGRAMS, counters.drops), ...from(PACKETS, metrics.packets?.drops),
    ...caused("handshakes", metrics.handshakeFailures),
    ...caused("tunnels ended", metrics.tunnelEnds),
  ];
}

// Every bound of the engine, with its reason. A queue, table, loop or retry that could grow names
// its limit here; sizes of pools are sums of the owners named beside them.

public enum Limits {
  static let kib = 1024
  static let mib = 1024 * 1024

  // MARK: Wire (SPEC 2.1, 2.2): what a receiver enforces.

  public static let frameHeaderBytes = 9
  public static let dataPayloadBytesMax = 16 * mib
  public static let configPayloadBytesMax = 4 * mib
  public static let udpPayloadBytesMax = 65_507
  public static let openPayloadBytesMax = 107
  public static let udpOpenPayloadBytesMax = 1_024
  public static let pingPayloadBytesMax = 64
  public static let closePayloadBytesMax = 64
  /// Not in the published protocol, as HELLO is an extension: a list of names fits easily.
  public static let helloPayloadBytesMax = 64 * kib
  public static let unknownPayloadBytesMax = 1 * mib
  public static let handshakeLineBytesMax = 4_096
  public static let edgeIDBytesMax = 128
  public static let secretBytesMax = 1_024

  // MARK: TLS (RFC 8446)

  /// Plaintext of one record (5.1).
  public static let tlsPlaintextBytesMax = 16_384
  /// What a record may have behind its header while the handshake lasts (5.2).
  public static let tlsHandshakeRecordBytesMax = 16_384 + 256
  /// What a client may send until its handshake is done: two ClientHellos and a Finished.
  public static let tlsClientHandshakeBytesMax = 32 * kib
  /// What a server may send until its handshake is done: OpenSSL takes certificate chains of up to
  /// 100 KiB.
  public static let tlsServerHandshakeBytesMax = 128 * kib
  /// A NewSessionTicket (4.6.1): its fields at their largest.
  public static let tlsTicketBytesMax = 131_338
  /// Records in a row that carry no application data: each costs us work and may ask for an answer.
  public static let tlsRecordsWithoutDataMax = 32
  /// Records sealed under one key; AES-GCM bears 2^24.5 (5.5).
  public static let tlsRecordsPerKeyMax: UInt64 = 1 << 24

  // MARK: Flow control (SPEC 2.4)

  public static let windowSharedBytes = 200 * mib
  public static let windowBytesMin = 1 * mib
  public static let windowBytesMax = 4 * mib
  public static let memoryBudgetBytesDefault = 200 * mib

  // MARK: Liveness (SPEC 2.1, 2.3)

  public static let handshakeTimeout = Interval.seconds(10)
  public static let pingInterval = Interval.seconds(15)
  public static let silenceTimeout = Interval.seconds(45)
  public static let targetConnectTimeout = Interval.seconds(10)

  // MARK: Unauthenticated peers (SPEC 2.1)

  /// Handshakes under way at once on a shard.
  public static let handshakesMax = 1_024
  /// The same from one source address (an IPv6 /64 counts as one): half, so that one address
  /// cannot keep all others out.
  public static let handshakesPerSourceMax = 512

  // MARK: Tables

  /// Client or target sockets of a shard. A process has 20,000 to 1,000,000 descriptors.
  public static let connectionsMax = 1 << 20
  public static let tunnelsMax = 4_096
  /// Streams of one tunnel.
  public static let streamsPerTunnelMax = 1 << 18

  // MARK: Buffers

  /// Slices gathered into one send: the kernel takes 1,024 (UIO_MAXIOV); past 64 nothing is won.
  public static let sendSlicesMax = 64
  /// The largest DATA payload that we send: small enough that other streams get their turn.
  public static let dataFrameBytes = 64 * kib
  /// Bytes a stream may have queued for the tunnel before its socket is read no more.
  public static let streamQueueBytes = 512 * kib
}

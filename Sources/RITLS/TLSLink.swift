// A TLS 1.3 connection without a socket: ciphertext in, plaintext out, and back. OpenSSL makes the
// handshake; then the record layer takes over.
//
//   untouched ──first record──▶ handshake ──done──▶ established ──close_notify──▶ ended (reading)
//       └────────── malformed, refused, alert ─────────────┴────────────────────▶ failed

import RIBase
import RICrypto

/// What `TLSLink.open` found.
public enum TLSInput {
  /// Application data, inside the input's buffer and not retained. There may be more: call again.
  case plaintext(Slice)
  /// A record without application data. Call again; there may be control output now.
  case progress
  /// The input holds no whole record: keep it (less than 16,645 bytes) and call again with it in
  /// front of what comes next.
  case needsMore
  /// The peer has sent close_notify. Our direction stays open.
  case endOfStream
  /// The link is dead. An alert may be waiting as control output.
  case failed(TLSError)
}

/// One end of one connection. Not safe for use by two threads.
///
/// A server's link costs nothing but itself until the first whole record is there, and once
/// established nothing of OpenSSL but the two keys.
public final class TLSLink {
  private enum Records {
    case none
    case own(RecordLayer)
    case openSSL(OpenSSLRecords)
  }

  private let store: BufferStore
  private let server: TLSServerContext?
  private let client: TLSClientContext?
  /// While the handshake lasts; then until its last flight is written.
  @exclusivity(unchecked) private var connection: OpenSSLConnection?
  @exclusivity(unchecked) private var records = Records.none
  @exclusivity(unchecked) private var handshakeBytesLeft: Int
  @exclusivity(unchecked) private var ended: TLSInput?
  /// The hub's key as a client has seen it; set once established.
  @exclusivity(unchecked) public private(set) var peerPin: CertificatePin?

  /// A hub's end.
  public init(server: TLSServerContext, store: BufferStore) {
    self.store = store
    self.server = server
    client = nil
    handshakeBytesLeft = Limits.tlsClientHandshakeBytesMax
  }

  /// An edge's end. Its ClientHello waits as control output at once; `serverName` goes into it
  /// (RFC 6066) unless it is an address.
  public init(client: TLSClientContext, serverName: String?, store: BufferStore) {
    self.store = store
    server = nil
    self.client = client
    handshakeBytesLeft = Limits.tlsServerHandshakeBytesMax
    connection = client.makeConnection(serverName: serverName)
    guard let connection else {
      ended = .failed(.library(TLSError.takeLibraryCode()))
      return
    }
    if case .failed(let error) = connection.step(UnsafeRawBufferPointer(start: nil, count: 0)) {
      ended = .failed(error)
    }
  }

  public var isEstablished: Bool {
    if case .none = records { false } else { true }
  }

  /// The cipher suite's name; empty until established.
  public var cipherName: String {
    switch records {
    case .none: ""
    case .own(let layer): layer.suite.name
    case .openSSL(let layer): layer.cipherName
    }
  }

  /// Records sealed under one key before it is changed; for tests.
  var recordsPerKeyMax: UInt64 = Limits.tlsRecordsPerKeyMax {
    didSet { setRecordsPerKeyMax() }
  }

  private func setRecordsPerKeyMax() {
    switch records {
    case .none: break
    case .own(let layer): layer.recordsPerKeyMax = recordsPerKeyMax
    case .openSSL(let layer): layer.recordsPerKeyMax = recordsPerKeyMax
    }
  }

  /// Whether anything of OpenSSL's handshake is still held.
  var holdsHandshake: Bool { connection != nil }

  // MARK: Receiving

  /// Takes the next record off `input`, opening it in place, and says what it held. `input` is
  /// unread ciphertext in a pooled buffer that the caller holds.
  public func open(_ input: inout Slice) -> TLSInput {
    if let ended { return ended }
    let bytes = store.mutableBytes(input)
    guard bytes.count >= RecordHeader.byteCount else { return .needsMore }
    let header = RecordHeader(UnsafeRawBufferPointer(bytes))
    // What does not begin as TLS does is worth neither an SSL object nor waiting for its rest.
    if connection == nil, !isEstablished,
      header.type != RecordType.handshake || header.majorVersion != 3
    {
      return end(.failed(.notTLS))
    }
    var isOwn = false
    if case .own = records { isOwn = true }
    let bodyBytesMax =
      isOwn ? RecordHeader.protectedBytesMax : Limits.tlsHandshakeRecordBytesMax
    guard header.bodyCount <= bodyBytesMax else {
      return refuse(tooLong: UnsafeMutableRawBufferPointer(rebasing: bytes[0..<5]))
    }
    let size = RecordHeader.byteCount + header.bodyCount
    guard bytes.count >= size else { return .needsMore }
    let record = UnsafeMutableRawBufferPointer(rebasing: bytes[0..<size])
    var slice = input.removePrefix(size)
    let content: RecordContent
    switch records {
    case .none: return shakeHands(UnsafeRawBufferPointer(record), header)
    case .own(let layer): content = layer.open(record)
    case .openSSL(let layer): content = layer.open(record)
    }
    switch content {
    case .data(let count):
      _ = slice.removePrefix(RecordHeader.byteCount)
      return .plaintext(slice.removePrefix(count))
    case .nothing, .keyUpdate: return .progress
    case .closeNotify: return end(.endOfStream)
    case .failed(let error): return end(.failed(error))
    }
  }

  private func end(_ input: TLSInput) -> TLSInput {
    ended = input
    return input
  }

  /// Ends the link over a header that promises more than a record may hold.
  private func refuse(tooLong header: UnsafeMutableRawBufferPointer) -> TLSInput {
    switch records {
    case .none:
      // OpenSSL finds the same and makes the alert.
      _ = shakeHands(UnsafeRawBufferPointer(header), RecordHeader(UnsafeRawBufferPointer(header)))
    case .own(let layer):
      layer.fail(.recordOverflow)
    case .openSSL(let layer):
      _ = layer.open(header)
    }
    return ended ?? end(.failed(.recordOverflow))
  }

  // MARK: Handshake

  private func shakeHands(_ record: UnsafeRawBufferPointer, _ header: RecordHeader) -> TLSInput {
    handshakeBytesLeft -= record.count
    guard handshakeBytesLeft >= 0 else { return end(.failed(.handshakeTooLong)) }
    if connection == nil, let server {
      connection = OpenSSLConnection(server.context, isServer: true)
    }
    guard let connection else { return end(.failed(.library(TLSError.takeLibraryCode()))) }
    switch connection.step(record) {
    case .needsMore: return .progress
    case .done: return takeOver(connection)
    case .closed: return end(.endOfStream)
    case .failed(let error): return end(.failed(error))
    }
  }

  private func takeOver(_ connection: OpenSSLConnection) -> TLSInput {
    peerPin = connection.peerPin
    switch server?.records ?? client?.records ?? .own {
    case .own:
      guard let layer = connection.makeRecordLayer() else {
        return end(.failed(.handshakeFailed(0)))
      }
      records = .own(layer)
      if connection.outputBytes == 0 { self.connection = nil }
    case .openSSL:
      records = .openSSL(OpenSSLRecords(connection))
      self.connection = nil
    }
    setRecordsPerKeyMax()
    return .progress
  }

  // MARK: Sending

  /// Whether handshake flights, alerts or KeyUpdates wait to be sent.
  public var hasControlOutput: Bool {
    if let connection, connection.outputBytes > 0 { return true }
    return switch records {
    case .none: false
    case .own(let layer): layer.hasControlOutput
    case .openSSL(let layer): layer.hasControlOutput
    }
  }

  /// Writes what waits, as far as there is room; call again with a new buffer while
  /// `hasControlOutput`. Goes before `seal`.
  public func writeControl(to writer: inout BufferWriter) {
    if let connection {
      connection.writeOutput(to: &writer)
      guard connection.outputBytes == 0 else { return }
      if isEstablished { self.connection = nil }
    }
    switch records {
    case .none: break
    case .own(let layer): layer.writeControl(to: &writer)
    case .openSSL(let layer): layer.writeControl(to: &writer)
    }
  }

  /// Seals the batch from byte `batchOffset` on into records as far as `writer` has room; returns
  /// the plaintext bytes sealed. Zero while the link is not established or its handshake's last
  /// flight waits, and after `close`.
  public func seal(
    _ batch: PlaintextBatch, from batchOffset: Int, into writer: inout BufferWriter
  ) -> Int {
    guard connection == nil else { return 0 }
    return switch records {
    case .none: 0
    case .own(let layer): layer.seal(batch, from: batchOffset, into: &writer)
    case .openSSL(let layer): layer.seal(batch, from: batchOffset, into: &writer)
    }
  }

  /// An upper bound of the wire bytes for so much plaintext in one buffer.
  public static func sealedBytes(plaintext: Int) -> Int {
    let records = (plaintext + Limits.tlsPlaintextBytesMax - 1) / Limits.tlsPlaintextBytesMax
    return plaintext + records * RecordHeader.overheadBytes + RecordSealer.keyUpdateBytes
  }

  /// Ends our direction: a close_notify waits as control output. Without effect until established.
  public func close() {
    switch records {
    case .none: break
    case .own(let layer): layer.close()
    case .openSSL(let layer): layer.close()
    }
  }
}

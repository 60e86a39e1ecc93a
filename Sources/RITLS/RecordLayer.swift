// Our own TLS 1.3 record layer, which takes over from OpenSSL when the handshake is done.

import RIBase
import RICrypto

/// Both directions of an established link, and the control records that wait to be sent.
final class RecordLayer {
  @exclusivity(unchecked) private var opener: RecordOpener
  @exclusivity(unchecked) private var sealer: RecordSealer
  @exclusivity(unchecked) private var owesKeyUpdate = false
  @exclusivity(unchecked) private var waitingAlert: Alert?
  /// Nothing may follow our close_notify or a fatal alert.
  @exclusivity(unchecked) private(set) var isWritingOver = false
  let suite: CipherSuite

  init(reading: RecordProtection, writing: RecordProtection, isServer: Bool) {
    opener = RecordOpener(reading, isServer: isServer)
    sealer = RecordSealer(writing)
    suite = writing.suite
  }

  var recordsPerKeyMax: UInt64 {
    get { sealer.recordsPerKeyMax }
    set { sealer.recordsPerKeyMax = newValue }
  }

  /// Opens one whole record in place.
  func open(_ record: UnsafeMutableRawBufferPointer) -> RecordContent {
    let content = opener.open(record)
    switch content {
    case .data, .nothing, .closeNotify: break
    // One answer serves all requests since our last record (RFC 8446 4.6.3).
    case .keyUpdate(let answerRequested): owesKeyUpdate = owesKeyUpdate || answerRequested
    case .failed(let error): fail(error)
    }
    return content
  }

  /// Ends writing; the peer is told why where it is to blame.
  func fail(_ error: TLSError) {
    waitingAlert = isWritingOver ? nil : Alert(error)
    isWritingOver = true
  }

  func close() {
    guard !isWritingOver else { return }
    waitingAlert = .closeNotify
    isWritingOver = true
  }

  func seal(_ batch: PlaintextBatch, from offset: Int, into writer: inout BufferWriter) -> Int {
    isWritingOver ? 0 : sealer.seal(batch, from: offset, into: &writer)
  }

  var hasControlOutput: Bool { waitingAlert != nil || (owesKeyUpdate && !isWritingOver) }

  /// Writes what waits, as far as there is room.
  func writeControl(to writer: inout BufferWriter) {
    if owesKeyUpdate, !isWritingOver {
      guard writer.roomBytes >= RecordSealer.keyUpdateBytes else { return }
      sealer.writeKeyUpdate(to: &writer)
      owesKeyUpdate = false
    }
    if let alert = waitingAlert {
      guard writer.roomBytes >= RecordSealer.alertBytes else { return }
      sealer.writeAlert(alert, to: &writer)
      waitingAlert = nil
    }
  }
}

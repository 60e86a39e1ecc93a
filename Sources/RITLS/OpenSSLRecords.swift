// Records by OpenSSL itself, over the memory BIOs: the oracle of our own record layer, and the
// switch to turn to if that is ever in doubt. Slower by its copies; never the default.

import COpenSSL
import RIBase
import RICrypto

/// An established link whose records OpenSSL opens and seals.
final class OpenSSLRecords {
  private let connection: OpenSSLConnection
  @exclusivity(unchecked) private var recordsUnderKey: UInt64 = 0
  @exclusivity(unchecked) private(set) var isWritingOver = false
  @exclusivity(unchecked) var recordsPerKeyMax = Limits.tlsRecordsPerKeyMax

  init(_ connection: OpenSSLConnection) { self.connection = connection }

  var cipherName: String { connection.suite?.name ?? "" }

  /// Opens one whole record; its plaintext comes to lie behind the record's header.
  func open(_ record: UnsafeMutableRawBufferPointer) -> RecordContent {
    connection.feed(UnsafeRawBufferPointer(record))
    let body = UnsafeMutableRawBufferPointer(rebasing: record[RecordHeader.byteCount...])
    let count = SSL_read(connection.ssl, body.baseAddress, Int32(body.count))
    if count > 0 { return .data(count: Int(count)) }
    switch SSL_get_error(connection.ssl, count) {
    case SSL_ERROR_WANT_READ:
      return .nothing
    case SSL_ERROR_ZERO_RETURN:
      return .closeNotify
    default:
      isWritingOver = true
      return .failed(connection.takeError())
    }
  }

  func close() {
    guard !isWritingOver else { return }
    isWritingOver = true
    ERR_clear_error()
    SSL_shutdown(connection.ssl)
  }

  func seal(_ batch: PlaintextBatch, from offset: Int, into writer: inout BufferWriter) -> Int {
    guard !isWritingOver else { return 0 }
    // What OpenSSL wants to say goes first; it keeps no order but its own.
    connection.writeOutput(to: &writer)
    var pieces = PieceCursor(batch, offset: offset)
    var sealed = 0
    while pieces.bytesLeft > 0, connection.outputBytes == 0 {
      let updates = recordsUnderKey >= recordsPerKeyMax
      let overhead = RecordHeader.overheadBytes + (updates ? RecordSealer.keyUpdateBytes : 0)
      let room = writer.roomBytes - overhead
      let count = min(pieces.bytesLeft, Limits.tlsPlaintextBytesMax, room)
      guard count > 0 else { break }
      if updates {
        SSL_key_update(connection.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
        recordsUnderKey = 0
      }
      write(count, of: &pieces)
      connection.writeOutput(to: &writer)
      recordsUnderKey += 1
      sealed += count
    }
    return sealed
  }

  private func write(_ count: Int, of pieces: inout PieceCursor) {
    ERR_clear_error()
    withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) { text in
      var end = 0
      pieces.take(count) { piece in
        UnsafeMutableRawBufferPointer(rebasing: text[end...]).copyMemory(from: piece)
        end += piece.count
      }
      let written = SSL_write(connection.ssl, text.baseAddress, Int32(count))
      precondition(Int(written) == count, "a memory BIO takes all")
    }
  }

  var hasControlOutput: Bool { connection.outputBytes > 0 }

  func writeControl(to writer: inout BufferWriter) { connection.writeOutput(to: &writer) }
}

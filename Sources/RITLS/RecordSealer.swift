// Sealing: pieces of plaintext in, protected records out. The mirror of RecordOpener.

import RIBase
import RICrypto

/// The sending direction of a link after its handshake.
struct RecordSealer {
  /// A KeyUpdate as it stands on the wire.
  static let keyUpdateBytes = RecordHeader.overheadBytes + 5
  /// An alert as it stands on the wire.
  static let alertBytes = RecordHeader.overheadBytes + Alert.byteCount

  private var protection: RecordProtection
  /// Records under one key before we change it by ourselves.
  var recordsPerKeyMax = Limits.tlsRecordsPerKeyMax

  init(_ protection: RecordProtection) { self.protection = protection }

  /// Seals the batch from byte `offset` on into as many records as `writer` has room for; returns
  /// the plaintext bytes sealed. The cipher reads the pieces where they lie and writes where the
  /// send takes them: the only copy is the encryption itself. Allocates only where a key's records
  /// are used up.
  mutating func seal(
    _ batch: PlaintextBatch, from offset: Int, into writer: inout BufferWriter
  ) -> Int {
    var pieces = PieceCursor(batch, offset: offset)
    var sealed = 0
    while pieces.bytesLeft > 0 {
      if protection.recordNumber >= recordsPerKeyMax {
        guard writer.roomBytes > Self.keyUpdateBytes + RecordHeader.overheadBytes else { break }
        writeKeyUpdate(to: &writer)
      }
      let room = writer.roomBytes - RecordHeader.overheadBytes
      let count = min(pieces.bytesLeft, Limits.tlsPlaintextBytesMax, room)
      guard count > 0 else { break }
      writeRecord(count, type: RecordType.applicationData, to: &writer) { key, destination in
        pieces.take(count, into: destination, key)
      }
      sealed += count
    }
    return sealed
  }

  /// Tells the peer that the next record is under new keys, and takes them (RFC 8446 4.6.3). The
  /// writer has room for `keyUpdateBytes`.
  mutating func writeKeyUpdate(to writer: inout BufferWriter) {
    // KeyUpdate, length 1, update_not_requested.
    write([24, 0, 0, 1, 0], type: RecordType.handshake, to: &writer)
    protection.update()
  }

  /// The writer has room for `alertBytes`.
  mutating func writeAlert(_ alert: Alert, to writer: inout BufferWriter) {
    write([alert.level, alert.description], type: RecordType.alert, to: &writer)
  }

  private mutating func write<let count: Int>(
    _ content: InlineArray<count, UInt8>, type: UInt8, to writer: inout BufferWriter
  ) {
    withUnsafeBytes(of: content) { bytes in
      writeRecord(count, type: type, to: &writer) { $0.updateSeal(to: $1, from: bytes) }
    }
  }

  /// Writes one record with `count` bytes of content, which `encrypt` puts where it is told.
  @inline(__always)
  private mutating func writeRecord(
    _ count: Int, type: UInt8, to writer: inout BufferWriter,
    _ encrypt: (AEADKey, UnsafeMutableRawPointer) -> Void
  ) {
    let bodyCount = count + 1 + AEADKey.tagBytes
    let room = writer.room
    guard room.count >= RecordHeader.byteCount + bodyCount, let start = room.baseAddress else {
      preconditionFailure("no room for a record")
    }
    RecordHeader.writeProtected(bodyCount: bodyCount, to: room)
    let key = protection.key
    key.startSeal(
      nonce: protection.nextNonce(),
      authenticated: UnsafeRawBufferPointer(start: start, count: RecordHeader.byteCount))
    // SAFETY: header, content, type and tag are 5 + count + 1 + 16 bytes, checked against the room.
    let content = start + RecordHeader.byteCount
    encrypt(key, content)
    withUnsafeBytes(of: type) { key.updateSeal(to: content + count, from: $0) }
    key.finishSeal(tag: content + count + 1)
    writer.advance(RecordHeader.byteCount + bodyCount)
  }
}

/// A place in a batch.
struct PieceCursor {
  private let batch: PlaintextBatch
  private var index = 0
  private var offset: Int
  private(set) var bytesLeft: Int

  /// The place `offset` bytes from the batch's start; 0 <= offset <= its count.
  init(_ batch: PlaintextBatch, offset: Int) {
    precondition(offset >= 0 && offset <= batch.byteCount)
    self.batch = batch
    self.offset = offset
    bytesLeft = batch.byteCount - offset
    while index < batch.pieceCount, self.offset >= batch.piece(index).count {
      self.offset -= batch.piece(index).count
      index += 1
    }
  }

  /// Visits the next `count` bytes, at most `bytesLeft`, in pieces.
  @inline(__always)
  mutating func take(_ count: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
    var left = count
    while left > 0 {
      let piece = batch.piece(index)
      let n = min(left, piece.count - offset)
      body(UnsafeRawBufferPointer(rebasing: piece[offset..<offset + n]))
      left -= n
      offset += n
      if offset == piece.count {
        index += 1
        offset = 0
      }
    }
    bytesLeft -= count
  }

  /// Encrypts the next `count` bytes to `destination`.
  @inline(__always)
  mutating func take(_ count: Int, into destination: UnsafeMutableRawPointer, _ key: AEADKey) {
    var destination = destination
    take(count) { piece in
      key.updateSeal(to: destination, from: piece)
      destination += piece.count
    }
  }
}

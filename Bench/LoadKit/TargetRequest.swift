// What a client asks of a target in mode `asked`: the first bytes of its connection.

/// One request: 32 bytes in the machine's byte order,
/// `mark, mode, writeBytes, totalBytes, sendBufferBytes`.
struct TargetRequest: Equatable, Sendable {
  static let byteCount = 32
  private static let mark: UInt32 = 0x5249_4C51

  /// `source`, `sink` or `echo`.
  var mode: TargetOrder.Mode
  /// Bytes of one write of a source.
  var writeBytes = Pattern.sendBytes
  /// Where a source's stream ends; 0: never.
  var totalBytes: UInt64 = 0
  /// SO_SNDBUF of a source; 0 leaves it to the kernel.
  var sendBufferBytes = 0

  init(_ mode: TargetOrder.Mode, writeBytes: Int = Pattern.sendBytes) {
    self.mode = mode
    self.writeBytes = writeBytes
  }

  /// What a kind of load asks for. A source for clients that never read keeps little in its socket.
  init(for workload: Workload) {
    self.init(TargetOrder.mode(for: workload.kind))
    totalBytes = UInt64(workload.downloadBytes ?? 0)
    if [.stalled, .slow].contains(workload.kind) {
      sendBufferBytes = StalledClient.socketBufferBytes
    }
  }

  /// Nil for bytes that are no request.
  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    let fields = bytes.withUnsafeBytes {
      (
        $0.load(fromByteOffset: 0, as: UInt32.self), $0.load(fromByteOffset: 4, as: UInt32.self),
        $0.load(fromByteOffset: 8, as: UInt64.self), $0.load(fromByteOffset: 16, as: UInt64.self),
        $0.load(fromByteOffset: 24, as: UInt64.self)
      )
    }
    guard fields.0 == Self.mark, let mode = Self.modes.first(where: { $0.value == fields.1 })?.key,
      (1...UInt64(Pattern.sendBytes)).contains(fields.2), fields.4 <= UInt64(Int32.max)
    else { return nil }
    self.init(mode, writeBytes: Int(fields.2))
    totalBytes = fields.3
    sendBufferBytes = Int(fields.4)
  }

  var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.byteCount)
    bytes.withUnsafeMutableBytes {
      $0.storeBytes(of: Self.mark, toByteOffset: 0, as: UInt32.self)
      $0.storeBytes(of: Self.modes[mode] ?? 0, toByteOffset: 4, as: UInt32.self)
      $0.storeBytes(of: UInt64(writeBytes), toByteOffset: 8, as: UInt64.self)
      $0.storeBytes(of: totalBytes, toByteOffset: 16, as: UInt64.self)
      $0.storeBytes(of: UInt64(sendBufferBytes), toByteOffset: 24, as: UInt64.self)
    }
    return bytes
  }

  private static let modes: [TargetOrder.Mode: UInt32] = [.source: 1, .sink: 2, .echo: 3]
}

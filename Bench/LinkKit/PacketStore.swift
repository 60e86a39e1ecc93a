// Packets on their way: a first-in-first-out queue in one piece of memory, each packet behind a
// header with its departure and its length. Packets are read straight into it.

/// A ring of bytes that holds packets whole; a packet never wraps. Departures never go back.
struct PacketStore: ~Copyable {
  /// `[departure: u64][bytes: u64][packet, padded to 8]`; bytes 0 says: go on at the beginning.
  private static let headerBytes = 16

  private let memory: UnsafeMutableRawPointer
  private let capacity: Int
  private var head = 0
  private var tail = 0
  private(set) var count = 0

  init(capacityBytes: Int) {
    capacity = capacityBytes & ~7
    memory = .allocate(byteCount: capacity, alignment: 4096)
  }

  deinit { memory.deallocate() }

  /// Where a packet of up to so many bytes may be written; nil when there is no room for one.
  mutating func room(for bytesMax: Int) -> UnsafeMutableRawPointer? {
    let needed = Self.headerBytes + (bytesMax + 7) & ~7
    if count == 0 { (head, tail) = (0, 0) }
    if tail > head || count == 0 {
      if capacity - tail >= needed { return memory + tail + Self.headerBytes }
      guard head >= needed else { return nil }
      if capacity - tail >= Self.headerBytes {
        memory.storeBytes(of: 0, toByteOffset: tail + 8, as: UInt64.self)
      }
      tail = 0
    }
    return head - tail >= needed ? memory + tail + Self.headerBytes : nil
  }

  /// Takes the packet that was written to the last `room`.
  mutating func append(bytes: Int, departure: UInt64) {
    memory.storeBytes(of: departure, toByteOffset: tail, as: UInt64.self)
    memory.storeBytes(of: UInt64(bytes), toByteOffset: tail + 8, as: UInt64.self)
    tail += Self.headerBytes + (bytes + 7) & ~7
    count += 1
  }

  /// When the first packet leaves; nil when there is none.
  var firstDeparture: UInt64? {
    count == 0 ? nil : memory.load(fromByteOffset: head, as: UInt64.self)
  }

  /// The first packet; valid while it is not removed. There is one.
  var first: UnsafeRawBufferPointer {
    let bytes = memory.load(fromByteOffset: head + 8, as: UInt64.self)
    return UnsafeRawBufferPointer(start: memory + head + Self.headerBytes, count: Int(bytes))
  }

  /// There is one.
  mutating func removeFirst() {
    head += Self.headerBytes + (first.count + 7) & ~7
    count -= 1
    let isAtEnd =
      capacity - head < Self.headerBytes
      || (count > 0 && memory.load(fromByteOffset: head + 8, as: UInt64.self) == 0)
    if isAtEnd { head = 0 }
  }
}

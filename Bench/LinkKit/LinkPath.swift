// One direction at work: reads packets from one device, asks the model, writes them to the other
// when their time has come.

import Glibc

/// What one direction has done.
public struct LinkCounters: Codable, Equatable, Sendable {
  /// That came in.
  public var packets: UInt64 = 0
  public var bytes: UInt64 = 0
  /// That went out.
  public var deliveredPackets: UInt64 = 0
  public var deliveredBytes: UInt64 = 0
  /// Dropped by chance.
  public var lost: UInt64 = 0
  /// Dropped because the queue was full.
  public var queueFull: UInt64 = 0
  /// Held back, so that others overtook them.
  public var reordered: UInt64 = 0
  /// That the other device did not take.
  public var refused: UInt64 = 0
  /// Delivered more than a millisecond after their time: the machine was too busy to be trusted.
  public var overdue: UInt64 = 0

  public init() {}
}

/// A direction between two devices, which it does not own.
struct LinkPath: ~Copyable {
  /// Packets in one turn, so that neither direction waits long for the other.
  private static let turnPacketsMax = 64
  private static let overdueNanoseconds: UInt64 = 1_000_000

  private let source: Int32
  private let sink: Int32
  private let packetBytesMax: Int
  /// Bytes in front of each packet that the line does not count (virtio_net_hdr).
  private let prefixBytes: Int
  private var direction: LinkDirection
  private var inOrder: PacketStore
  private var late: PacketStore
  private(set) var counters = LinkCounters()

  init(
    from source: Int32, to sink: Int32, _ conditions: LinkConditions, stream: UInt64,
    packetBytesMax: Int, prefixBytes: Int
  ) {
    self.source = source
    self.sink = sink
    self.packetBytesMax = packetBytesMax
    self.prefixBytes = prefixBytes
    direction = LinkDirection(conditions, stream: stream)
    let bytes = Self.bytesUnderWay(conditions)
    inOrder = PacketStore(capacityBytes: bytes)
    late = PacketStore(capacityBytes: conditions.reorderShare > 0 ? bytes : 4 * packetBytesMax)
  }

  /// What the queue and the line hold, twice for headers in front of small packets; memory is
  /// touched as it comes into use. Without a rate there is no such bound: 256 MB, then drops.
  private static func bytesUnderWay(_ conditions: LinkConditions) -> Int {
    guard conditions.bitsPerSecond > 0 else { return 256 << 20 }
    let nanoseconds =
      conditions.delayNanoseconds + conditions.jitterNanoseconds + conditions.reorderNanoseconds
    let flying = Double(nanoseconds) * Double(conditions.bitsPerSecond) / 8e9
    return 2 * (Int(flying) + conditions.queueBytes) + 1 << 20
  }

  /// When the next packet is due; nil when none is under way.
  var nextDeparture: UInt64? {
    guard let first = inOrder.firstDeparture else { return late.firstDeparture }
    return min(first, late.firstDeparture ?? first)
  }

  /// Takes what waits at the source, up to a turn's worth; how many packets that was.
  mutating func take(at now: UInt64) -> Int {
    var taken = 0
    while taken < Self.turnPacketsMax {
      guard let room = inOrder.room(for: packetBytesMax) else {
        // Read all the same: what has no room here must not wait in the device either.
        guard discardOne() else { break }
        taken += 1
        continue
      }
      let count = read(source, room, packetBytesMax)
      guard count > prefixBytes else { break }
      taken += 1
      admit(room, count, now)
    }
    return taken
  }

  private mutating func admit(_ packet: UnsafeMutableRawPointer, _ count: Int, _ now: UInt64) {
    counters.packets += 1
    counters.bytes += UInt64(count - prefixBytes)
    switch direction.admit(bytes: count - prefixBytes, now: now) {
    case .departs(let time): inOrder.append(bytes: count, departure: time)
    case .departsLate(let time):
      // Rare: the only packets that are copied from one store to another.
      guard let room = late.room(for: count) else {
        counters.queueFull += 1
        return
      }
      room.copyMemory(from: packet, byteCount: count)
      late.append(bytes: count, departure: time)
      counters.reordered += 1
    case .lost: counters.lost += 1
    case .queueFull: counters.queueFull += 1
    }
  }

  private mutating func discardOne() -> Bool {
    withUnsafeTemporaryAllocation(byteCount: packetBytesMax, alignment: 8) { buffer in
      let count = read(source, buffer.baseAddress, packetBytesMax)
      guard count > prefixBytes else { return false }
      counters.packets += 1
      counters.bytes += UInt64(count - prefixBytes)
      counters.queueFull += 1
      return true
    }
  }

  /// Sends what is due, up to a turn's worth; how many packets that was.
  mutating func deliver(at now: UInt64) -> Int {
    var sent = 0
    while sent < Self.turnPacketsMax, let departure = nextDeparture, departure <= now {
      if now - departure > Self.overdueNanoseconds { counters.overdue += 1 }
      if inOrder.firstDeparture == departure {
        send(inOrder.first)
        inOrder.removeFirst()
      } else {
        send(late.first)
        late.removeFirst()
      }
      sent += 1
    }
    return sent
  }

  private mutating func send(_ packet: UnsafeRawBufferPointer) {
    guard write(sink, packet.baseAddress, packet.count) == packet.count else {
      counters.refused += 1
      return
    }
    counters.deliveredPackets += 1
    counters.deliveredBytes += UInt64(packet.count - prefixBytes)
  }
}

// The loop, between pairs of UDP sockets instead of TUN devices.

import Glibc
import LoadKit
import Testing

@testable import LinkKit

@Suite("Emulator")
struct LinkEmulatorTests {
  /// An emulator on a thread of its own, and the outer ends of its devices.
  final class Running {
    let a: Int32
    let b: Int32
    private let inner: [Int32]
    private let stop: [Int32]
    private let thread: pthread_t

    init(_ change: (inout LinkConditions) -> Void) throws {
      var conditions = LinkConditions()
      change(&conditions)
      try conditions.check()
      let pairs = try (0..<2).map { _ in try Self.packetPair() }
      var stop: [Int32] = [0, 0]
      try #require(pipe(&stop) == 0)
      (a, b, inner) = (pairs[0][0], pairs[1][0], [pairs[0][1], pairs[1][1]])
      self.stop = stop
      let (innerA, innerB, stopEnd, final) = (inner[0], inner[1], stop[0], conditions)
      thread = try Self.start {
        var emulator = LinkEmulator(
          a: innerA, b: innerB, stop: stopEnd, final, packetBytesMax: 1500)
        emulator.run { true }
        return emulator.counters
      }
    }

    private final class Work {
      let body: () -> (LinkCounters, LinkCounters)
      var result: (LinkCounters, LinkCounters)?
      init(_ body: @escaping () -> (LinkCounters, LinkCounters)) { self.body = body }
    }

    /// On a thread of its own: it blocks, and tests share a few.
    private static func start(
      _ body: @escaping () -> (LinkCounters, LinkCounters)
    ) throws -> pthread_t {
      var thread: pthread_t = 0
      let work = Unmanaged.passRetained(Work(body)).toOpaque()
      let result = pthread_create(
        &thread, nil,
        { argument in
          guard let argument else { return nil }
          let work = Unmanaged<Work>.fromOpaque(argument).takeUnretainedValue()
          work.result = work.body()
          return argument
        }, work)
      try #require(result == 0)
      return thread
    }

    /// What both directions have done, when the loop has ended.
    func end() throws -> (aToB: LinkCounters, bToA: LinkCounters) {
      writeText("x", to: stop[1])
      var returned: UnsafeMutableRawPointer?
      pthread_join(thread, &returned)
      for descriptor in [a, b] + inner + stop { close(descriptor) }
      let work = Unmanaged<Work>.fromOpaque(try #require(returned)).takeRetainedValue()
      return try #require(work.result)
    }

    /// Two connected UDP sockets, the second one non-blocking, with room for a test's packets.
    private static func packetPair() throws -> [Int32] {
      let ends = (0..<2).map { _ in socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) }
      var roomBytes: Int32 = 1 << 20
      for end in ends {
        try #require(end >= 0 && bind(end, toPort: 0))
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &roomBytes, 4)
      }
      try #require(connect(ends[0], toPort: localPort(ends[1])))
      try #require(connect(ends[1], toPort: localPort(ends[0])))
      try #require(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
      return ends
    }

    private static func bind(_ socket: Int32, toPort port: UInt16) -> Bool {
      withLoopback(port) { Glibc.bind(socket, $0, $1) == 0 }
    }

    private static func connect(_ socket: Int32, toPort port: UInt16) -> Bool {
      withLoopback(port) { Glibc.connect(socket, $0, $1) == 0 }
    }

    private static func withLoopback(
      _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
    ) -> Bool {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
      return withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    }
  }

  /// The next packet; nil when none comes in 10 s.
  static func receive(_ descriptor: Int32) -> [UInt8]? {
    var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&wanted, 1, 10_000) == 1 else { return nil }
    var buffer = [UInt8](repeating: 0, count: 2000)
    let count = read(descriptor, &buffer, buffer.count)
    return count > 0 ? Array(buffer.prefix(count)) : nil
  }

  static func packet(_ number: Int, bytes: Int) -> [UInt8] {
    (0..<bytes).map { UInt8(truncatingIfNeeded: number &* 31 &+ $0) }
  }

  @Test("packets cross both ways, whole, in order, and not before their time")
  func crossing() throws {
    let running = try Running { $0.delayNanoseconds = 20_000_000 }
    let packets = (0..<100).map { Self.packet($0, bytes: 1 + $0 * 15) }
    let start = clockNanoseconds()
    for packet in packets {
      #expect(write(running.a, packet, packet.count) == packet.count)
      #expect(write(running.b, packet, packet.count) == packet.count)
    }
    for packet in packets {
      try #require(Self.receive(running.b) == packet)
      try #require(Self.receive(running.a) == packet)
    }
    #expect(clockNanoseconds() - start >= 20_000_000)
    let counters = try running.end()
    let bytes = UInt64(packets.map(\.count).reduce(0, +))
    for direction in [counters.aToB, counters.bToA] {
      #expect(direction.packets == 100 && direction.deliveredPackets == 100)
      #expect(direction.bytes == bytes && direction.deliveredBytes == bytes)
      #expect(direction.lost + direction.queueFull + direction.reordered + direction.refused == 0)
    }
  }

  @Test("a line passes no more than its rate, and its queue drops the rest")
  func rate() throws {
    // 100 packets of 1,000 bytes in a burst; the queue takes 20, 1 Mbit/s sends them in 160 ms.
    let running = try Running {
      $0.bitsPerSecond = 1_000_000
      $0.queueBytes = 20_000
    }
    let start = clockNanoseconds()
    for number in 0..<100 {
      let packet = Self.packet(number, bytes: 1000)
      #expect(write(running.a, packet, packet.count) == packet.count)
    }
    for number in 0..<20 {
      try #require(Self.receive(running.b) == Self.packet(number, bytes: 1000))
    }
    #expect(clockNanoseconds() - start >= 160_000_000)
    let counters = try running.end().aToB
    // The writer may have been stopped for a while: then the line has freed room in between.
    #expect(counters.queueFull + counters.deliveredPackets <= 100)
    #expect(counters.queueFull >= 50)
  }

  @Test("a packet that is held back is overtaken")
  func reordering() throws {
    let running = try Running {
      $0.reorderShare = 0.3
      $0.reorderNanoseconds = 50_000_000
      $0.seed = 3
    }
    let packets = (0..<50).map { Self.packet($0, bytes: 10) }
    for packet in packets { #expect(write(running.a, packet, packet.count) == packet.count) }
    let received = (0..<50).map { _ in Self.receive(running.b) ?? [] }
    #expect(received != packets)
    let byBytes: ([UInt8], [UInt8]) -> Bool = { $0.lexicographicallyPrecedes($1) }
    #expect(received.sorted(by: byBytes) == packets.sorted(by: byBytes))
    let counters = try running.end().aToB
    #expect(counters.reordered > 0 && counters.reordered < 50)
  }

  @Test("losses are counted, and the rest arrives")
  func loss() throws {
    let running = try Running { $0.lossShare = 0.5 }
    for number in 0..<200 {
      let packet = Self.packet(number, bytes: 100)
      #expect(write(running.b, packet, packet.count) == packet.count)
    }
    var direction = LinkDirection(
      LinkDirectionTests.conditions { $0.lossShare = 0.5 }, stream: 1)
    for number in 0..<200 where direction.admit(bytes: 100, now: 0) != .lost {
      try #require(Self.receive(running.a) == Self.packet(number, bytes: 100))
    }
    let counters = try running.end().bToA
    #expect(counters.packets == 200)
    #expect(counters.lost + counters.deliveredPackets == 200)
    #expect(counters.lost > 60 && counters.lost < 140)
  }
}

// What is special to io_uring: its probe, bundles, buffer rings and limits on a real kernel.

import Glibc
import RIBase
import Testing

@testable import RIRing

/// Whether this machine lets us use io_uring.
private let isUringAvailable = (try? UringRing.probe()) != nil

@Suite(.enabled(if: isUringAvailable, "io_uring is not available"))
struct UringRingTests {
  /// Buffers of the three receive policies: small, bulk, whole.
  private static let shapes = [
    BufferPoolShape(count: 64, bytes: 4_096),
    BufferPoolShape(count: 64, bytes: 65_536),
    BufferPoolShape(count: 4, bytes: 524_288),
  ]

  /// A connected pair of sockets: ours, without O_NONBLOCK, and a peer for plain calls.
  private final class Pair {
    let ring: UringRing
    let ours: Socket
    let peer: Int32
    /// Whether the ring closes ours. Its number may be that of another test's socket from then on.
    private var isOursGone = false

    init(_ features: UringFeatures? = nil, shapes: [BufferPoolShape] = UringRingTests.shapes) throws
    {
      ring = try UringRing(store: BufferStore(shapes), features: features)
      let listener = try ring.listen(
        on: SocketAddress(.loopbackV4, 0), reusePort: false, backlog: 1)
      let address = try #require(ring.localAddress(of: listener))
      let peer = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      let connected = KernelAddress(address).withSockaddr { connect(peer, $0, $1) }
      self.peer = peer
      try #require(connected == 0)
      ring.accept(on: listener, token: Token(1))
      ours = Socket(descriptor: ring.wait(until: nil)[0].result)
      ring.close(listener, mode: .graceful, token: Token(9))
      while ring.wait(until: nil).last?.token != Token(9) {}
    }

    deinit {
      #expect(Glibc.close(peer) == 0)
      if !isOursGone { #expect(Glibc.close(ours.descriptor) == 0) }
    }

    func closeOurs(_ mode: CloseMode, token: Token) {
      isOursGone = true
      ring.close(ours, mode: mode, token: token)
    }

    func write(_ bytes: [UInt8]) throws {
      try #require(Glibc.send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    /// Waits until so many bytes lie in our socket. Nothing may be receiving from it.
    func awaitArrival(_ count: Int) throws {
      var ready: Int32 = 0
      let deadline = ring.updateNow() + .seconds(10)
      while Int(ready) < count, ring.updateNow() < deadline {
        _ = ioctl(ours.descriptor, UInt(FIONREAD), &ready)
      }
      try #require(Int(ready) == count)
    }

    /// Receives until the operation ends or `byteCount` bytes are there.
    func receive(
      _ pool: Int, limit: Int, until byteCount: Int
    ) -> (bytes: [UInt8], completions: [Completion]) {
      ring.receive(
        on: ours, into: PoolID(UInt8(pool)), limitBytes: limit, token: Token(2))
      return drain(until: byteCount)
    }

    func drain(until byteCount: Int) -> (bytes: [UInt8], completions: [Completion]) {
      var bytes: [UInt8] = []
      var completions: [Completion] = []
      let deadline = ring.updateNow() + .seconds(10)
      while bytes.count < byteCount, completions.last?.more ?? true, ring.now < deadline {
        for completion in ring.wait(until: deadline) {
          completions.append(completion)
          guard let slice = completion.slice else { continue }
          bytes += ring.store.bytes(slice)
          ring.store.release(slice)
        }
      }
      return (bytes, completions)
    }
  }

  /// Every feature by itself off, and all on.
  private static var variants: [UringFeatures] {
    guard let offered = try? UringRing.probe() else { return [] }
    return [offered, .oldest]
      + UringFeatures.all.map { feature in
        var features = offered
        features[keyPath: feature.path] = false
        return features
      }
  }

  @Test func probeFindsWhatTheKernelHas() throws {
    let offered = try UringRing.probe()
    var system = utsname()
    uname(&system)
    let release = withUnsafeBytes(of: system.release) {
      String(decoding: $0.prefix(8), as: UTF8.self)
    }
    let version = release.split(separator: ".").prefix(2).compactMap { Int($0) }
    try #require(version.count == 2)
    func isSince(_ major: Int, _ minor: Int) -> Bool { (version[0], version[1]) >= (major, minor) }
    if isSince(5, 19) {
      #expect(offered.bufferRings && offered.multishotAccept && offered.submitAll)
    }
    if isSince(6, 1) { #expect(offered.multishotReceive && offered.deferredTaskRun) }
    if isSince(6, 10) { #expect(offered.receiveBundles && offered.silentSends) }
    if isSince(6, 17) { #expect(offered.multishotLimit) }
  }

  @Test func ringTellsWhatItUses() throws {
    let ring = try UringRing(store: BufferStore(Self.shapes), features: .oldest)
    #expect(ring.used == .oldest)
    #expect(ring.features.count == UringFeatures.all.count)
    #expect(ring.features.allSatisfy { $0.hasSuffix(": no") })
    #expect(
      try UringRing(store: BufferStore(Self.shapes)).features.contains { $0.hasSuffix("yes") })
  }

  @Test(arguments: variants, [0, 1, 2])
  func bytesArriveInOrderFromEveryPool(_ features: UringFeatures, _ pool: Int) throws {
    let pair = try Pair(features)
    let sent = RingDriver.pattern(50_000)
    pair.ring.receive(
      on: pair.ours, into: PoolID(UInt8(pool)), limitBytes: 1 << 50, token: Token(2))
    for part in 0..<5 { try pair.write(Array(sent[part * 10_000..<(part + 1) * 10_000])) }
    let (bytes, completions) = pair.drain(until: sent.count)
    #expect(bytes == sent)
    #expect(completions.allSatisfy { $0.more })
  }

  @Test func bundleFillsManyBuffersInOneTurn() throws {
    try #require(try UringRing.probe().receiveBundles)
    let pair = try Pair()
    pair.ring.set(.receiveBufferBytes(1 << 20), on: pair.ours)
    let sent = RingDriver.pattern(150_000)
    try pair.write(sent)
    try pair.awaitArrival(sent.count)
    pair.ring.receive(on: pair.ours, into: PoolID(1), limitBytes: 1 << 30, token: Token(2))
    let completions = Array(pair.ring.wait(until: nil))
    #expect(completions.map(\.result) == [65_536, 65_536, 150_000 - 2 * 65_536])
    #expect(completions.flatMap { $0.slice.map { Array(pair.ring.store.bytes($0)) } ?? [] } == sent)
    #expect(Set(completions.compactMap { $0.slice?.buffer }).count == 3)
    for slice in completions.compactMap(\.slice) { pair.ring.store.release(slice) }
  }

  @Test(arguments: variants, [1, 3_000, 65_536, 100_000])
  func limitOfABulkReceiveIsWholeBuffers(_ features: UringFeatures, _ limit: Int) throws {
    let pair = try Pair(features)
    pair.ring.set(.receiveBufferBytes(1 << 20), on: pair.ours)
    let sent = RingDriver.pattern(150_000)
    try pair.write(sent)
    try pair.awaitArrival(sent.count)
    // Up to a buffer a bundle is exact; a larger one is filled up, as a few bytes in a buffer of
    // their own cost as much as a full one. Without bundles a receive may fill its last buffer.
    let isBundle = features.receiveBundles && features.bufferRings
    let whole = limit <= 65_536 ? limit : 131_072
    let first = pair.receive(1, limit: limit, until: isBundle ? whole : limit)
    #expect(first.bytes.count >= limit)
    #expect(isBundle ? first.bytes.count == whole : first.bytes.count < limit + 65_536)
    #expect(first.completions.last?.more == false)
    let rest = pair.receive(1, limit: 1 << 30, until: sent.count - first.bytes.count)
    #expect(first.bytes + rest.bytes == sent)
  }

  @Test(arguments: variants)
  func limitIsKeptWhenDataComesLater(_ features: UringFeatures) throws {
    let pair = try Pair(features)
    pair.ring.receive(on: pair.ours, into: PoolID(0), limitBytes: 5_000, token: Token(2))
    #expect(pair.ring.wait(until: pair.ring.now).isEmpty)
    try pair.write(RingDriver.pattern(4_999))
    let first = pair.drain(until: 4_999)
    #expect(first.completions.last?.more == true)
    try pair.write([1])
    let second = pair.drain(until: 2)
    #expect(second.bytes == [1])
    #expect(second.completions.count == 1 && second.completions.last?.more == false)
  }

  @Test(arguments: variants)
  func wholeBuffersAreFilled(_ features: UringFeatures) throws {
    let pair = try Pair(features)
    pair.ring.set(.receiveBufferBytes(2 << 20), on: pair.ours)
    let sent = RingDriver.pattern(300_000)
    try pair.write(sent)
    try pair.awaitArrival(sent.count)
    let got = pair.receive(2, limit: 524_288, until: sent.count)
    #expect(got.completions.map(\.result) == [300_000])
    #expect(got.bytes == sent)
  }

  @Test func dryRingIsRefilledWithoutTheCallerKnowing() throws {
    // More buffers in the pool than in the kernel's ring (4 MiB), and all of them needed at once.
    let count = LentBuffers.bytesMax / 65_536 + 16
    let pair = try Pair(shapes: [BufferPoolShape(count: count, bytes: 65_536)])
    pair.ring.set(.receiveBufferBytes(4 << 20), on: pair.ours)
    pair.ring.receive(on: pair.ours, into: PoolID(0), limitBytes: 1 << 40, token: Token(2))
    var held: [Slice] = []
    var turn = 0
    while held.count < count {
      try pair.write([UInt8(truncatingIfNeeded: turn)])
      for completion in pair.ring.wait(until: nil) {
        #expect(completion.more && completion.result > 0)
        if let slice = completion.slice { held.append(slice) }
      }
      turn += 1
    }
    #expect(pair.ring.store[PoolID(0)].freeCount == 0)
    // The kernel finds no buffer, then one comes back: the ring looks again before it says so.
    try pair.write([254])
    pair.ring.store.release(held.removeLast())
    for completion in pair.ring.wait(until: nil) {
      #expect(completion.more && completion.result == 1)
      if let slice = completion.slice { held.append(slice) }
    }
    #expect(held.count == count && pair.ring.store[PoolID(0)].freeCount == 0)
    try pair.write([255])
    #expect(pair.ring.wait(until: nil).map(\.result) == [-ENOBUFS])
    for slice in held { pair.ring.store.release(slice) }
    #expect(pair.receive(0, limit: 1, until: 1).bytes == [255])
  }

  @Test(arguments: variants)
  func ringGivesItsBuffersBack(_ features: UringFeatures) throws {
    let store = BufferStore(Self.shapes)
    do {
      let ring = try UringRing(store: store, features: features)
      let socket = try ring.bindDatagram(to: SocketAddress(.loopbackV4, 0), reusePort: false)
      ring.receiveDatagrams(on: socket, into: PoolID(0), token: Token(1))
      #expect(ring.wait(until: ring.now).isEmpty)
      #expect(store[PoolID(0)].usedCount > 0 || !features.bufferRings || !features.multishotReceive)
      Glibc.close(socket.descriptor)
    }
    #expect(store[PoolID(0)].usedCount == 0)
  }

  @Test(arguments: variants)
  func moreOperationsThanEntriesAreSubmitted(_ features: UringFeatures) throws {
    let ring = try UringRing(store: BufferStore(Self.shapes), entries: 8, features: features)
    let count: UInt64 = 500
    for i in 0..<count { ring.timeout(at: Instant(nanoseconds: 1), token: Token(i)) }
    for i in 0..<count { ring.cancel(Token(i + count)) }
    var seen = Set<UInt64>()
    let deadline = ring.updateNow() + .seconds(10)
    while seen.count < Int(count), ring.now < deadline {
      for completion in ring.wait(until: deadline) {
        #expect(completion.result == 0 && !completion.more)
        #expect(seen.insert(completion.token.rawValue).inserted)
      }
    }
    #expect(seen.count == Int(count))
  }

  @Test func closedDescriptorStartsAfresh() throws {
    let pair = try Pair()
    pair.ring.receive(on: pair.ours, into: PoolID(0), limitBytes: 10, token: Token(2))
    pair.closeOurs(.reset, token: Token(3))
    var tokens: [Token] = []
    while tokens.last != Token(3) { tokens += pair.ring.wait(until: nil).map(\.token) }
    #expect(tokens == [Token(2), Token(3)])
    // The number comes back for the next socket, which is not taken for one being closed.
    let next = try pair.ring.makeStreamSocket(.v4)
    pair.ring.close(next, mode: .graceful, token: Token(4))
    #expect(pair.ring.wait(until: nil).map(\.token) == [Token(4)])
  }

  @Test func automaticPreferenceTakesIoUring() throws {
    let (ring, note) = try makeRing(store: BufferStore(Self.shapes), preference: .automatic)
    #expect(ring.backendName == "uring" && note == nil)
  }
}

@Suite struct RingFactoryTests {
  @Test(.enabled(if: !isUringAvailable, "io_uring is available"))
  func forbiddenIoUringLeavesEpollAndANote() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 4_096)])
    let (ring, note) = try makeRing(store: store, preference: .automatic)
    #expect(ring.backendName == "epoll")
    #expect(note?.contains("io_uring_setup") == true)
    #expect(throws: RingError.self) { try makeRing(store: store, preference: .uring) }
  }

  @Test func epollIsMadeWhenAskedFor() throws {
    let store = BufferStore([BufferPoolShape(count: 1, bytes: 4_096)])
    let (ring, note) = try makeRing(store: store, preference: .epoll)
    #expect(ring.backendName == "epoll" && note == nil)
  }

  @Test func environmentNamesThePreference() throws {
    #expect(try RingPreference(environment: [:]) == .automatic)
    #expect(try RingPreference(environment: ["REMOTEINGRESS_RING": "auto"]) == .automatic)
    #expect(try RingPreference(environment: ["REMOTEINGRESS_RING": "epoll"]) == .epoll)
    #expect(try RingPreference(environment: ["REMOTEINGRESS_RING": "uring"]) == .uring)
    #expect(throws: RingError.self) {
      try RingPreference(environment: ["REMOTEINGRESS_RING": "kqueue"])
    }
  }
}

// A hub and an edge on epoll rings over loopback, driven turn by turn in one thread, with a client
// and a target of TCP and of UDP: real sockets, for tests that count what the engine itself does.

import Glibc
import RIBase
import RIControl
import RIRing
import RIWire
import Testing

@testable import RIEngine

/// Plain non-blocking sockets.
enum PlainSocket {
  /// A listener on a free loopback port.
  static func listener() throws -> (descriptor: Int32, port: Port) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(0)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    try #require(withSocketAddress(&address) { bind(descriptor, $0, size) } == 0)
    try #require(listen(descriptor, 16) == 0)
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL, 0) | O_NONBLOCK)
    var length = size
    _ = withSocketAddress(&address) { getsockname(descriptor, $0, &length) }
    return (descriptor, Port(bigEndian: address.sin_port))
  }

  /// A UDP socket on a free loopback port.
  static func datagrams() throws -> (descriptor: Int32, port: Port) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    try #require(withSocketAddress(&address) { bind(descriptor, $0, size) } == 0)
    _ = withSocketAddress(&address) { getsockname(descriptor, $0, &size) }
    return (descriptor, Port(bigEndian: address.sin_port))
  }

  static func connect(to port: Port, _ kind: __socket_type = SOCK_STREAM) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
    var address = loopback(port)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    try #require(withSocketAddress(&address) { Glibc.connect(descriptor, $0, size) } == 0)
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL, 0) | O_NONBLOCK)
    return descriptor
  }

  private static func loopback(_ port: Port) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static func withSocketAddress<R>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>) -> R
  ) -> R {
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
  }
}

/// See the file's head. `client` and `target` are the two ends of one stream, `datagramClient` and
/// `datagramTarget` those of one UDP session.
final class LoopbackPair {
  let hub: Shard
  let edge: Shard
  private(set) var client: Int32 = -1
  private(set) var target: Int32 = -1
  let datagramClient: Int32
  let datagramTarget: Int32
  private let scratch = UnsafeMutableRawPointer.allocate(byteCount: 64 * 1024, alignment: 64)

  init() throws {
    let world = try World(seed: 0)
    let (listener, targetPort) = try PlainSocket.listener()
    let (placeholder, edgePort) = try PlainSocket.listener()
    close(placeholder)
    let (datagramTarget, datagramTargetPort) = try PlainSocket.datagrams()
    self.datagramTarget = datagramTarget
    let (udpPlaceholder, udpPort) = try PlainSocket.datagrams()
    close(udpPlaceholder)
    scratch.initializeMemory(as: UInt8.self, repeating: 7, count: 64 * 1024)

    var hubSettings = HubSettings()
    hubSettings.allowedEdges = [world.allowedEdge([edgePort], udp: [udpPort])]
    hubSettings.targets = [
      TargetRule(port: edgePort, host: "127.0.0.1", targetPort: targetPort, proxyProtocol: .none),
      TargetRule(
        port: udpPort, transport: .udp, host: "127.0.0.1", targetPort: datagramTargetPort,
        udpProxyHeader: .every),
    ]
    let hubState = HubState(
      settings: hubSettings, tls: world.tls, tunnelAddresses: [SocketAddress(.loopbackV4, 0)],
      othersReplace: { _ in })
    hub = try Self.shard(.hub(hubState))
    try hub.start()

    var settings = EdgeSettings(hubHost: "127.0.0.1", edgeID: World.edgeID, secret: world.secret)
    settings.hubPort = try #require(hub.tunnelPort)
    settings.trust = .insecure
    settings.bindAddress = .loopbackV4
    let trust = try EdgeTrust(settings: settings, report: { _ in })
    edge = try Self.shard(.edge(EdgeState(settings: settings, trust: trust)))
    try edge.start()
    datagramClient = try PlainSocket.connect(to: udpPort, SOCK_DGRAM)

    try #require(turn(until: { self.edge.listeners.count == 2 }))
    client = try PlainSocket.connect(to: edgePort)
    try #require(
      turn(until: {
        self.target = accept(listener, nil, nil)
        return self.target >= 0
      }))
    _ = fcntl(target, F_SETFL, fcntl(target, F_GETFL, 0) | O_NONBLOCK)
    close(listener)
  }

  deinit {
    for engine in [hub, edge] { engine.shutDown() }
    for descriptor in [client, target, datagramClient, datagramTarget] { close(descriptor) }
    scratch.deallocate()
  }

  private static func shard(_ role: Shard.Role) throws -> Shard {
    let store = BufferStore(ShardPool.shapes(memoryBudgetBytes: 64 << 20))
    let ring = try EpollRing(store: store)
    let waker = ring.waker
    return Shard(
      index: 0, ring: ring, role: role, mailbox: ShardMailbox(capacity: 16) { waker.wake() },
      report: { _ in })
  }

  func turn() {
    hub.tick(until: Instant(nanoseconds: 0))
    edge.tick(until: Instant(nanoseconds: 0))
  }

  /// Turns until something is so; false after far too many turns.
  private func turn(until isDone: () -> Bool) -> Bool {
    for _ in 0..<200_000 {
      if isDone() { return true }
      turn()
    }
    return false
  }

  /// Sends what fits of `count` bytes; at least 0.
  func send(_ count: Int, on descriptor: Int32) -> Int {
    max(0, Glibc.send(descriptor, scratch, min(count, 64 * 1024), Int32(MSG_NOSIGNAL)))
  }

  /// Reads what is there, up to 64 KiB; at least 0.
  func receive(on descriptor: Int32) -> Int { max(0, recv(descriptor, scratch, 64 * 1024, 0)) }

  /// Moves `count` bytes from one end to the other; false when it takes far too many turns.
  func move(_ count: Int, from: Int32, to: Int32, chunkBytes: Int = 64 * 1024) -> Bool {
    var sent = 0
    var received = 0
    for _ in 0..<2_000_000 {
      if sent < count { sent += send(min(chunkBytes, count - sent), on: from) }
      turn()
      received += receive(on: to)
      if received == count { return true }
    }
    return false
  }

  /// `count` datagrams of `size` bytes to the target, and each back; false when one is lost.
  func echoDatagrams(_ count: Int, _ size: Int) -> Bool {
    for _ in 0..<count where send(size, on: datagramClient) != size { return false }
    var echoed = 0
    var received = 0
    for _ in 0..<200_000 where received < count {
      turn()
      var from = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      withUnsafeMutablePointer(to: &from) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { from in
          let got = recvfrom(datagramTarget, scratch, 64 * 1024, 0, from, &length)
          guard got > 0 else { return }
          echoed += 1
          // Without the header.
          _ = sendto(datagramTarget, scratch + got - size, size, 0, from, length)
        }
      }
      if receive(on: datagramClient) == size { received += 1 }
    }
    return echoed == count && received == count
  }

  /// A message of 64 bytes to the target and back.
  func echo() -> Bool {
    move(64, from: client, to: target) && move(64, from: target, to: client)
  }
}

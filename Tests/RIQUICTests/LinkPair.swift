// Two endpoints and a network between them, on a clock of their own: delay, loss, reordering,
// duplication, a limited packet size, all from a seed.

import RIBase
import RICrypto
import RIQUIC
import RITunnel
import RIWire
import TestRandom
import Testing

/// Made once: a key pair costs more than a test.
let hubIdentity: TLSIdentity = {
  do {
    return try TLSIdentity.selfSigned(commonName: "hub.example")
  } catch {
    preconditionFailure("\(error)")
  }
}()
let hubSecret = [UInt8](repeating: 7, count: 32)

/// What the path does to packets.
struct PathConditions {
  var delay = Interval.milliseconds(5)
  var jitter = Interval.zero
  var lossPercent = 0.0
  var duplicatePercent = 0.0
  /// Larger UDP payloads are lost without a word.
  var mtu = 1_500
  var isCut = false
}

/// One end: an endpoint with its buffers, its tunnels, and what happened to them.
final class End {
  enum Happening: Equatable {
    case established, controlBytes([UInt8]), resumable, moved
    case opened(StreamRef, String)
    case finished(StreamRef), reset(StreamRef), closed(StreamRef), room(StreamRef)
    case sustained(StreamRef)
    case sessionOpened(StreamRef, [UInt8]), datagram(StreamRef, [UInt8]), sessionClosed(StreamRef)
    case ping([UInt8]), pong([UInt8]), config([UInt8]), hello([UInt8])
    case ended(QUICEndReason)
  }

  static let pools = QUICPools(receive: PoolID(0), hold: PoolID(1))

  let store = BufferStore([
    BufferPoolShape(count: 64, bytes: 64 * 1024), BufferPoolShape(count: 2_048, bytes: 16 * 1024),
    BufferPoolShape(count: 4_096, bytes: 16 * 1024),
  ])
  var endpoint: QUICEndpoint
  var tunnel: QUICTunnel?
  var happenings: [Happening] = []
  var received: [StreamRef: [UInt8]] = [:]
  var receivedBytes = 0
  /// Received data counts as written to a socket at once.
  var consumes = true
  /// The hub admits whoever sends a line, and answers `{}`.
  var admits = true
  /// Sees each event before it is recorded.
  var handler: ((QUICTunnel, QUICEvent) -> Void)?

  init(_ make: (BufferStore) -> QUICEndpoint) { endpoint = make(store) }

  var streams: [StreamRef] {
    happenings.compactMap { if case .opened(let stream, _) = $0 { stream } else { nil } }
  }

  var end: QUICEndReason? {
    happenings.compactMap { if case .ended(let reason) = $0 { reason } else { nil } }.first
  }

  /// A slice with these bytes, in buffers of 16 KiB.
  func slices(_ bytes: [UInt8]) -> [Slice] {
    stride(from: 0, to: bytes.count, by: 16 * 1024).map { start in
      let part = bytes[start..<min(start + 16 * 1024, bytes.count)]
      guard let buffer = store[PoolID(2)].take() else { preconditionFailure("too much at once") }
      let slice = Slice(buffer: buffer, offset: 0, count: part.count)
      store.mutableBytes(slice).copyBytes(from: part)
      return slice
    }
  }

  func send(_ bytes: [UInt8], on stream: StreamRef) {
    for slice in slices(bytes) { tunnel?.send(slice, on: stream) }
  }

  func poll(_ now: Instant) {
    while let tunnel = endpoint.pollTunnel() {
      if self.tunnel == nil || tunnel.role == .hub { self.tunnel = tunnel }
      while let event = tunnel.pollEvent(now: now) {
        handler?(tunnel, event)
        record(event, tunnel, now)
      }
    }
  }

  private func record(_ event: QUICEvent, _ tunnel: QUICTunnel, _ now: Instant) {
    let payload = Array(tunnel.payload)
    switch event {
    case .established: happenings.append(.established)
    case .controlBytes:
      happenings.append(.controlBytes(payload))
      if admits { answer(payload, tunnel) }
    case .resumable: happenings.append(.resumable)
    case .moved: happenings.append(.moved)
    case .ended(let reason):
      happenings.append(.ended(reason))
      tunnel.end()
    case .tunnel(let event): record(event, payload, tunnel, now)
    }
  }

  private func answer(_ line: [UInt8], _ tunnel: QUICTunnel) {
    tunnel.admit()
    if tunnel.role == .hub { tunnel.sendControl(Array("{}\n".utf8)) }
    tunnel.beginMessages(consumed: (line.firstIndex(of: 10) ?? line.count - 1) + 1)
  }

  private func record(
    _ event: TunnelEvent, _ payload: [UInt8], _ tunnel: QUICTunnel, _ now: Instant
  ) {
    switch event {
    case .opened(let stream):
      happenings.append(.opened(stream, String(decoding: payload, as: UTF8.self)))
    case .data(let stream, let slice):
      received[stream, default: []] += store.bytes(slice)
      receivedBytes += Int(slice.count)
      if consumes { tunnel.consumed(Int(slice.count), on: stream, now: now) }
    case .finished(let stream): happenings.append(.finished(stream))
    case .reset(let stream): happenings.append(.reset(stream))
    case .closed(let stream): happenings.append(.closed(stream))
    case .room(let stream): happenings.append(.room(stream))
    case .sustained(let stream): happenings.append(.sustained(stream))
    case .sessionOpened(let stream): happenings.append(.sessionOpened(stream, payload))
    case .datagram(let stream): happenings.append(.datagram(stream, payload))
    case .sessionClosed(let stream): happenings.append(.sessionClosed(stream))
    case .ping: happenings.append(.ping(payload))
    case .pong: happenings.append(.pong(payload))
    case .config: happenings.append(.config(payload))
    case .hello: happenings.append(.hello(payload))
    case .ended: preconditionFailure("a QUIC tunnel ends by its own event")
    }
  }
}

/// A hub, an edge and the path between them.
final class LinkPair {
  static let hubAddress = SocketAddress(IPAddress(v4: 0x0A00_0001), 8443)
  static let edgeAddress = SocketAddress(IPAddress(v4: 0x0A00_0002), 40_000)
  static let line = Array("EDGE e s\n".utf8)

  struct Packet {
    var at: Instant
    var order: UInt64
    var toHub: Bool
    var from: SocketAddress
    var to: SocketAddress
    var ecn: UInt8
    var bytes: [UInt8]
  }

  let context: QUICServerContext
  let clientContext: QUICClientContext
  var hub: End
  var edge: End
  var now = Instant(nanoseconds: 1_000_000_000)
  var path = PathConditions()
  var random: SplitMix64
  /// Set: what the hub sees and answers to, whatever the edge's address is (a NAT).
  var natAddress: SocketAddress?
  var packets: [Packet] = []
  var packetsSent = 0
  var largestPacket = 0
  /// Sees every packet; false loses it.
  var filter: ((Packet) -> Bool)?
  private var order: UInt64 = 0
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)

  init(
    seed: UInt64 = 1, settings: QUICSettings = QUICSettings(), hubSettings: QUICSettings? = nil,
    trust: HubTrust = .pin(hubIdentity.pin), shard: UInt8 = 0, shards: UInt8 = 1
  ) throws {
    random = SplitMix64(seed)
    context = try QUICServerContext(
      identity: hubIdentity, secret: hubSecret, settings: hubSettings ?? settings)
    clientContext = try QUICClientContext(trust: trust, settings: settings)
    let context = self.context
    let clientContext = self.clientContext
    hub = End {
      QUICEndpoint(
        server: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 200 << 20),
        shard: shard, shards: shards)
    }
    edge = End {
      QUICEndpoint(
        client: clientContext, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 200 << 20))
    }
  }

  deinit {
    hub.endpoint.end()
    edge.endpoint.end()
    buffer.deallocate()
  }

  /// Begins a link, with the EDGE line.
  @discardableResult
  func connect(resuming: QUICResumption? = nil, from address: SocketAddress = edgeAddress)
    -> QUICTunnel
  {
    let made = edge.endpoint.connect(
      to: Self.hubAddress, from: address, serverName: "hub.example", resuming: resuming, now: now)
    guard let tunnel = made else { preconditionFailure("no place for a link") }
    edge.tunnel = tunnel
    tunnel.sendControl(Self.line)
    return tunnel
  }

  /// Begins a link and runs until both ends are up.
  func establish() throws {
    connect()
    try #require(run(for: .seconds(5)) { self.isUp }, "no link: \(edge.happenings)")
  }

  var isUp: Bool {
    edge.happenings.contains(.controlBytes(Array("{}\n".utf8))) && hub.tunnel?.isEstablished == true
  }

  /// The hub is started anew: it knows nothing but its secret.
  func restartHub() {
    hub.endpoint.end()
    let context = self.context
    hub = End {
      QUICEndpoint(
        server: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 200 << 20))
    }
  }

  // MARK: Time

  /// Lets everything happen that happens within `interval`, or until `condition` holds, which it
  /// returns.
  @discardableResult
  func run(for interval: Interval, until condition: () -> Bool = { false }) -> Bool {
    let end = now + interval
    while true {
      exchange()
      if condition() { return true }
      let next = [
        packets.map(\.at).min(), hub.endpoint.nextDeadline, edge.endpoint.nextDeadline,
      ].compactMap { $0 }.min()
      guard let next, next <= end else {
        now = end
        exchange()
        return condition()
      }
      now = max(now, next)
      deliver()
      hub.endpoint.handleDeadline(now: now)
      edge.endpoint.handleDeadline(now: now)
    }
  }

  /// Polls both ends until they have nothing to say at this instant.
  func exchange() {
    repeat {
      hub.poll(now)
      edge.poll(now)
    } while transmit(hub) || transmit(edge)
  }

  private func transmit(_ end: End) -> Bool {
    var isAny = false
    while let batch = end.endpoint.pollPackets(into: buffer, now: now) {
      isAny = true
      var offset = 0
      while offset < batch.byteCount {
        let count = min(batch.segmentBytes, batch.byteCount - offset)
        send(Array(buffer[offset..<offset + count]), batch, toHub: end === edge)
        offset += count
      }
    }
    return isAny
  }

  private func send(_ bytes: [UInt8], _ batch: QUICPacketBatch, toHub: Bool) {
    packetsSent += 1
    largestPacket = max(largestPacket, bytes.count)
    var packet = Packet(
      at: now, order: 0, toHub: toHub, from: batch.local, to: batch.remote, ecn: batch.ecn,
      bytes: bytes)
    if let natAddress {
      if toHub { packet.from = natAddress } else { packet.to = edge.tunnel?.local ?? packet.to }
    }
    guard !path.isCut, bytes.count <= path.mtu, !random.chance(path.lossPercent),
      filter?(packet) ?? true
    else { return }
    for _ in 0..<(random.chance(path.duplicatePercent) ? 2 : 1) {
      order += 1
      packet.order = order
      let jitter = path.jitter.nanoseconds
      packet.at =
        now + path.delay
        + Interval(nanoseconds: jitter > 0 ? Int64.random(in: 0...jitter, using: &random) : 0)
      packets.append(packet)
    }
  }

  private func deliver() {
    let due = packets.filter { $0.at <= now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
    packets.removeAll { $0.at <= now }
    for packet in due { inject(packet) }
  }

  /// Hands a packet to its end now.
  func inject(_ packet: Packet) {
    let end = packet.toHub ? hub : edge
    _ = packet.bytes.withUnsafeBytes {
      end.endpoint.receive(
        $0, segmentBytes: $0.count, from: packet.from, to: packet.to, ecn: packet.ecn, now: now)
    }
    end.poll(now)
  }

  // MARK: Streams

  /// Opens a stream at the edge and returns both ends' names for it.
  func openStream(_ number: Int = 1) throws -> (edge: StreamRef, hub: StreamRef) {
    let known = Set(hub.streams)
    let header = Array("PROXY TCP4 192.0.2.1 192.0.2.2 \(number) 443\r\n".utf8)
    let opened = header.withUnsafeBytes {
      edge.tunnel?.open(header: $0, owner: SlotID(index: 1, generation: 1), now: now)
    }
    let stream = try #require(opened)
    try #require(run(for: .seconds(5)) { self.hub.streams.count > known.count })
    let other = try #require(hub.streams.last { !known.contains($0) })
    hub.tunnel?.accept(other, owner: SlotID(index: 2, generation: 1))
    return (stream, other)
  }
}

extension QUICEndpoint {
  var isQuiet: Bool { !hasOutput }
}

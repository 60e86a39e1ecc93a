// One end of a QUIC link as the fuzzer drives it: it takes whatever comes, and lets the input say
// what goes.

import RIBase
import RIQUIC
import RITunnel

#if DEBUG || FUZZING
  final class QUICEnd {
    static let pools = QUICPools(receive: PoolID(0), hold: PoolID(1))
    /// For slices to send, and for packets.
    static let (slices, packets) = (PoolID(2), PoolID(3))

    let store = BufferStore([
      BufferPoolShape(count: 16, bytes: 64 * 1024), BufferPoolShape(count: 64, bytes: 16 * 1024),
      BufferPoolShape(count: 64, bytes: 16 * 1024), BufferPoolShape(count: 8, bytes: 70 * 1024),
    ])
    let endpoint: QUICEndpoint
    var tunnel: QUICTunnel?
    var streams: [StreamRef] = []
    var isUp = false
    /// What a hub's end answers the edge's line with.
    var answer = Array("{}\n".utf8)

    init(_ make: (BufferStore) -> QUICEndpoint) { endpoint = make(store) }

    static func hub() -> QUICEnd {
      QUICEnd {
        QUICEndpoint(
          server: FuzzTLS.quicServer, store: $0, pools: pools,
          budget: MemoryBudget(bytes: 1 << 20))
      }
    }

    static func edge() -> QUICEnd {
      QUICEnd {
        QUICEndpoint(
          client: FuzzTLS.quicClient, store: $0, pools: pools,
          budget: MemoryBudget(bytes: 1 << 20))
      }
    }

    func poll(_ now: Instant) {
      while let tunnel = endpoint.pollTunnel() {
        if self.tunnel !== tunnel { streams = [] }
        self.tunnel = tunnel
        while let event = tunnel.pollEvent(now: now) { take(event, tunnel, now) }
      }
    }

    private func take(_ event: QUICEvent, _ tunnel: QUICTunnel, _ now: Instant) {
      switch event {
      case .controlBytes:
        let line = tunnel.payload
        let end = line.firstIndex(of: 0x0A).map { $0 + 1 } ?? line.count
        tunnel.usesUDPStreams = true
        tunnel.admit()
        if tunnel.role == .hub { tunnel.sendControl(answer) }
        tunnel.beginMessages(consumed: end)
        isUp = true
      case .tunnel(.opened(let stream)), .tunnel(.sessionOpened(let stream)):
        tunnel.accept(stream, owner: SlotID(index: 0, generation: 1))
        streams.append(stream)
      case .tunnel(.data(let stream, let slice)):
        must(Int(slice.count) == store.bytes(slice).count, "a slice of what it says")
        tunnel.consumed(Int(slice.count), on: stream, now: now)
      case .tunnel(.ping): tunnel.sendPong(tunnel.payload)
      case .ended: tunnel.end()
      default: break
      }
    }

    func slice(_ bytes: [UInt8]) -> Slice? {
      guard let buffer = store[Self.slices].take() else { return nil }
      let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
      store.mutableBytes(slice).copyBytes(from: bytes)
      return slice
    }

    func end() {
      tunnel?.end()
      endpoint.end()
      for pool in 0..<store.poolCount {
        must(store[PoolID(UInt8(pool))].usedCount == 0, "every buffer comes back")
      }
      must(store.nodesInUse == 0, "every queue is empty")
    }
  }

  // MARK: What an input has it say

  extension QUICEnd {
    /// One word of the input to the other end.
    func say(_ input: inout FuzzInput, header: (inout FuzzInput) -> [UInt8], _ now: Instant) {
      guard let tunnel, isUp else { return }
      let stream = streams.isEmpty ? nil : streams[input.choice(streams.count)]
      switch input.choice(9) {
      case 0 where tunnel.role == .edge: open(tunnel, input.flag(), header(&input), now)
      case 1: send([UInt8](repeating: 7, count: 64 * input.choice(256)), stream)
      case 2, 3: send(input.take(1 + input.choice(200)), stream)
      case 4: if let stream { tunnel.finish(stream) }
      case 5: if let stream { tunnel.reset(stream) }
      case 6:
        if let stream, let slice = slice(input.take(input.choice(200))) {
          tunnel.sendDatagram(slice, on: stream)
        }
      case 7: tunnel.sendControl(message(&input))
      default: tunnel.sendControl(input.take(input.choice(40)))
      }
    }

    private func send(_ bytes: [UInt8], _ stream: StreamRef?) {
      if let stream, !bytes.isEmpty, let slice = slice(bytes) { tunnel?.send(slice, on: stream) }
    }

    private func open(
      _ tunnel: QUICTunnel, _ isStream: Bool, _ header: [UInt8], _ now: Instant
    ) {
      guard !header.isEmpty else { return }
      let opened = header.withUnsafeBytes {
        isStream
          ? tunnel.open(header: $0, owner: .none, now: now)
          : tunnel.openSession(header: $0, owner: .none, now: now)
      }
      if let opened { streams.append(opened) }
    }

    /// A control message that could be, or one whose length lies.
    private func message(_ input: inout FuzzInput) -> [UInt8] {
      let type = [0x06, 0x07, 0x08, 0x10, input.byte()][input.choice(5)]
      let payload = input.take(input.choice(120))
      let length = input.byte() == 0xFF ? input.word() : UInt32(payload.count)
      return [type] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + payload
    }
  }
#endif

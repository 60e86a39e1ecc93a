// QUIC: packets of strangers at a hub, and a link whose peer seals nonsense: its packets are
// authentic, its frames are what the input makes of them.

import RIBase
import RICrypto
import RIQUIC
import RITunnel

#if DEBUG || FUZZING
  func fuzzQUIC(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let pair = QUICPair()
    if input.choice(4) == 0 {
      while !input.isAtEnd { pair.inject(input.take(1 + Int(input.byte()) * 6)) }
      must(pair.hub.tunnel == nil, "a stranger's bytes are no handshake")
    } else {
      pair.establish()
      let hostile = input.flag() ? pair.edge : pair.hub
      for _ in 0..<64 where !input.isAtEnd { pair.step(&input, hostile) }
    }
    pair.end()
  }

  private final class QUICPair {
    private static let hubAddress = SocketAddress(.loopbackV4, 1)
    private static let edgeAddress = SocketAddress(.loopbackV4, 2)

    let hub = QUICEnd.hub()
    let edge = QUICEnd.edge()
    private var now = Instant(nanoseconds: 1_000_000_000)
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)

    deinit { buffer.deallocate() }

    func establish() {
      edge.tunnel = edge.endpoint.connect(
        to: Self.hubAddress, from: Self.edgeAddress, serverName: nil, now: now)
      edge.tunnel?.sendControl(Array("EDGE e s\n".utf8))
      for _ in 0..<20 where !(hub.isUp && edge.isUp) { exchange() }
      must(hub.isUp && edge.isUp, "no link")
    }

    /// Bytes of a stranger.
    func inject(_ bytes: [UInt8]) {
      _ = bytes.withUnsafeBytes {
        hub.endpoint.receive(
          $0, segmentBytes: $0.count, from: Self.edgeAddress, to: Self.hubAddress, ecn: 0, now: now)
      }
      hub.poll(now)
      exchange()
    }

    func step(_ input: inout FuzzInput, _ hostile: QUICEnd) {
      let end = input.flag() ? edge : hub
      let stream = end.streams.isEmpty ? nil : end.streams[input.choice(end.streams.count)]
      switch input.choice(10) {
      case 0: open(&input)
      case 1, 2:
        if let stream, let slice = end.slice(input.take(1 + input.choice(200))) {
          end.tunnel?.send(slice, on: stream)
        }
      case 3: if let stream { end.tunnel?.finish(stream) }
      case 4: if let stream { end.tunnel?.reset(stream) }
      case 5:
        if let stream, let slice = end.slice(input.take(input.choice(200))) {
          end.tunnel?.sendDatagram(slice, on: stream)
        }
      case 6: end.tunnel?.sendControl(input.take(input.choice(40)))
      default: break
      }
      // The next frames of the hostile end: from the input, at a place that the input says.
      let nonsense = input.take(input.choice(24))
      let place = Int(input.byte())
      exchange(hostile) { frames in
        for (offset, byte) in nonsense.enumerated() where place + offset < frames.count {
          frames[place + offset] = byte
        }
      }
      now = now + .milliseconds(Int64(input.choice(64)))
    }

    private func open(_ input: inout FuzzInput) {
      let header = input.flag() ? Array("PROXY X\r\n".utf8) : input.take(1 + input.choice(50))
      let opened = header.withUnsafeBytes {
        input.flag()
          ? edge.tunnel?.open(header: $0, owner: .none, now: now)
          : edge.tunnel?.openSession(header: $0, owner: .none, now: now)
      }
      if let opened { edge.streams.append(opened) }
    }

    private func exchange(
      _ hostile: QUICEnd? = nil, _ tamper: QUICTampering.Tamper? = nil
    ) {
      for _ in 0..<4 {
        for (from, to) in [(edge, hub), (hub, edge)] {
          from.poll(now)
          QUICTampering.set(from === hostile ? tamper : nil)
          while let batch = from.endpoint.pollPackets(into: buffer, now: now) {
            QUICTampering.set(nil)
            _ = to.endpoint.receive(
              UnsafeRawBufferPointer(rebasing: buffer[..<batch.byteCount]),
              segmentBytes: batch.segmentBytes, from: batch.local, to: batch.remote,
              ecn: batch.ecn, now: now)
            to.poll(now)
            QUICTampering.set(from === hostile ? tamper : nil)
          }
          QUICTampering.set(nil)
        }
        now = now + .milliseconds(1)
        hub.endpoint.handleDeadline(now: now)
        edge.endpoint.handleDeadline(now: now)
      }
    }

    func end() {
      hub.end()
      edge.end()
    }
  }
#else
  func fuzzQUIC(_ bytes: UnsafeRawBufferPointer) {}
#endif

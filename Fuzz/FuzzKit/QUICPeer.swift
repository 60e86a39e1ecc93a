// A hand-driven end of a QUIC link on the simulated network.

import RIBase
import RIQUIC
import RIRing
import RITunnel

#if DEBUG || FUZZING
  /// An endpoint with its socket: an edge's that dials a hub, or a hub's that waits for an edge.
  final class QUICPeer {
    private enum Step: UInt64 { case receive, send }

    let end: QUICEnd
    let ring: SimulatedRing
    private var socket: Socket?
    private var local = SocketAddress(.anyV4, 0)
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_000, alignment: 64)
    /// Sees each packet of this end before it is sealed, until it is taken away.
    var tamper: QUICTampering.Tamper?

    private init(_ kernel: SimulatedKernel, _ host: SimulatedHost, _ end: QUICEnd) {
      self.end = end
      ring = SimulatedRing(kernel: kernel, host: host, store: end.store)
    }

    deinit { buffer.deallocate() }

    static func dialling(
      _ kernel: SimulatedKernel, _ host: SimulatedHost, from ip: IPAddress, _ hub: SocketAddress,
      saying line: [UInt8]
    ) -> QUICPeer {
      let peer = QUICPeer(kernel, host, .edge())
      peer.bind(SocketAddress(ip, 0))
      peer.end.tunnel = peer.end.endpoint.connect(
        to: hub, from: peer.local, serverName: nil, now: peer.ring.updateNow())
      peer.end.tunnel?.sendControl(line)
      peer.act()
      return peer
    }

    static func listening(
      _ kernel: SimulatedKernel, _ host: SimulatedHost, _ address: SocketAddress,
      answering line: [UInt8]
    ) -> QUICPeer {
      let peer = QUICPeer(kernel, host, .hub())
      peer.end.answer = line
      peer.bind(address)
      return peer
    }

    private func bind(_ address: SocketAddress) {
      guard let socket = try? ring.bindDatagram(to: address, reusePort: false) else { return }
      self.socket = socket
      local = ring.localAddress(of: socket) ?? address
      receive()
    }

    var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

    private func receive() {
      guard let socket else { return }
      ring.receiveDatagrams(on: socket, into: QUICEnd.packets, token: Token(Step.receive.rawValue))
    }

    /// After something was said.
    func act() { tick() }

    private func tick() {
      for completion in ring.wait(until: end.endpoint.nextDeadline) {
        guard completion.token.rawValue == Step.receive.rawValue, let socket else { continue }
        if let datagram = ring.datagram(in: completion, of: socket) { take(datagram) }
        if let slice = completion.slice { end.store.release(slice) }
        if !completion.more { receive() }
      }
      end.endpoint.handleDeadline(now: ring.now)
      end.poll(ring.now)
      flush()
    }

    private func take(_ datagram: Datagram) {
      _ = end.endpoint.receive(
        end.store.bytes(datagram.payload), segmentBytes: datagram.segmentBytes,
        from: datagram.source, to: local, ecn: datagram.congestionMarks, now: ring.now)
      end.poll(ring.now)
    }

    private func flush() {
      guard let socket else { return }
      QUICTampering.set(tamper)
      defer { QUICTampering.set(nil) }
      while let batch = end.endpoint.pollPackets(into: buffer, now: ring.now) {
        guard let handle = end.store[QUICEnd.packets].take() else { return }
        let slice = Slice(buffer: handle, offset: 0, count: batch.byteCount)
        end.store.mutableBytes(slice).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: buffer[..<batch.byteCount]))
        ring.sendDatagram(
          slice, segmentBytes: batch.segmentBytes, on: socket, to: batch.remote, from: nil,
          congestionMarks: batch.ecn, token: Token(Step.send.rawValue))
        end.store.release(slice)
      }
    }

    /// Ends without a word.
    func hangUp() {
      end.tunnel?.end()
      end.tunnel = nil
      end.streams = []
    }
  }

  extension QUICPeer {
    /// Has the next packets hold what the input says, where it says.
    func tamperOnce(_ input: inout FuzzInput) {
      let nonsense = input.take(input.choice(24))
      let place = Int(input.byte())
      tamper = { frames in
        for (offset, byte) in nonsense.enumerated() where place + offset < frames.count {
          frames[place + offset] = byte
        }
      }
      act()
      tamper = nil
    }
  }
#endif

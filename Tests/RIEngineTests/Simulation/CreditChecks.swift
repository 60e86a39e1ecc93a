// Flow control of streams whose two ends are both in the simulation: by the tunnels' own counts,
// and by what really went in at one end and came out at the other.
//
//   local socket ─▶ queue ─▶ DATA ─▶ … ─▶ DATA ─▶ local socket         sent, and what of it is out
//                    │        └───── in the tunnel ─────┘ │
//                 sender                             receiver ─▶ credit ─▶ sender

import RIBase
import RIRing
import RITunnel
import RIWire

@testable import RIEngine
@testable import RITunnel

/// One end of a tunnel.
private struct TunnelEnd {
  var engine: EngineUnderTest
  var link: Link
  var tunnel: FramedTunnel
}

/// One end of a stream.
private struct StreamEnd {
  var end: TunnelEnd
  var slot: SlotID

  var state: StreamState { end.tunnel.streams[slot] }

  /// The stream's local connection; nil when it is closing or was closed.
  var connection: Connection? {
    let owner = end.tunnel.owner(of: StreamRef(slot: slot))
    guard end.engine.shard.connections.contains(owner) else { return nil }
    let connection = end.engine.shard.connections[owner]
    return connection.flags.contains(.closing) ? nil : connection
  }

  var traffic: SimulatedTraffic {
    connection.flatMap { end.engine.ring.kernel.traffic(of: $0.socket) }
      ?? SimulatedTraffic(sentBytes: 0, receivedBytes: 0)
  }

  /// Bytes of the PROXY line that goes to the target ahead of the client's.
  var headerBytes: Int {
    guard end.tunnel.role == .edge, let socket = connection?.socket,
      let source = end.engine.ring.peerAddress(of: socket),
      let destination = end.engine.ring.localAddress(of: socket)
    else { return 0 }
    return ProxyHeader(source: source, destination: destination).v1Bytes
  }
}

/// What is wrong with the credit of the streams between an edge and the hub now.
func creditProblems(edge: EngineUnderTest, hub: EngineUnderTest) -> [String] {
  var problems: [String] = []
  for link in edge.readyLinks {
    let local = link.tls.flatMap { edge.ring.localAddress(of: $0.socket) }
    guard let other = hub.readyLinks.first(where: { $0.peer == local }),
      let near = link.tunnel?.framed, let far = other.tunnel?.framed
    else { continue }
    let ends = (
      TunnelEnd(engine: edge, link: link, tunnel: near),
      TunnelEnd(engine: hub, link: other, tunnel: far)
    )
    for slot in near.streams.ids where near.streams[slot].phase == .live {
      let id = near.streams[slot].id
      guard let there = far.table.find(id), far.streams[there].phase == .live else { continue }
      let a = StreamEnd(end: ends.0, slot: slot)
      let b = StreamEnd(end: ends.1, slot: there)
      guard a.connection != nil, b.connection != nil else { continue }
      let header = a.headerBytes
      if let problem = creditProblem(from: a, to: b, headerBytes: header) {
        problems.append("stream \(id) up: \(problem)")
      }
      if let problem = creditProblem(from: b, to: a, headerBytes: 0) {
        problems.append("stream \(id) down: \(problem)")
      }
    }
  }
  return problems
}

/// The rules of SPEC 2.4, or of `autoWindow`, for one direction of one stream.
private func creditProblem(
  from sender: StreamEnd, to receiver: StreamEnd, headerBytes: Int
) -> String? {
  let sent = sender.traffic.receivedBytes - Int(sender.state.queue.byteCount)
  let written = max(0, receiver.traffic.sentBytes - headerBytes)
  let window = sender.state.sendWindow
  let received = receiver.state.receiveWindow
  let size = Int(window.size)
  let inFlight = window.inFlight
  if received.isAuto {
    // What was granted is either the sender's, or on its way to it, or was used for what has been
    // sent and is not credited yet: at least what is still in the tunnel.
    let (granted, credit) = (Int(received.window), Int(window.credit))
    if sent - written + credit > granted || credit < 0 {
      return "\(sent - written) bytes in the tunnel, credit \(credit), \(granted) granted"
    }
    if Int(received.outstanding) + credit > granted {
      return "\(received.outstanding) outstanding, credit \(credit), \(granted) granted"
    }
    return received.unreturned < 0 || received.buffered < 0
      ? "more consumed than arrived: \(received)" : nil
  }

  if sent - written > size { return "\(sent - written) bytes in the tunnel, window \(size)" }
  if !(0...size).contains(inFlight) { return "\(inFlight) in flight, window \(size)" }
  if inFlight < sent - written {
    return "credit for more than was written: \(inFlight) in flight, \(sent) sent, \(written) out"
  }
  if Int(received.outstanding) > inFlight {
    return "\(received.outstanding) outstanding, \(inFlight) in flight"
  }
  if received.unreturned < 0 || received.buffered < 0 {
    return "more consumed than arrived: \(received)"
  }
  return nil
}

extension ProxyHeader {
  fileprivate var v1Bytes: Int {
    withUnsafeTemporaryAllocation(byteCount: Limits.openPayloadBytesMax, alignment: 1) {
      writeV1(into: $0)
    }
  }
}

// The exchange of lines that opens a tunnel (SPEC 2.1), as each side sees it. The 10 s it has are
// the engine's timer.

import RIBase
import RIWire

/// The hub's side: one line in, one line out.
public struct HubHandshake {
  public enum Verdict: Sendable {
    case needsMore
    /// Send `answer`; the tunnel is up.
    case accepted(AllowedEdge, answer: [UInt8])
    /// Send `answer`, then close. `edgeID` is what the peer claims to be.
    case refused(edgeID: String, answer: [UInt8])
    /// Close without a word.
    case malformed(HandshakeError)
  }

  private let offer: Extensions
  private var reader = LineReader(limit: Limits.handshakeLineBytesMax)

  /// `offer` is what the hub's answer names.
  public init(offering offer: Extensions = []) { self.offer = offer }

  /// Takes plaintext of the edge. `consumed` bytes belong to the handshake; once the verdict is
  /// `accepted` the rest are frames.
  public mutating func receive(
    _ bytes: UnsafeRawBufferPointer, edges: AllowedEdges
  ) -> (verdict: Verdict, consumed: Int) {
    switch reader.receive(bytes) {
    case .needsMore: (.needsMore, bytes.count)
    case .tooLong: (.malformed(.lineTooLong), bytes.count)
    case .line(let line, let consumed): (judge(line, edges), consumed)
    }
  }

  private func judge(_ line: [UInt8], _ edges: AllowedEdges) -> Verdict {
    do throws(HandshakeError) {
      let line = try EdgeLine(parsing: line)
      guard let edge = edges.authenticate(line) else {
        return .refused(edgeID: line.edgeID, answer: EdgeConfigMessage.unauthorized.encodedLine())
      }
      return .accepted(edge, answer: edge.message(offering: offer).encodedLine())
    } catch {
      return .malformed(error)
    }
  }
}

/// The edge's side: one line out, one line in.
public struct EdgeHandshake {
  public enum Verdict: Sendable {
    case needsMore
    /// The tunnel is up.
    case accepted(EdgeConfigMessage)
    /// The hub's reason, as it gave it; `unauthorized` is the one that SPEC 2.1 knows.
    case refused(reason: String)
    case tooLong
    case malformed(WireError)
  }

  /// To send once TLS is up.
  public let line: [UInt8]

  private var reader = LineReader(limit: Limits.configPayloadBytesMax)

  public init(edgeID: String, secret: Secret) throws(HandshakeError) {
    line = try EdgeLine(edgeID: edgeID, secret: secret).encoded()
  }

  /// Takes plaintext of the hub. `consumed` bytes belong to the handshake; once the verdict is
  /// `accepted` the rest are frames.
  public mutating func receive(
    _ bytes: UnsafeRawBufferPointer
  ) -> (verdict: Verdict, consumed: Int) {
    switch reader.receive(bytes) {
    case .needsMore: (.needsMore, bytes.count)
    case .tooLong: (.tooLong, bytes.count)
    case .line(let line, let consumed): (judge(line), consumed)
    }
  }

  private func judge(_ line: [UInt8]) -> Verdict {
    do throws(WireError) {
      let message = try EdgeConfigMessage(parsing: line)
      if let reason = message.error { return .refused(reason: reason) }
      return .accepted(message)
    } catch {
      return .malformed(error)
    }
  }
}

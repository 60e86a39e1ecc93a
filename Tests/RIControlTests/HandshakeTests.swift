// The exchange of lines, in every split of the bytes.

import RIBase
import RIWire
import Testing

@testable import RIControl

@Suite struct HandshakeTests {
  private let edges: AllowedEdges
  private let secret: Secret

  init() throws {
    secret = try Secret("right")
    edges = AllowedEdges([AllowedEdge(id: "e1", secret: secret, listenPorts: [80, 443])])
  }

  /// What the hub says to bytes that come in pieces, and how many of them it took.
  private func hub(
    _ text: String, piece: Int
  ) -> (verdict: HubHandshake.Verdict, consumed: Int) {
    var handshake = HubHandshake()
    let bytes = Array(text.utf8)
    var taken = 0
    while taken < bytes.count {
      let result = bytes[taken..<min(taken + piece, bytes.count)].withUnsafeBytes {
        handshake.receive($0, edges: edges)
      }
      taken += result.consumed
      guard case .needsMore = result.verdict else { return (result.verdict, taken) }
    }
    return (.needsMore, taken)
  }

  @Test(arguments: [1, 2, 7, 1_000])
  func hubAcceptsAndLeavesTheFramesAlone(piece: Int) throws {
    let line = "EDGE e1 right\n"
    let (verdict, consumed) = hub(line + "\0\0\0\u{1}frames\n", piece: piece)
    guard case .accepted(let edge, let answer) = verdict else {
      Issue.record("not accepted: \(verdict)")
      return
    }
    #expect(consumed == line.utf8.count)
    #expect(edge.id == "e1")
    let message = try EdgeConfigMessage(parsing: answer.dropLast())
    #expect(message.listenPorts == [80, 443])
    #expect(message.error == nil)
    #expect(answer.last == 0x0A)
  }

  @Test func hubNamesItsOffer() throws {
    for offer in [Extensions.all, .drain, []] {
      var handshake = HubHandshake(offering: offer)
      let verdict = Array("EDGE e1 right\n".utf8).withUnsafeBytes {
        handshake.receive($0, edges: edges).verdict
      }
      guard case .accepted(_, let answer) = verdict else {
        Issue.record("not accepted: \(verdict)")
        return
      }
      #expect(try EdgeConfigMessage(parsing: answer.dropLast()).extensions == offer.names)
      // Without an offer the line is the published one, to the byte.
      let names = String(decoding: answer, as: UTF8.self).contains("extensions")
      #expect(names == !offer.isEmpty)
    }
  }

  @Test(arguments: ["EDGE e1 wrong\n", "EDGE e2 right\n"])
  func hubRefusesInOneWay(line: String) {
    guard case .refused(_, let answer) = hub(line, piece: 5).verdict else {
      Issue.record("not refused")
      return
    }
    #expect(String(decoding: answer, as: UTF8.self) == #"{"error":"unauthorized"}"# + "\n")
  }

  @Test(arguments: [
    "GET / HTTP/1.1\n", "EDGE e1\n", "EDGE e1 a b\n", "EDGE  right\n", "\n",
    "EDGE e\u{1} right\n", String(repeating: "x", count: 5_000),
  ])
  func hubDropsWhatIsNoEdgeLine(line: String) {
    guard case .malformed = hub(line, piece: 999).verdict else {
      Issue.record("not malformed")
      return
    }
  }

  @Test func halfALineWaits() {
    guard case .needsMore = hub("EDGE e1 righ", piece: 3).verdict else {
      Issue.record("did not wait")
      return
    }
  }

  private func edge(_ text: String) throws -> (verdict: EdgeHandshake.Verdict, consumed: Int) {
    var handshake = try EdgeHandshake(edgeID: "e1", secret: secret)
    #expect(handshake.line == Array("EDGE e1 right\n".utf8))
    return Array(text.utf8).withUnsafeBytes { handshake.receive($0) }
  }

  @Test func edgeTakesItsPortsAndLeavesTheFramesAlone() throws {
    let line = #"{"listenPorts":[80],"future":{"a":[1]}}"# + "\n"
    let (verdict, consumed) = try edge(line + "frames")
    guard case .accepted(let message) = verdict else {
      Issue.record("not accepted")
      return
    }
    #expect(message.listenPorts == [80])
    #expect(consumed == line.utf8.count)
  }

  @Test func edgeReportsARefusal() throws {
    guard case .refused(let reason) = try edge(#"{"error":"unauthorized"}"# + "\n").verdict else {
      Issue.record("not refused")
      return
    }
    #expect(reason == "unauthorized")
  }

  @Test(arguments: ["HTTP/1.1 400 Bad Request\r\n", "[]\n", #"{"listenPorts":"80"}"# + "\n"])
  func edgeDropsWhatIsNoConfig(line: String) throws {
    guard case .malformed = try edge(line).verdict else {
      Issue.record("not malformed")
      return
    }
  }

  @Test func edgeTakesNoMoreThanAConfigMayHave() throws {
    var handshake = try EdgeHandshake(edgeID: "e1", secret: secret)
    let chunk = [UInt8](repeating: 0x20, count: 1 << 20)
    for _ in 0..<4 {
      let verdict = chunk.withUnsafeBytes { handshake.receive($0).verdict }
      guard case .needsMore = verdict else {
        Issue.record("gave up early")
        return
      }
    }
    guard case .tooLong = chunk.withUnsafeBytes({ handshake.receive($0).verdict }) else {
      Issue.record("took too much")
      return
    }
  }
}

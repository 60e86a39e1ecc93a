// What is read from lines, JSON, tokens, PROXY headers and STUN answers. Nothing traps, and what
// was read is what is written again.

import RIBase
import RIControl
import RIWire

private let knownEdge = AllowedEdge(
  id: "edge-1", secret: secret("secret"), listenPorts: [443], listenPortsUdp: [53])

/// A secret that is known to be one.
func secret(_ text: String) -> Secret {
  do { return try Secret(text) } catch { fatalError("fuzz: no secret: \(error)") }
}

/// The lines of both sides, in any split.
func fuzzLines(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let seed = input.word()
  let wire = input.rest()
  if let line = try? EdgeLine(parsing: wire) {
    let again = try? EdgeLine(parsing: line.encoded().dropLast())
    must(again == line, "an EDGE line changes on its way")
  }
  let edges = AllowedEdges([knownEdge])
  must(
    hubSays(split(wire, seed: seed), edges) == hubSays([wire[...]], edges),
    "a split changes what the hub answers")
  must(
    edgeSees(split(wire, seed: seed)) == edgeSees([wire[...]]),
    "a split changes what the edge reads")
}

private func hubSays(_ pieces: [ArraySlice<UInt8>], _ edges: AllowedEdges) -> String {
  var handshake = HubHandshake(offering: .all)
  var taken = 0
  for piece in pieces {
    let (verdict, consumed) = Array(piece).withUnsafeBytes {
      handshake.receive($0, edges: edges)
    }
    must(consumed <= piece.count, "more taken than given")
    taken += consumed
    switch verdict {
    case .needsMore: continue
    case .accepted(let edge, _): return "accepted \(edge.id) \(taken)"
    case .refused(let id, _): return "refused \(id) \(taken)"
    // How much of a malformed line has come is of no matter.
    case .malformed(let error): return "malformed \(error)"
    }
  }
  return "needs more"
}

private func edgeSees(_ pieces: [ArraySlice<UInt8>]) -> String {
  guard var handshake = try? EdgeHandshake(edgeID: "edge-1", secret: knownEdge.secret) else {
    return "no handshake"
  }
  var taken = 0
  for piece in pieces {
    let (verdict, consumed) = Array(piece).withUnsafeBytes { handshake.receive($0) }
    must(consumed <= piece.count, "more taken than given")
    taken += consumed
    switch verdict {
    case .needsMore: continue
    case .accepted(let message): return "accepted \(message) \(taken)"
    case .refused(let reason): return "refused \(reason) \(taken)"
    case .tooLong: return "too long"
    case .malformed(let error): return "malformed \(error)"
    }
  }
  return "needs more"
}

/// The JSON of CONFIG and HELLO.
func fuzzConfig(_ bytes: UnsafeRawBufferPointer) {
  let wire = Array(bytes)
  if let value = try? JSONValue(parsing: wire) {
    let again = try? JSONValue(parsing: value.encoded())
    must(again == value, "JSON changes on its way")
  }
  if let message = try? EdgeConfigMessage(parsing: wire) {
    let again = try? EdgeConfigMessage(parsing: message.encodedFramePayload())
    must(again == message, "a CONFIG changes on its way")
    must(message.listenPorts.count <= 65_536, "more ports than there are")
    if let firewall = message.firewallConfig { checkFirewall(firewall) }
  }
  if let hello = try? HelloMessage(parsing: wire) {
    let again = try? HelloMessage(parsing: hello.encodedFramePayload())
    must(again == hello, "a HELLO changes on its way")
    _ = Extensions(names: hello.extensions)
  }
}

func fuzzToken(_ bytes: UnsafeRawBufferPointer) {
  let text = String(decoding: bytes, as: UTF8.self)
  do throws(TokenError) {
    let token = try ConnectionToken(decoding: text)
    let again = try ConnectionToken(decoding: token.encoded())
    must(again == token, "a token changes on its way")
    must(!"\(token)".contains(token.secret.revealed) || token.secret.revealed.count < 8, "a secret")
  } catch {
    _ = "\(error)"
  }
  // The same bytes as the JSON within a token.
  let wrapped = base64URL(Array(bytes))
  if let token = try? ConnectionToken(decoding: wrapped) {
    must((try? ConnectionToken(decoding: token.encoded())) == token, "a token changes on its way")
  }
}

private func base64URL(_ bytes: [UInt8]) -> String {
  let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
  var text = ""
  var at = 0
  while at < bytes.count {
    let group = bytes[at..<min(at + 3, bytes.count)]
    let word = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
    for place in 0...group.count { text.append(digits[word >> (18 - 6 * place) & 63]) }
    at += 3
  }
  return text
}

/// PROXY v1 and v2, as an edge's OPEN and UDP_OPEN carry them.
func fuzzProxy(_ bytes: UnsafeRawBufferPointer) {
  if let header = try? ProxyHeader(parsingV1: bytes) {
    let again = header.encodedV1()
    must(again.count <= ProxyHeader.v1BytesMax, "a line longer than PROXY v1 allows")
    let read = again.withUnsafeBytes { try? ProxyHeader(parsingV1: $0) }
    must(read == header, "a PROXY v1 line changes on its way")
  }
  for transport in [ProxyHeader.Transport.stream, .datagram] {
    guard let header = try? ProxyHeader(parsingV2: bytes, transport: transport) else { continue }
    let again = header.encodedV2(transport: transport)
    must(again.count <= ProxyHeader.v2BytesMax, "a header longer than PROXY v2 makes it")
    let read = again.withUnsafeBytes { try? ProxyHeader(parsingV2: $0, transport: transport) }
    must(read == header, "a PROXY v2 header changes on its way")
  }
  var settings = HubSettings()
  settings.targets = [TargetRule(port: 443, host: "target")]
  if case .success(let admission) = admitStream(header: bytes, edge: knownEdge, settings: settings)
  {
    must(admission.header.destination.port == 443, "a port of another edge")
  }
  if case .success(let admission) = admitSession(
    header: bytes, edge: knownEdge, settings: settings)
  {
    must(admission.header.destination.port == 53, "a port of another edge")
  }
}

/// An answer to a request whose id the input knows or does not.
func fuzzSTUN(_ bytes: UnsafeRawBufferPointer) {
  var number: UInt64 = 0x0102_0304_0506_0708
  let id = STUNTransactionID {
    number = number &* 3
    return number
  }
  _ = STUNMessage.answer(to: id, in: bytes)
  // The same behind the header of a true answer: what gets past the first checks.
  var answer = STUNMessage.bindingRequest(id)
  guard answer.count >= 20 else { return }
  answer.removeLast(answer.count - 20)
  let attributes = Array(bytes.prefix(1_400))
  answer[0] = 0x01
  answer[1] = (attributes.first ?? 0) & 1 == 0 ? 0x01 : 0x11
  answer[2] = UInt8(attributes.count >> 8)
  answer[3] = UInt8(truncatingIfNeeded: attributes.count)
  answer += attributes
  _ = answer.withUnsafeBytes { STUNMessage.answer(to: id, in: $0) }
}

// What two processes, or the two ends of a QUIC link, tell each other in messages: the lines
// between a supervisor and its engine, and the control channel and datagrams of QUIC.

import FoundationEssentials
import RIBase
import RIControl
import RIWire
import RemoteIngress

// MARK: QUIC

/// A control channel in any split, and every datagram that it could be.
func fuzzControl(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let sender = input.flag() ? Sender.edge : .hub
  let seed = input.word()
  let wire = input.rest()
  let whole = messages([wire[...]], from: sender)
  must(messages(split(wire, seed: seed), from: sender) == whole, "a split changes what is read")
  wire.withUnsafeBytes { checkDatagram($0) }
}

private func messages(_ pieces: [ArraySlice<UInt8>], from sender: Sender) -> [String] {
  var decoder = ControlMessageDecoder(sender: sender)
  var seen: [String] = []
  var hasFailed = false
  for piece in pieces {
    Array(piece).withUnsafeBytes { decoder.receive($0) }
    while let event = decoder.poll() {
      must(!hasFailed, "something behind a malformed message")
      switch event {
      case .malformed(let error):
        hasFailed = true
        seen.append("malformed \(error)")
      case .message(let type):
        must(decoder.payload.count <= type.payloadBytesMax, "a payload beyond its limit")
        seen.append("\(type) \(decoder.payload)")
        check(type, decoder.payload)
      }
    }
  }
  return seen + (hasFailed ? [] : ["\(decoder.skippedMessages) skipped"])
}

/// What was read is what is written again, and a PING is one of two forms or none.
private func check(_ type: FrameType, _ payload: [UInt8]) {
  var decoder = ControlMessageDecoder(sender: type.direction == .edgeToHub ? .edge : .hub)
  payload.withUnsafeBytes { bytes in
    ControlMessage.encoded(type, bytes).withUnsafeBytes { decoder.receive($0) }
    must(decoder.poll() == .message(type), "a message changes on its way")
    must(decoder.payload == payload && decoder.poll() == nil, "a payload changes on its way")
    if let ping = PingPayload(decoding: bytes) {
      let again = ping.withBytes(long: bytes.count == 16) { PingPayload(decoding: $0) }
      must(again == ping, "a PING changes on its way")
    }
  }
}

private func checkDatagram(_ bytes: UnsafeRawBufferPointer) {
  guard let kind = SessionDatagram.parse(bytes) else {
    return must(bytes.count < SessionDatagram.headerBytes, "a datagram is none")
  }
  let (session, isOpen) =
    switch kind {
    case .open(let session): (session, true)
    case .data(let session): (session, false)
    }
  let prefix = SessionDatagram.prefix(session: session, isOpen: isOpen)
  withUnsafeBytes(of: prefix.bytes) {
    must($0.prefix(prefix.count).elementsEqual(bytes.prefix(prefix.count)), "another prefix")
  }
  if isOpen {
    let header = UnsafeRawBufferPointer(rebasing: bytes[SessionDatagram.openBytes...])
    _ = try? ProxyHeader(parsingV2: header, transport: .datagram)
  }
}

// MARK: The engine's lines

/// What a supervisor says and what an engine says, in any split, and what either makes of it.
func fuzzEngine(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let seed = input.word()
  let wire = input.rest()
  let lines = assembled([wire[...]])
  must(assembled(split(wire, seed: seed)) == lines, "a split changes what is read")
  for line in lines {
    must(!line.contains(0x0A), "two lines are one")
    let line = Data(line)
    let decoder = JSONDecoder()
    if let request = try? decoder.decode(EngineRequest.self, from: line) { check(request) }
    if let message = try? decoder.decode(EngineMessage.self, from: line) { check(message) }
  }
}

private func assembled(_ pieces: [ArraySlice<UInt8>]) -> [[UInt8]] {
  var assembler = LineAssembler(bytesMax: 3_500)
  var lines: [[UInt8]] = []
  for piece in pieces {
    // The process at the other end is given up then.
    guard assembler.append(piece, { lines.append(Array($0)) }) else { break }
  }
  return lines
}

/// A value is the same line again, and one line.
private func checkLine<Value: Codable>(_ value: Value) {
  let line = jsonLine(value)
  must(!line.utf8.contains(0x0A), "a line of several")
  guard let again = try? JSONDecoder().decode(Value.self, from: Data(line.utf8)) else {
    return must(false, "what was written cannot be read: \(line)")
  }
  must(jsonLine(again) == line, "a line changes on its way")
}

private func check(_ request: EngineRequest) {
  checkLine(request)
  switch request {
  case .drain(let seconds):
    let time = EngineRequest.drainTime(seconds: seconds)
    must(time >= .zero && time <= Limits.drainTimeMax, "a drain of \(time.seconds) s")
  case .updateAllowedEdges(_, let edges): check(edges)
  case .start(.hub(let settings)): check(settings.allowedEdges)
  case .start(.edge(let settings)):
    _ = try? EdgeHandshake(edgeID: settings.edgeID, secret: settings.secret)
  case .status, .watchStreams, .ping, .stop: break
  }
}

/// Whom a hub lets in, and what it tells them.
private func check(_ edges: [AllowedEdge]) {
  guard (try? AllowedEdges.check(edges)) != nil else { return }
  let allowed = AllowedEdges(edges)
  _ = allowed.changes(to: edges.reversed())
  for edge in edges {
    must(allowed[edge.id] == edge, "an edge is another")
    let message = edge.message(offering: .all)
    must(
      message.encodedFramePayload().count <= Limits.configPayloadBytesMax,
      "more than a CONFIG takes")
  }
}

private func check(_ message: EngineMessage) {
  checkLine(message)
  switch message {
  case .status(_, let status):
    checkLine(HubStatus(status, EngineProcessStatus()))
    checkLine(EdgeStatus(status, EngineProcessStatus()))
    must(!status.line.utf8.contains(0x0A), "a status of several lines")
  case .hub(let event): must(!event.data.utf8.contains(0x0A), "an event of several lines")
  case .edge(let event): must(!event.data.utf8.contains(0x0A), "an event of several lines")
  case .ready, .failed, .log, .lost, .done, .pong: break
  }
}

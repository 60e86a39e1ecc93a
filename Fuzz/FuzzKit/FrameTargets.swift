// The frame decoder in any split, and one end of a tunnel against a peer that says anything.

import RIBase
import RITunnel
import RIWire

/// An event of a decoder with its bytes copied out.
private enum Decoded: Equatable {
  case data(UInt32, [UInt8])
  case control(FrameType, UInt32, [UInt8])
  case malformed(WireError)
}

private func decode(_ pieces: [ArraySlice<UInt8>], from sender: Sender) -> [Decoded] {
  let store = BufferStore([BufferPoolShape(count: 1, bytes: 64 * 1024)])
  var decoder = FrameDecoder(sender: sender)
  var seen: [Decoded] = []
  guard let buffer = store[PoolID(0)].take() else { return [] }
  for piece in pieces {
    let slice = Slice(buffer: buffer, offset: 0, count: piece.count)
    store.mutableBytes(slice).copyBytes(from: piece)
    decoder.receive(slice)
    while let event = decoder.poll(store: store) {
      switch event {
      case .data(let stream, let slice):
        let bytes = Array(store.bytes(slice))
        must(!bytes.isEmpty, "an event without data")
        if case .data(stream, let before)? = seen.last {
          seen[seen.count - 1] = .data(stream, before + bytes)
        } else {
          seen.append(.data(stream, bytes))
        }
      case .control(let type, let stream):
        must(decoder.controlPayload.count <= type.payloadBytesMax, "a payload beyond its limit")
        seen.append(.control(type, stream, Array(decoder.controlPayload)))
      case .malformed(let error): seen.append(.malformed(error))
      }
    }
  }
  if let end = seen.firstIndex(where: { if case .malformed = $0 { true } else { false } }) {
    must(end == seen.count - 1, "something behind a malformed frame")
  }
  return seen
}

/// Any bytes in any split are the same frames.
func fuzzFrames(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let sender = input.flag() ? Sender.edge : .hub
  let seed = input.word()
  let wire = input.rest()
  let whole = decode([wire[...]].filter { !$0.isEmpty }, from: sender)
  must(decode(split(wire, seed: seed), from: sender) == whole, "a split changes what is read")
}

/// One end of a tunnel, its verbs called at will, its peer free to say what it likes. What it says
/// itself must be frames that its peer takes; at its end it holds nothing.
func fuzzTunnel(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  var run = TunnelRun(role: input.flag() ? .edge : .hub, isAuto: input.flag())
  for _ in 0..<400 where !input.isAtEnd { run.step(&input) }
  run.end()
}

private struct TunnelRun: ~Copyable {
  private let role: TunnelRole
  private let store = BufferStore([BufferPoolShape(count: 256, bytes: 4_096)])
  private let tunnel: FramedTunnel
  private let batch: PlaintextBatch
  private var checker: FrameDecoder
  private let checkBuffer: BufferHandle?
  private let checkStore = BufferStore([BufferPoolShape(count: 1, bytes: 64 * 1024)])
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var refs: [StreamRef] = [.none]
  private var hasEnded = false

  init(role: TunnelRole, isAuto: Bool) {
    self.role = role
    tunnel = FramedTunnel(
      role: role, store: store, now: now,
      windows: WindowLimits(
        sharedBytes: 4_000, bytesMin: 500, bytesMax: 1_000, autoBytesMin: 400,
        autoBytesMax: 3_000),
      budget: MemoryBudget(bytes: 64 * 1024), streamsMax: 16)
    tunnel.usesAutoWindows = isAuto
    batch = PlaintextBatch(store: store, capacity: 16 * 1024)
    checker = FrameDecoder(sender: role == .edge ? .edge : .hub)
    checkBuffer = checkStore[PoolID(0)].take()
  }

  mutating func step(_ input: inout FuzzInput) {
    let ref = refs[input.choice(refs.count)]
    switch input.choice(14) {
    case 0...4: receive(&input)
    case 5:
      if role == .edge,
        let new = [1, 2, 3].withUnsafeBytes({ header in
          tunnel.open(header: header, owner: SlotID(index: 1, generation: 1), now: now)
        })
      {
        refs.append(new)
      }
    case 6:
      if let slice = slice(input.take(input.choice(250))) { tunnel.send(slice, on: ref) }
    case 7: tunnel.finish(ref)
    case 8: tunnel.reset(ref)
    case 9: tunnel.consumed(0, on: ref, now: now)
    case 10: pollFrames()
    case 11:
      let payload = input.take(input.choice(65))
      payload.withUnsafeBytes { role == .hub ? tunnel.sendPing($0) : tunnel.sendPong($0) }
      _ = tunnel.sendRoom(ref, atLeast: input.choice(200) + 1)
    case 12:
      if role == .edge, input.flag(),
        let new = [1, 2].withUnsafeBytes({ header in
          tunnel.openSession(header: header, owner: SlotID(index: 2, generation: 1), now: now)
        })
      {
        refs.append(new)
      } else if let slice = slice(input.take(input.choice(100))) {
        tunnel.sendDatagram(slice, on: ref)
      }
    default:
      now = now + .milliseconds(Int64(input.number() % 20_000))
      if input.flag() { _ = tunnel.dropDatagrams() }
      if role == .hub, input.flag() { tunnel.sendConfig(input.take(20)) }
    }
    pollEvents()
  }

  private func slice(_ bytes: [UInt8]) -> Slice? {
    guard let buffer = store[PoolID(0)].take() else { return nil }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    store.mutableBytes(slice).copyBytes(from: bytes)
    return slice
  }

  private mutating func receive(_ input: inout FuzzInput) {
    let types: [UInt8] =
      role == .hub
      ? [0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x0C, 0x0E, 0x10]
      : [0x04, 0x05, 0x06, 0x07, 0x0A, 0x0D, 0x0E]
    var wire: [UInt8] = []
    for _ in 0...input.choice(3) { wire += input.frame(types) { $0.take($0.choice(30)) } }
    guard let slice = slice(Array(wire.prefix(4_096))) else { return }
    tunnel.receive(slice)
    pollEvents()
    store.release(slice)
  }

  private mutating func pollEvents() {
    while let event = tunnel.pollEvent(now: now) {
      must(!hasEnded, "an event behind the last one")
      switch event {
      case .opened(let ref), .sessionOpened(let ref):
        tunnel.accept(ref, owner: SlotID(index: 3, generation: 1))
        refs.append(ref)
      case .data(let ref, let slice):
        must(slice.count > 0, "no data in a data event")
        tunnel.consumed(Int(slice.count), on: ref, now: now)
      case .ended: hasEnded = true
      default: break
      }
      if refs.count > 40 { refs.removeFirst(20) }
    }
  }

  /// What goes out is what the peer's decoder takes.
  private mutating func pollFrames() {
    guard !hasEnded, tunnel.hasOutput, let checkBuffer else { return }
    _ = tunnel.pollFrames(into: batch, now: now)
    for index in 0..<batch.pieceCount {
      let piece = batch.piece(index)
      let slice = Slice(buffer: checkBuffer, offset: 0, count: piece.count)
      checkStore.mutableBytes(slice).copyMemory(from: piece)
      checker.receive(slice)
      while let event = checker.poll(store: checkStore) {
        if case .malformed(let error) = event { must(false, "we said what nobody takes: \(error)") }
      }
    }
    batch.clear()
    pollEvents()
  }

  mutating func end() {
    for _ in 0..<8 { pollFrames() }
    tunnel.end()
    must(store[PoolID(0)].usedCount == 0, "buffers are left behind a tunnel")
    must(tunnel.streamsHeld == 0 && tunnel.activeStreams == 0, "streams are left behind a tunnel")
    must(tunnel.activeSessions == 0 && tunnel.datagramBytesQueued == 0, "sessions are left")
  }
}

// An edge and a hub back to back over a wire that splits anywhere, driven at random, against a
// model that knows every byte.

import Glibc
import RIBase
import RIWire
import TestRandom
import Testing

@testable import RITunnel

@Suite struct TunnelPropertyTests {
  /// Tiny windows, so that every limit is met all the time; by the published rules and with
  /// `autoWindow`.
  @Test(arguments: 0..<48)
  func everyByteArrivesOnceAndInOrderAndNothingIsLeft(round: Int) {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SplitMix64(seed)
    let least = [1, 7, 64, 500, 3_000].randomElement(using: &random) ?? 1
    let windows = WindowLimits(
      sharedBytes: least * Int.random(in: 1...40, using: &random), bytesMin: least,
      bytesMax: least * Int.random(in: 1...6, using: &random),
      autoBytesMin: least, autoBytesMax: least * Int.random(in: 1...40, using: &random))
    let world = TunnelWorld(
      seed: random.next(), windows: windows, isAuto: round % 2 == 0, resetPercent: round % 3,
      plannedBytesMax: min(20_000, 100 * least))
    for _ in 0..<1_200 { world.step() }
    world.settle()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }

  @Test(arguments: [false, true]) func standardWindowsCarryBulkBothWays(isAuto: Bool) {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    let world = TunnelWorld(
      seed: seed, windows: .standard, isAuto: isAuto, resetPercent: 0, plannedBytesMax: 10 << 20,
      batchBytes: 1 << 18, streamsMax: 3)
    for _ in 0..<200 { world.step() }
    world.settle()
    #expect(world.faults.isEmpty, "seed \(seed): \(world.faults)")
  }
}

/// Both ends, the wire between them, and the model.
final class TunnelWorld {
  /// One direction of one stream, seen from its sending end and its receiving end.
  struct Flow {
    var planned: Int
    var sent = 0
    var isFinished = false
    /// Whether the sender may read its socket: not between a refusal of room and `.room`.
    var mayRead = true

    var received = 0
    var sawFinish = false
    /// Received, retained, not yet consumed.
    var buffered: [Slice] = []
    var consumed = 0

    /// On the wire: DATA and the credit for it.
    var wired = 0
    var credited = 0
    var window = 0
  }

  struct Stream {
    var id: UInt32 = 0
    var refs: [StreamRef]
    /// Whether each end's ref is alive.
    var alive = [true, false]
    var wasReset = false
    /// By sending end: 0 the edge, 1 the hub.
    var flows: [Flow]
  }

  var random: SplitMix64
  let store: BufferStore
  let ends: [FramedTunnel]
  let batch: PlaintextBatch
  /// Bytes on the way from each end, and a copy that the observer has not parsed yet.
  var wires: [[UInt8]] = [[], []]
  var observed: [[UInt8]] = [[], []]
  var streams: [Stream] = []
  var indexByID: [UInt32: Int] = [:]
  var faults: [String] = []
  let windows: WindowLimits
  let isAuto: Bool
  /// Of each end.
  let budgets: [MemoryBudget]
  var now = TunnelHarness.noTime
  let resetPercent: Int
  let plannedBytesMax: Int
  let streamsMax: Int

  init(
    seed: UInt64, windows: WindowLimits, isAuto: Bool, resetPercent: Int,
    plannedBytesMax: Int = 20_000, batchBytes: Int = 4_096, streamsMax: Int = 40
  ) {
    random = SplitMix64(seed)
    self.windows = windows
    self.isAuto = isAuto
    self.resetPercent = resetPercent
    self.plannedBytesMax = plannedBytesMax
    self.streamsMax = streamsMax
    let store = BufferStore([BufferPoolShape(count: 8_192, bytes: 1 << 15)])
    self.store = store
    // Half of it, the part for growth, lies between one large window and several.
    let budgets = (0...1).map { _ in MemoryBudget(bytes: 6 * windows.autoBytesMax) }
    self.budgets = budgets
    ends = [TunnelRole.edge, .hub].enumerated().map {
      let end = FramedTunnel(
        role: $0.element, store: store, now: TunnelHarness.noTime, windows: windows,
        budget: budgets[$0.offset], seed: seed)
      end.usesAutoWindows = isAuto
      end.pathRoundTrip = .milliseconds(1)
      return end
    }
    batch = PlaintextBatch(store: store, capacity: batchBytes)
  }

  func check(_ condition: Bool, _ fault: @autoclosure () -> String) {
    if !condition, faults.count < 5 { faults.append(fault()) }
  }

  /// Bytes that repeat only after 2^16, with room for a piece from any of these on.
  static let pattern = (0..<(1 << 16) + (1 << 15)).map {
    UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8)
  }

  /// Lends the `count` bytes from `k` on of what `end` sends on stream `index`.
  func withPattern<Result>(
    _ index: Int, _ end: Int, _ k: Int, _ count: Int,
    _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result {
    let start = (index * 9_973 + end * 4_999 + k) & 0xFFFF
    return Self.pattern.withUnsafeBytes {
      body(UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
    }
  }

  // MARK: Acts

  func step() {
    let end = Int.random(in: 0...1, using: &random)
    now = now + .microseconds(Int64.random(in: 0...300, using: &random))
    if random.chance(1) {
      budgets[end].setHeld(Int.random(in: 0...budgets[end].bytes, using: &random))
    }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<6: open()
    case 6..<35: if let i = anyStream() { send(i, end) }
    case 35..<55: if let i = anyStream() { consume(i, end) }
    case 55..<57: if let i = anyStream(), random.chance(Double(resetPercent * 25)) { reset(i, end) }
    case 57..<58: if end == 1 { ends[1].sendConfig(Array(repeating: 1, count: 6_000)) }
    case 58..<79: transmit(end)
    default: deliver(from: end)
    }
  }

  /// Lets everything run to its end, then checks that it got there and that nothing is left.
  func settle() {
    for _ in 0..<200_000 {
      for end in 0...1 {
        for i in streams.indices {
          send(i, end)
          consume(i, end)
        }
        transmit(end)
        deliver(from: end)
      }
      let isQuiet = wires.allSatisfy(\.isEmpty) && !ends.contains { $0.hasOutput }
      if isQuiet, streams.allSatisfy({ !$0.alive.contains(true) }) { break }
      if !faults.isEmpty { break }
    }
    for (i, stream) in streams.enumerated() {
      check(!stream.alive.contains(true), "stream \(i) never ended: \(stream)")
      guard !stream.wasReset else { continue }
      for flow in stream.flows {
        check(flow.received == flow.planned, "stream \(i): \(flow.received) of \(flow.planned)")
        check(flow.sawFinish, "stream \(i): no end")
      }
    }
    for end in ends {
      check(end.activeStreams == 0 && end.streams.count == 0, "a stream is left")
      check(end.table.count == 0, "an id is left")
      check(end.queuedBytes == QueuedBytes(), "bytes are left")
      check(end.budget.grownBytes == 0, "the budget still counts \(end.budget.grownBytes) bytes")
    }
    for i in streams.indices { dropBuffered(i) }
    check(store.nodesInUse == 0, "a node is left")
    check(store[PoolID(0)].usedCount == 0, "a buffer is left")
    for end in ends { end.end() }
  }

  func anyStream() -> Int? {
    // Mostly the newest: the others have ended.
    streams.isEmpty
      ? nil : Int.random(in: max(0, streams.count - 12)..<streams.count, using: &random)
  }

  func open() {
    guard streams.count < streamsMax else { return }
    let header = [UInt8(streams.count)]
    let owner = SlotID(index: UInt32(streams.count), generation: 1)
    let ref = header.withUnsafeBytes {
      ends[0].open(header: $0, owner: owner, now: now)
    }
    guard let ref else { return check(false, "no place for a stream") }
    var flows = (0...1).map { _ in
      Flow(planned: random.chance(20) ? 0 : Int.random(in: 0...plannedBytesMax, using: &random))
    }
    flows[0].window = isAuto ? windows.autoBytesMin : 0
    flows[1].window = flows[0].window
    let id = ends[0].streams[ref.slot].id
    indexByID[id] = streams.count
    streams.append(Stream(id: id, refs: [ref, .none], flows: flows))
  }

  func send(_ i: Int, _ end: Int) {
    guard streams[i].alive[end], !streams[i].flows[end].isFinished else { return }
    let ref = streams[i].refs[end]
    let left = streams[i].flows[end].planned - streams[i].flows[end].sent
    guard left > 0 else {
      streams[i].flows[end].isFinished = true
      ends[end].finish(ref)
      return
    }
    guard streams[i].flows[end].mayRead else { return }
    let room = ends[end].sendRoom(ref)
    guard room > 0 else {
      streams[i].flows[end].mayRead = false
      return
    }
    // Like a receive that fills a whole buffer: sometimes more than there is room for.
    let overshoot = random.chance(10) ? 1_000 : 0
    let count = min(left, room + overshoot, 1 << 15)
    guard let buffer = store.take() else { return check(false, "the pool is empty") }
    let bytes = store.mutableBytes(Slice(buffer: buffer, offset: 0, count: count))
    withPattern(i, end, streams[i].flows[end].sent, count) { bytes.copyMemory(from: $0) }
    streams[i].flows[end].sent += count
    var offset = 0
    while offset < count {
      let piece =
        random.chance(50) ? count - offset : Int.random(in: 1...count - offset, using: &random)
      let slice = Slice(buffer: buffer, offset: offset, count: piece)
      store.retain(slice)
      ends[end].send(slice, on: ref)
      offset += piece
    }
    store.release(buffer)
  }

  /// The other end's data, written to this end's socket.
  func consume(_ i: Int, _ end: Int) {
    guard streams[i].alive[end], !streams[i].flows[1 - end].buffered.isEmpty else { return }
    var left = Int.random(in: 0...100_000, using: &random)
    while left > 0, var slice = streams[i].flows[1 - end].buffered.first {
      let piece = slice.removePrefix(min(left, Int(slice.count)))
      let from = streams[i].flows[1 - end].consumed
      let isRight = withPattern(i, 1 - end, from, Int(piece.count)) {
        guard let a = $0.baseAddress, let b = store.bytes(piece).baseAddress else { return false }
        return memcmp(a, b, $0.count) == 0
      }
      check(isRight, "stream \(i): wrong bytes from \(from) on")
      left -= Int(piece.count)
      streams[i].flows[1 - end].consumed += Int(piece.count)
      ends[end].consumed(Int(piece.count), on: streams[i].refs[end], now: now)
      if slice.count == 0 {
        streams[i].flows[1 - end].buffered.removeFirst()
        store.release(piece)
      } else {
        streams[i].flows[1 - end].buffered[0] = slice
      }
    }
  }

  func reset(_ i: Int, _ end: Int) {
    guard streams[i].alive[end] else { return }
    ends[end].reset(streams[i].refs[end])
    streams[i].alive[end] = false
    streams[i].wasReset = true
  }

  func dropBuffered(_ i: Int) {
    for end in 0...1 {
      for slice in streams[i].flows[end].buffered { store.release(slice) }
      streams[i].flows[end].buffered = []
    }
  }

  // MARK: The wire

  func transmit(_ end: Int) {
    guard ends[end].hasOutput, wires[end].count < 1 << 20 else { return }
    let written = ends[end].pollFrames(into: batch, now: now)
    check(written == batch.byteCount, "counted \(written) of \(batch.byteCount) bytes")
    for piece in 0..<batch.pieceCount {
      wires[end] += batch.piece(piece)
      observed[end] += batch.piece(piece)
    }
    batch.clear()
    for frame in WireFrame.parse(&observed[end]) { observe(frame, from: end) }
    handleEvents(end)
  }

  /// The flow control of SPEC 2.4, seen on the wire.
  func observe(_ frame: WireFrame, from end: Int) {
    guard let i = indexByID[frame.stream], let type = FrameType(rawValue: frame.type) else {
      return
    }
    switch type {
    case .data, .dataBack:
      streams[i].flows[end].wired += frame.payload.count
      // By the published rules the sender's own: as large as ever, or as a new stream's.
      if !isAuto, streams[i].alive[end] {
        let size = Int(ends[end].streams[streams[i].refs[end].slot].sendWindow.size)
        check(
          size >= streams[i].flows[end].window && size <= windows.bytesMax,
          "stream \(i): window of \(size)")
        streams[i].flows[end].window = size
      }
      let flow = streams[i].flows[end]
      check(flow.wired - flow.credited <= flow.window, "stream \(i): credit overdrawn")
    case .windowUpdate, .windowUpdateBack:
      check(frame.creditBytes > 0, "stream \(i): empty credit")
      streams[i].flows[1 - end].credited += frame.creditBytes
      let flow = streams[i].flows[1 - end]
      check(
        flow.credited - flow.consumed <= (isAuto ? windows.autoBytesMax : 0),
        "stream \(i): credit for what was not consumed")
    default: break
    }
  }

  func deliver(from end: Int) {
    guard !wires[end].isEmpty else { return }
    let limit = random.chance(30) ? 12 : 1 << 15
    let count = min(wires[end].count, Int.random(in: 1...limit, using: &random))
    guard let buffer = store.take() else { return check(false, "the pool is empty") }
    var writer = BufferWriter(buffer, in: store)
    wires[end][..<count].withUnsafeBytes { writer.append($0) }
    wires[end].removeFirst(count)
    ends[1 - end].receive(writer.slice)
    handleEvents(1 - end)
    store.release(buffer)
  }

  func handleEvents(_ end: Int) {
    while let event = ends[end].pollEvent(now: now) {
      switch event {
      case .opened(let ref):
        let i = Int(ends[end].payload[0])
        ends[end].accept(ref, owner: SlotID(index: UInt32(i), generation: 1))
        streams[i].refs[1] = ref
        streams[i].alive[1] = true
      case .data(let ref, let slice):
        let i = index(ref, end)
        check(!streams[i].flows[1 - end].sawFinish, "stream \(i): data behind its end")
        store.retain(slice)
        streams[i].flows[1 - end].buffered.append(slice)
        streams[i].flows[1 - end].received += Int(slice.count)
      case .finished(let ref):
        let i = index(ref, end)
        let flow = streams[i].flows[1 - end]
        check(!flow.sawFinish && flow.received == flow.planned, "stream \(i): ended early")
        streams[i].flows[1 - end].sawFinish = true
      case .reset(let ref):
        let i = index(ref, end)
        check(streams[i].wasReset, "stream \(i): reset by nobody")
        streams[i].alive[end] = false
      case .closed(let ref):
        let i = index(ref, end)
        check(streams[i].flows.allSatisfy(\.isFinished), "stream \(i): closed early")
        streams[i].alive[end] = false
      case .room(let ref):
        let i = index(ref, end)
        check(!streams[i].flows[end].mayRead, "stream \(i): room that nobody asked for")
        check(ends[end].sendRoom(ref) > 0, "stream \(i): room that is none")
        streams[i].flows[end].mayRead = true
      case .config: check(ends[end].payload.count == 6_000, "a broken config")
      case .sustained: break
      case .sessionOpened, .datagram, .sessionClosed: check(false, "\(event)")
      case .ping, .pong, .hello: check(false, "\(event)")
      case .ended(let error): check(false, "ended: \(error)")
      }
    }
  }

  func index(_ ref: StreamRef, _ end: Int) -> Int {
    let i = Int(ends[end].owner(of: ref).index)
    guard i < streams.count, streams[i].refs[end] == ref, streams[i].alive[end] else {
      check(false, "an event of a dead stream")
      return 0
    }
    return i
  }
}

extension BufferStore {
  func take() -> BufferHandle? { self[PoolID(0)].take() }
}

// A hand-driven peer of a hub: TLS and whatever a test wants to say over it.

import RIBase
import RIRing
import RITLS
import RIWire

/// A TLS client on a ring of its own, whose plaintext a test writes and reads.
final class FakeEdge {
  enum Behaviour {
    /// Connects and says nothing.
    case silent
    /// Sends this instead of a ClientHello.
    case raw([UInt8])
    /// Makes the TLS handshake, then sends these pieces of plaintext.
    case tls([[UInt8]])
  }

  private enum Step: UInt64 { case connect = 1, receive, send, close }
  let ring: SimulatedRing
  private let store = BufferStore([BufferPoolShape(count: 64, bytes: 300 * 1024)])
  private let tls: TLSLink
  private let batch: PlaintextBatch
  private let behaviour: Behaviour
  private var toSay: [[UInt8]]
  private let socket: Socket
  private var ciphertext: [UInt8] = []
  private var outgoing = SliceQueue()
  private var isSending = false
  private(set) var connectResult: Int32?
  /// What the hub said.
  private(set) var plaintext: [UInt8] = []
  private(set) var sawCloseNotify = false
  /// When and how the connection ended: 0 or an errno.
  private(set) var end: (time: Instant, code: Int32)?

  init(
    _ kernel: SimulatedKernel, _ host: SimulatedHost, to hub: SocketAddress, _ behaviour: Behaviour
  ) throws {
    self.behaviour = behaviour
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
    tls = TLSLink(client: try TLSClientContext(trust: .insecure), serverName: nil, store: store)
    batch = PlaintextBatch(store: store, capacity: 64 * 1024)
    toSay = if case .tls(let pieces) = behaviour { pieces } else { [] }
    socket = try ring.makeStreamSocket(hub.ip.family)
    ring.connect(socket, to: hub, token: Token(Step.connect.rawValue))
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

  var line: String { String(decoding: plaintext.prefix { $0 != 0x0A }, as: UTF8.self) }

  func say(_ bytes: [UInt8]) {
    toSay.append(bytes)
    flush()
  }

  /// Ends the connection without a word.
  func hangUp() { ended(0) }

  private func tick() {
    for completion in ring.wait(until: nil) { handle(completion) }
    flush()
  }

  private func handle(_ completion: Completion) {
    switch Step(rawValue: completion.token.rawValue) {
    case .connect:
      connectResult = completion.result
      guard completion.result == 0 else { return ended(completion.result) }
      if case .raw(let bytes) = behaviour { send(bytes) }
      receive()
    case .receive:
      if let slice = completion.slice {
        ciphertext += store.bytes(slice)
        store.release(slice)
        open()
        if !completion.more { receive() }
      } else {
        ended(completion.result)
      }
    case .send:
      isSending = false
      store.removeAll(from: &outgoing)
      if completion.result < 0 { ended(completion.result) }
    case .close, nil: break
    }
  }

  private func ended(_ result: Int32) {
    guard end == nil else { return }
    end = (ring.now, -result)
    ring.close(socket, mode: .graceful, token: Token(Step.close.rawValue))
  }

  private func receive() {
    guard end == nil else { return }
    ring.receive(
      on: socket, into: PoolID(0), limitBytes: 1 << 18, token: Token(Step.receive.rawValue))
  }

  private func open() {
    guard let buffer = store[PoolID(0)].take() else { return }
    defer { store.release(buffer) }
    while !ciphertext.isEmpty {
      var input = Slice(buffer: buffer, offset: 0, count: min(ciphertext.count, 300 * 1024))
      ciphertext.withUnsafeBytes {
        store.mutableBytes(input).copyMemory(
          from: UnsafeRawBufferPointer(rebasing: $0[..<Int(input.count)]))
      }
      let before = Int(input.count)
      switch tls.open(&input) {
      case .plaintext(let slice): plaintext += store.bytes(slice)
      case .progress: break
      case .needsMore: return
      case .endOfStream:
        sawCloseNotify = true
        return
      case .failed: return
      }
      ciphertext.removeFirst(before - Int(input.count))
    }
  }

  private func flush() {
    guard connectResult == 0, !isSending, end == nil, case .tls = behaviour,
      let buffer = store[PoolID(0)].take()
    else { return }
    var writer = BufferWriter(buffer, in: store)
    tls.writeControl(to: &writer)
    if tls.isEstablished, !toSay.isEmpty {
      toSay.removeFirst().withUnsafeBytes { batch.append(copying: $0) }
      _ = tls.seal(batch, from: 0, into: &writer)
      batch.clear()
    }
    guard !writer.isEmpty else { return store.release(buffer) }
    enqueue(writer.slice)
  }

  private func send(_ bytes: [UInt8]) {
    guard let buffer = store[PoolID(0)].take() else { return }
    var writer = BufferWriter(buffer, in: store)
    bytes.withUnsafeBytes { writer.append($0) }
    enqueue(writer.slice)
  }

  private func enqueue(_ slice: Slice) {
    store.append(slice, to: &outgoing)
    isSending = true
    ring.send(outgoing, on: socket, mode: .all, token: Token(Step.send.rawValue))
  }
}

extension World {
  func fakeEdge(_ behaviour: FakeEdge.Behaviour, on host: SimulatedHost? = nil) throws -> FakeEdge {
    let fake = try FakeEdge(
      kernel, host ?? clientHost, to: SocketAddress(World.hubIP, 8443), behaviour)
    fakes.append(fake)
    return fake
  }

  var greeting: [UInt8] { Array("EDGE edge-1 correct-horse-battery-staple\n".utf8) }
}

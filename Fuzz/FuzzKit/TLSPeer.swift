// A hand-driven end of a tunnel on the simulated network: TLS, and over it whatever an input says.

import RIBase
import RIRing
import RITLS

/// A TLS client that dials a hub, or a TLS server that waits for an edge.
final class TLSPeer {
  private enum Step: UInt64 { case accept = 1, connect, receive, send, close, listenerClosed }

  private static let bufferBytes = 300 * 1024
  let ring: SimulatedRing
  private let store = BufferStore([BufferPoolShape(count: 16, bytes: TLSPeer.bufferBytes)])
  private let batch: PlaintextBatch
  private var tls: TLSLink?
  private var socket: Socket?
  private var toSay: [UInt8] = []
  private var ciphertext: [UInt8] = []
  private var outgoing = SliceQueue()
  private var isSending = false
  private var isConnected = false
  /// What the other side said and nobody has looked at yet.
  var plaintext: [UInt8] = []
  /// Whether the connection it has or had is over.
  private(set) var hasEnded = false
  /// Connections it has accepted, the present one included.
  private(set) var accepted = 0
  /// Called when the TLS handshake is done.
  var whenUp: (TLSPeer) -> Void = { _ in }
  private var wasUp = false

  private init(_ kernel: SimulatedKernel, _ host: SimulatedHost) {
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
    batch = PlaintextBatch(store: store, capacity: 64 * 1024)
  }

  static func dialling(
    _ kernel: SimulatedKernel, _ host: SimulatedHost, _ hub: SocketAddress
  ) -> TLSPeer {
    let peer = TLSPeer(kernel, host)
    guard let socket = try? peer.ring.makeStreamSocket(hub.ip.family) else { return peer }
    peer.socket = socket
    peer.tls = TLSLink(client: FuzzTLS.client, serverName: nil, store: peer.store)
    peer.ring.connect(socket, to: hub, token: Token(Step.connect.rawValue))
    return peer
  }

  static func listening(
    _ kernel: SimulatedKernel, _ host: SimulatedHost, _ address: SocketAddress
  ) -> TLSPeer {
    let peer = TLSPeer(kernel, host)
    guard let listener = try? peer.ring.listen(on: address, reusePort: false, backlog: 8) else {
      return peer
    }
    peer.ring.accept(on: listener, token: Token(Step.accept.rawValue))
    return peer
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

  func say(_ bytes: [UInt8]) {
    toSay += bytes
    flush()
  }

  /// Ends the connection without a word.
  func hangUp(_ mode: CloseMode) {
    guard let socket, !hasEnded else { return }
    hasEnded = true
    ring.close(socket, mode: mode, token: Token(Step.close.rawValue))
  }

  private func tick() {
    for completion in ring.wait(until: nil) { handle(completion) }
    flush()
  }

  private func handle(_ completion: Completion) {
    switch Step(rawValue: completion.token.rawValue) {
    case .accept: take(completion)
    case .connect:
      guard completion.result == 0 else { return hangUp(.reset) }
      isConnected = true
      receive()
    case .receive:
      guard let slice = completion.slice else {
        if !completion.more { hangUp(.graceful) }
        return
      }
      ciphertext += store.bytes(slice)
      store.release(slice)
      open()
      if !completion.more { receive() }
    case .send:
      isSending = false
      store.removeAll(from: &outgoing)
      if completion.result < 0 { hangUp(.reset) }
    case .close, .listenerClosed, nil: break
    }
  }

  /// One connection at a time; a later one takes the place of an earlier one.
  private func take(_ completion: Completion) {
    guard completion.result >= 0 else { return }
    let new = Socket(descriptor: completion.result)
    guard socket == nil || hasEnded, !isSending else {
      return ring.close(new, mode: .reset, token: Token(Step.listenerClosed.rawValue))
    }
    accepted += 1
    (socket, hasEnded, isConnected, wasUp) = (new, false, true, false)
    (toSay, ciphertext, plaintext) = ([], [], [])
    tls = TLSLink(server: FuzzTLS.server, store: store)
    receive()
  }

  private func receive() {
    guard let socket, !hasEnded else { return }
    ring.receive(
      on: socket, into: PoolID(0), limitBytes: 1 << 18, token: Token(Step.receive.rawValue))
  }

  private func open() {
    guard let tls, let buffer = store[PoolID(0)].take() else { return }
    defer { store.release(buffer) }
    while !ciphertext.isEmpty {
      var input = Slice(
        buffer: buffer, offset: 0, count: min(ciphertext.count, Self.bufferBytes))
      store.mutableBytes(input).copyBytes(from: ciphertext.prefix(Int(input.count)))
      let before = Int(input.count)
      switch tls.open(&input) {
      case .plaintext(let slice): plaintext += store.bytes(slice)
      case .progress: break
      case .needsMore: return
      case .endOfStream, .failed: return
      }
      ciphertext.removeFirst(before - Int(input.count))
    }
  }

  private func flush() {
    guard let tls, let socket, isConnected, !isSending, !hasEnded else { return }
    if tls.isEstablished, !wasUp {
      wasUp = true
      whenUp(self)
    }
    guard let buffer = store[PoolID(0)].take() else { return }
    var writer = BufferWriter(buffer, in: store)
    tls.writeControl(to: &writer)
    if tls.isEstablished, !toSay.isEmpty {
      Array(toSay.prefix(64 * 1024)).withUnsafeBytes { batch.append(copying: $0) }
      toSay.removeFirst(tls.seal(batch, from: 0, into: &writer))
      batch.clear()
    }
    guard !writer.isEmpty else { return store.release(buffer) }
    store.append(writer.slice, to: &outgoing)
    isSending = true
    ring.send(outgoing, on: socket, mode: .all, token: Token(Step.send.rawValue))
  }
}

// Clients and targets of the simulated network, as simple as can be: they answer what comes, or
// send what they are told.

import RIBase
import RIRing

/// The sockets of one host.
final class PlainPeers {
  enum Manner {
    /// Sends back what comes, and ends when the other side ends.
    case echoes
    /// Sends this much at once, then ends its direction.
    case sends(Int)
    /// Breaks off at the first byte.
    case resets
    /// Reads nothing.
    case stalls
    /// Reads, and sends what it is told.
    case listens
  }

  private struct Peer {
    var socket: Socket
    var manner: Manner
    var output: [UInt8] = []
    var sending: Slice?
    var queue = SliceQueue()
    var isFinishing = false
    var hasFinished = false
    var isUp = false
    var isClosed = false
  }

  private enum Step: UInt64 { case accept, connect, receive, send, datagram, done }

  let ring: SimulatedRing
  private let store = BufferStore([
    BufferPoolShape(count: 512, bytes: 8 * 1024), BufferPoolShape(count: 32, bytes: 70 * 1024),
  ])
  private var peers: [Peer] = []
  private var manners: [Manner] = []
  private var listeners: [Socket] = []
  private var datagramSockets: [Socket] = []
  /// Datagrams that came.
  private(set) var datagrams = 0

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost) {
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }
  var count: Int { peers.count }

  private func token(_ step: Step, _ index: Int) -> Token {
    Token(step.rawValue << 32 | UInt64(index))
  }

  // MARK: Verbs

  func serve(_ address: SocketAddress, _ manner: Manner) {
    guard let listener = try? ring.listen(on: address, reusePort: false, backlog: 64) else {
      return
    }
    listeners.append(listener)
    manners.append(manner)
    ring.accept(on: listener, token: token(.accept, listeners.count - 1))
  }

  /// A UDP socket; one that serves sends back what comes.
  func bindDatagram(_ address: SocketAddress) {
    guard let socket = try? ring.bindDatagram(to: address, reusePort: false) else { return }
    datagramSockets.append(socket)
    ring.receiveDatagrams(
      on: socket, into: PoolID(1), token: token(.datagram, datagramSockets.count - 1))
  }

  func connect(to address: SocketAddress, _ manner: Manner) {
    guard let socket = try? ring.makeStreamSocket(address.ip.family) else { return }
    peers.append(Peer(socket: socket, manner: manner))
    ring.connect(socket, to: address, token: token(.connect, peers.count - 1))
  }

  func send(_ bytes: [UInt8], on index: Int) {
    guard peers.indices.contains(index), !peers[index].isClosed else { return }
    peers[index].output += bytes
    flush(index)
  }

  func finish(_ index: Int) {
    guard peers.indices.contains(index), !peers[index].isClosed else { return }
    peers[index].isFinishing = true
    flush(index)
  }

  func reset(_ index: Int) {
    if peers.indices.contains(index) { close(index, .reset) }
  }

  func sendDatagram(_ bytes: [UInt8], to address: SocketAddress) {
    guard let socket = datagramSockets.first, let buffer = store[PoolID(1)].take() else { return }
    let slice = Slice(buffer: buffer, offset: 0, count: bytes.count)
    store.mutableBytes(slice).copyBytes(from: bytes)
    ring.sendDatagram(
      slice, segmentBytes: 0, on: socket, to: address, from: nil, token: token(.done, 0))
    store.release(slice)
  }

  // MARK: Turns

  private func tick() {
    for completion in ring.wait(until: nil) {
      let index = Int(completion.token.rawValue & 0xFFFF_FFFF)
      switch Step(rawValue: completion.token.rawValue >> 32) {
      case .accept:
        guard completion.result >= 0 else { continue }
        peers.append(
          Peer(socket: Socket(descriptor: completion.result), manner: manners[index]))
        begin(peers.count - 1)
      case .connect: completion.result == 0 ? begin(index) : close(index, .reset)
      case .receive: received(index, completion)
      case .send: sent(index, completion)
      case .datagram: datagramReceived(index, completion)
      case .done, nil: break
      }
    }
  }

  private func begin(_ index: Int) {
    guard !peers[index].isClosed else { return }
    peers[index].isUp = true
    if case .sends(let count) = peers[index].manner {
      peers[index].output = [UInt8](repeating: 0x5A, count: count)
      peers[index].isFinishing = true
    }
    if case .stalls = peers[index].manner {} else { receive(index) }
    flush(index)
  }

  private func receive(_ index: Int) {
    guard !peers[index].isClosed else { return }
    ring.receive(
      on: peers[index].socket, into: PoolID(0), limitBytes: 1 << 20, token: token(.receive, index))
  }

  private func received(_ index: Int, _ completion: Completion) {
    if let slice = completion.slice {
      if case .echoes = peers[index].manner { peers[index].output += store.bytes(slice) }
      store.release(slice)
      if case .resets = peers[index].manner { return close(index, .reset) }
      flush(index)
    }
    guard !completion.more else { return }
    if completion.result > 0 { return receive(index) }
    if completion.result < 0 { return close(index, .reset) }
    peers[index].isFinishing = true
    flush(index)
  }

  private func flush(_ index: Int) {
    guard peers[index].isUp, peers[index].sending == nil, !peers[index].isClosed else { return }
    if peers[index].output.isEmpty {
      if peers[index].isFinishing, !peers[index].hasFinished {
        peers[index].hasFinished = true
        ring.shutdownSending(peers[index].socket)
      }
      return
    }
    guard let buffer = store[PoolID(0)].take() else { return close(index, .reset) }
    let piece = peers[index].output.prefix(8 * 1024)
    let slice = Slice(buffer: buffer, offset: 0, count: piece.count)
    store.mutableBytes(slice).copyBytes(from: piece)
    peers[index].output.removeFirst(piece.count)
    peers[index].sending = slice
    store.append(slice, to: &peers[index].queue)
    ring.send(peers[index].queue, on: peers[index].socket, mode: .all, token: token(.send, index))
  }

  private func sent(_ index: Int, _ completion: Completion) {
    peers[index].sending = nil
    store.removeAll(from: &peers[index].queue)
    completion.result < 0 ? close(index, .reset) : flush(index)
  }

  private func close(_ index: Int, _ mode: CloseMode) {
    guard !peers[index].isClosed else { return }
    peers[index].isClosed = true
    ring.close(peers[index].socket, mode: mode, token: token(.done, index))
  }

  private func datagramReceived(_ index: Int, _ completion: Completion) {
    let socket = datagramSockets[index]
    if let datagram = ring.datagram(in: completion, of: socket) {
      datagrams += 1
      // Of what is no longer than it may be, the half goes back.
      if datagram.payload.count > 0, store.bytes(datagram.payload)[0] & 1 == 0 {
        ring.sendDatagram(
          datagram.payload, segmentBytes: 0, on: socket, to: datagram.source,
          from: datagram.local, token: token(.done, 0))
      }
    }
    if let slice = completion.slice { store.release(slice) }
    if !completion.more, completion.result != -125 {
      ring.receiveDatagrams(on: socket, into: PoolID(1), token: token(.datagram, index))
    }
  }
}

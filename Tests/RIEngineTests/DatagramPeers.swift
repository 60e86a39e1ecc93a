// UDP clients and targets on the simulated network. What a datagram holds is a function of its
// client and its number, so that whoever gets it knows whose it is, and whether it is whole.

import Glibc
import RIBase
import RIControl
import RIRing
import RIWire

/// A client: one socket, connected to a port of the edge, so it hears that address alone.
final class DatagramClient {
  let key: UInt32
  let socket: Socket
  let address: SocketAddress
  /// Datagrams sent: their numbers count from 0, and these are their sizes.
  fileprivate(set) var sent: [Int] = []
  /// How often each number came back.
  fileprivate(set) var echoed: [Int: Int] = [:]
  /// Datagrams too short to hold their number.
  fileprivate(set) var echoedShort = 0
  /// What a target sent by itself.
  fileprivate(set) var pushed = 0

  fileprivate init(key: UInt32, socket: Socket, address: SocketAddress) {
    self.key = key
    self.socket = socket
    self.address = address
  }

  /// How many of its datagrams came back, each counted once.
  var answers: Int { echoed.count + echoedShort }
}

/// A target: one port, whose datagrams carry headers as `header` says.
final class DatagramTarget {
  let port: Port
  let socket: Socket
  let header: UDPProxyHeader
  var echoes = true
  /// The sockets that it has heard from.
  fileprivate(set) var sessions: Set<SocketAddress> = []
  /// Who is behind each session's socket, as its header said.
  fileprivate(set) var clients: [SocketAddress: SocketAddress] = [:]
  /// How often each datagram arrived, by client and number.
  fileprivate(set) var arrived: [UInt32: [Int: Int]] = [:]
  fileprivate(set) var arrivedShort = 0
  /// Datagrams from sockets whose header has not come (or was lost).
  fileprivate(set) var unknown = 0

  var arrivedCount: Int { arrived.values.reduce(arrivedShort) { $0 + $1.count } }

  fileprivate init(port: Port, socket: Socket, header: UDPProxyHeader) {
    self.port = port
    self.socket = socket
    self.header = header
  }
}

/// The UDP sockets of one host, on a ring of their own.
final class DatagramPeers {
  private enum Step: UInt64 { case send = 1, client, target, close }
  let ring: SimulatedRing
  let store = BufferStore([BufferPoolShape(count: 4_096, bytes: 66 * 1024)])
  private(set) var clients: [DatagramClient] = []
  private(set) var targets: [DatagramTarget] = []
  private var sending: [UInt64: Slice] = [:]
  private var nextSend: UInt64 = 0
  private(set) var faults: [String] = []
  /// Numbers of clients start here, so that several hosts' differ.
  private let firstKey: UInt32

  init(_ kernel: SimulatedKernel, _ host: SimulatedHost, firstKey: UInt32 = 0) {
    ring = SimulatedRing(kernel: kernel, host: host, store: store)
    self.firstKey = firstKey
  }

  var turn: SimulatedTurn { SimulatedTurn(ring) { [unowned self] in tick() } }

  /// Bytes of a datagram in front of its pattern: client and number.
  static let nameBytes = 8

  private func fault(_ text: String) { if faults.count < 5 { faults.append(text) } }

  // MARK: Verbs

  /// `source` picks one of the host's addresses.
  @discardableResult
  func connect(to address: SocketAddress, from source: IPAddress? = nil) throws -> DatagramClient {
    let socket: Socket
    if let source {
      socket = try ring.bindDatagram(to: SocketAddress(source, 0), reusePort: false)
    } else {
      socket = try ring.connectDatagram(to: address)
    }
    ring.set(.receiveBufferBytes(1 << 20), on: socket)
    let client = DatagramClient(
      key: firstKey + UInt32(clients.count), socket: socket,
      address: ring.localAddress(of: socket) ?? address)
    peer[client.key] = address
    clients.append(client)
    receive(socket, .client, clients.count - 1)
    return client
  }

  private var peer: [UInt32: SocketAddress] = [:]

  func serve(
    _ port: Port, on ip: IPAddress = .anyV4, header: UDPProxyHeader = .first, echoes: Bool = true
  ) throws -> DatagramTarget {
    let socket = try ring.bindDatagram(to: SocketAddress(ip, port), reusePort: false)
    ring.set(.receiveBufferBytes(4 << 20), on: socket)
    let target = DatagramTarget(port: port, socket: socket, header: header)
    target.echoes = echoes
    targets.append(target)
    receive(socket, .target, targets.count - 1)
    return target
  }

  func stopServing(_ target: DatagramTarget) {
    ring.close(target.socket, mode: .graceful, token: Token(Step.close.rawValue << 56))
  }

  /// Sends a datagram of `size` bytes, the client's next.
  func send(_ size: Int, from client: DatagramClient) {
    let number = client.sent.count
    client.sent.append(size)
    let destination = ring.peerAddress(of: client.socket) == nil ? peer[client.key] : nil
    send(Self.content(client.key, number, size), on: client.socket, to: destination)
  }

  /// A datagram of the target's own, to all whose session it knows.
  func push(_ size: Int, from target: DatagramTarget) {
    for session in target.clients.keys { push(size, to: session, from: target) }
  }

  func push(_ size: Int, to session: SocketAddress, from target: DatagramTarget) {
    send(Array(repeating: 0xFF, count: size), on: target.socket, to: session)
  }

  /// Sends `payload` from a client's socket as it is.
  func send(raw payload: [UInt8], from client: DatagramClient) {
    send(payload, on: client.socket, to: nil)
  }

  static func content(_ key: UInt32, _ number: Int, _ size: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(max(size, nameBytes))
    withUnsafeBytes(of: key.bigEndian) { bytes += $0 }
    withUnsafeBytes(of: UInt32(number).bigEndian) { bytes += $0 }
    guard size > nameBytes else { return Array(bytes.prefix(size)) }
    Content.with(UInt64(key) << 20 | UInt64(number), 0, size - nameBytes) { bytes += $0 }
    return bytes
  }

  // MARK: Ticks

  private func tick() {
    for completion in ring.wait(until: nil) { handle(completion) }
  }

  private func token(_ step: Step, _ index: UInt64) -> Token { Token(step.rawValue << 56 | index) }

  private func receive(_ socket: Socket, _ step: Step, _ index: Int) {
    ring.receiveDatagrams(on: socket, into: PoolID(0), token: token(step, UInt64(index)))
  }

  private func send(_ payload: [UInt8], on socket: Socket, to destination: SocketAddress?) {
    guard let buffer = store[PoolID(0)].take() else { return fault("no buffer to send from") }
    let slice = Slice(buffer: buffer, offset: 0, count: payload.count)
    payload.withUnsafeBytes { store.mutableBytes(slice).copyMemory(from: $0) }
    nextSend += 1
    sending[nextSend] = slice
    ring.sendDatagram(
      slice, segmentBytes: 0, on: socket, to: destination, from: nil,
      token: token(.send, nextSend))
  }

  private func handle(_ completion: Completion) {
    let index = completion.token.rawValue & (1 << 56 - 1)
    switch Step(rawValue: completion.token.rawValue >> 56) {
    case .send:
      if let slice = sending.removeValue(forKey: index) { store.release(slice) }
    case .client:
      let client = clients[Int(index)]
      read(completion, on: client.socket) { arrived($0, at: client) }
      if !completion.more, completion.result != -ECANCELED {
        receive(client.socket, .client, Int(index))
      }
    case .target:
      let target = targets[Int(index)]
      read(completion, on: target.socket) { arrived($0, $1, at: target) }
      if !completion.more, completion.result != -ECANCELED {
        receive(target.socket, .target, Int(index))
      }
    case .close, nil: break
    }
  }

  private func read(
    _ completion: Completion, on socket: Socket, _ body: ([UInt8], SocketAddress) -> Void
  ) {
    guard let slice = completion.slice else { return }
    if let datagram = ring.datagram(in: completion, of: socket) {
      body(Array(store.bytes(datagram.payload)), datagram.source)
    } else {
      fault("a datagram was cut")
    }
    store.release(slice)
  }

  private func read(_ completion: Completion, on socket: Socket, _ body: ([UInt8]) -> Void) {
    read(completion, on: socket) { payload, _ in body(payload) }
  }

  // MARK: At the client

  private func arrived(_ payload: [UInt8], at client: DatagramClient) {
    if payload.first == 0xFF {
      client.pushed += 1
      return
    }
    guard let (key, number) = Self.name(of: payload) else {
      if payload != Array(Self.content(client.key, 0, payload.count)) {
        fault("client \(client.key): a short datagram of another")
      }
      client.echoedShort += 1
      return
    }
    guard key == client.key, number < client.sent.count else {
      return fault("client \(client.key): a datagram of \(key)")
    }
    if payload != Self.content(key, number, client.sent[number]) {
      fault("client \(key): datagram \(number) is not what was sent")
    }
    client.echoed[number, default: 0] += 1
  }

  private static func name(of payload: [UInt8]) -> (key: UInt32, number: Int)? {
    guard payload.count >= nameBytes else { return nil }
    func word(_ at: Int) -> UInt32 { payload[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
    return (word(0), Int(word(4)))
  }

  // MARK: At the target

  private func arrived(_ datagram: [UInt8], _ session: SocketAddress, at target: DatagramTarget) {
    var payload = datagram
    target.sessions.insert(session)
    if let (header, count) = Self.header(of: datagram) {
      if target.header == .none { return fault("a header that nobody wanted") }
      if let known = target.clients[session], known != header.source {
        fault("the session of \(known) became that of \(header.source)")
      }
      target.clients[session] = header.source
      if target.header == .first {
        if count != datagram.count { fault("the header is no datagram of its own") }
        return
      }
      payload.removeFirst(count)
    } else if target.header == .every {
      return fault("a datagram without its header")
    }
    count(payload, session, at: target)
    if target.echoes { send(payload, on: target.socket, to: session) }
  }

  private func count(_ payload: [UInt8], _ session: SocketAddress, at target: DatagramTarget) {
    guard let (key, number) = Self.name(of: payload) else {
      target.arrivedShort += 1
      return
    }
    if payload != Self.content(key, number, payload.count) { fault("target: other bytes") }
    target.arrived[key, default: [:]][number, default: 0] += 1
    guard target.header != .none else { return }
    guard let source = target.clients[session] else {
      target.unknown += 1
      return
    }
    if let owner = ownerOf(key), owner != source {
      fault("target: a datagram of \(owner) in the session of \(source)")
    }
  }

  /// Where the client of that number is.
  var ownerOf: (UInt32) -> SocketAddress? = { _ in nil }

  /// A PROXY v2 header at the front, and its length.
  private static func header(of datagram: [UInt8]) -> (ProxyHeader, Int)? {
    guard datagram.count >= 16, datagram[0] == 0x0D, datagram[4] == 0 else { return nil }
    let count = 16 + Int(datagram[14]) << 8 + Int(datagram[15])
    guard datagram.count >= count else { return nil }
    let header = datagram[..<count].withUnsafeBytes {
      try? ProxyHeader(parsingV2: $0, transport: .datagram)
    }
    return header.map { ($0, count) }
  }
}

extension World {
  /// UDP clients on the clients' host, and targets on the targets'.
  func datagramPeers() -> (clients: DatagramPeers, targets: DatagramPeers) {
    let clients = DatagramPeers(kernel, clientHost)
    let targets = DatagramPeers(kernel, targetHost)
    targets.ownerOf = { [unowned clients] key in
      key < clients.clients.count ? clients.clients[Int(key)].address : nil
    }
    datagrams += [clients, targets]
    return (clients, targets)
  }
}

extension DatagramPeers {
  /// Buffers that are neither free nor in a send under way.
  var heldBuffers: Int { store[PoolID(0)].usedCount - sending.count }
}

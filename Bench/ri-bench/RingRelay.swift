// A relay in the clear on one of our rings: what a ring costs by itself, beside another ring.

import Glibc
import LoadKit
import RIBase
import RIRing

/// Accepts, connects onwards, and hands bytes on in both directions until the process is killed.
func serveRingRelay(_ order: RelayOrder, on ring: any IORing) throws -> Never {
  func serve<Ring: IORing>(_ ring: Ring) throws -> Never {
    let relay = try RingRelay(order, ring)
    sayReady()
    relay.serve()
  }
  try serve(ring)
}

/// Tokens carry a pair's place, a side and what was asked for.
private enum Request: UInt64 {
  case accept, connect, receive, send, close
}

private final class RingRelay<Ring: IORing> {
  /// Bytes that a direction may hold before its source is read no more.
  private static var queueBytesMax: Int { 1024 * 1024 }

  /// One socket of a pair, and the bytes that wait to be sent on it.
  private struct Side {
    var socket = Socket(descriptor: -1)
    var queue = SliceQueue()
    var isSending = false
    var isReceiving = false
    /// Its peer sends no more.
    var isEnded = false
    var isClosed = false
  }

  private struct Pair {
    /// 0 is the accepted one, 1 the one onwards.
    var sides: (Side, Side)
    var isConnected = false
    var isClosing = false
  }

  private let ring: Ring
  private let onward: SocketAddress
  private let listener: Socket
  private let congestion: CongestionControl?
  private let pool = PoolID(0)
  private let pairs: UnsafeMutablePointer<Pair>
  private var pairCount = 0
  private var freePairs: [Int] = []
  /// Sides whose receive ended for want of buffers.
  private var starved: [(pair: Int, side: Int)] = []

  private static var pairsMax: Int { 16_384 }

  init(_ order: RelayOrder, _ ring: Ring) throws {
    self.ring = ring
    congestion = order.congestion
    onward = SocketAddress(.loopbackV4, order.connectPort)
    listener = try ring.listen(
      on: SocketAddress(.loopbackV4, order.listenPort), reusePort: false, backlog: 4096)
    pairs = .allocate(capacity: Self.pairsMax)
    ring.accept(on: listener, token: token(0, 0, .accept))
  }

  func serve() -> Never {
    while true {
      for completion in ring.wait(until: nil) { handle(completion) }
      feedStarved()
    }
  }

  private func token(_ pair: Int, _ side: Int, _ request: Request) -> Token {
    Token(UInt64(pair) << 8 | UInt64(side) << 4 | request.rawValue)
  }

  private func handle(_ completion: Completion) {
    let (pair, side) = (
      Int(completion.token.rawValue >> 8), Int(completion.token.rawValue >> 4 & 1)
    )
    switch Request(rawValue: completion.token.rawValue & 15) {
    case .accept: accepted(completion)
    case .connect: connected(pair, completion.result)
    case .receive: received(pair, side, completion)
    case .send: sent(pair, side, completion.result)
    case .close: closed(pair, side)
    case nil: preconditionFailure("a token of nobody")
    }
  }

  // MARK: Beginning

  private func accepted(_ completion: Completion) {
    if completion.result >= 0 { start(Socket(descriptor: completion.result)) }
    if !completion.more { ring.accept(on: listener, token: token(0, 0, .accept)) }
  }

  private func start(_ socket: Socket) {
    guard let place = takePair(), let other = try? ring.makeStreamSocket(.v4) else {
      preconditionFailure("more than \(Self.pairsMax) connections or no descriptors")
    }
    pairs[place] = Pair(sides: (Side(socket: socket), Side(socket: other)))
    for socket in [socket, other] {
      ring.set(.noDelay(true), on: socket)
      if let congestion { ring.set(.congestionControl(congestion), on: socket) }
    }
    ring.connect(other, to: onward, token: token(place, 1, .connect))
  }

  private func connected(_ place: Int, _ result: Int32) {
    guard result >= 0, !pairs[place].isClosing else {
      end(place)
      return
    }
    pairs[place].isConnected = true
    receive(place, 0)
    receive(place, 1)
  }

  // MARK: Bytes

  private func receive(_ place: Int, _ side: Int) {
    let room = Self.queueBytesMax - Int(self[place, 1 - side].queue.byteCount)
    guard !pairs[place].isClosing, !self[place, side].isReceiving, !self[place, side].isEnded,
      room >= Self.queueBytesMax / 2
    else { return }
    self[place, side].isReceiving = true
    ring.receive(
      on: self[place, side].socket, into: pool, limitBytes: room,
      token: token(place, side, .receive))
  }

  private func received(_ place: Int, _ side: Int, _ completion: Completion) {
    if !completion.more { self[place, side].isReceiving = false }
    if let slice = completion.slice {
      if pairs[place].isClosing {
        ring.store.release(slice)
      } else {
        ring.store.append(slice, to: &self[place, 1 - side].queue)
      }
    }
    if completion.result == -ENOBUFS {
      starved.append((place, side))
    } else if completion.result == 0, !completion.more {
      self[place, side].isEnded = true
    } else if completion.result < 0 {
      end(place)
      return
    }
    send(place, 1 - side)
    if completion.result > 0 { receive(place, side) }
  }

  /// Sends what waits on a side; behind the last byte of an ended direction goes its end.
  private func send(_ place: Int, _ side: Int) {
    guard !pairs[place].isClosing, !self[place, side].isSending else { return }
    if !self[place, side].queue.isEmpty {
      self[place, side].isSending = true
      ring.send(
        self[place, side].queue, on: self[place, side].socket, mode: .all,
        token: token(place, side, .send))
    } else if self[place, 1 - side].isEnded {
      if self[place, side].isEnded, self[place, 1 - side].queue.isEmpty {
        end(place)
      } else {
        ring.shutdownSending(self[place, side].socket)
      }
    }
  }

  private func sent(_ place: Int, _ side: Int, _ result: Int32) {
    self[place, side].isSending = false
    guard result >= 0 else {
      end(place)
      return
    }
    ring.store.dropFirst(Int(result), from: &self[place, side].queue)
    send(place, side)
    receive(place, 1 - side)
  }

  private func feedStarved() {
    guard !starved.isEmpty, ring.store[pool].freeCount > 0 else { return }
    let waiting = starved
    starved.removeAll(keepingCapacity: true)
    for (place, side) in waiting { receive(place, side) }
  }

  // MARK: Ending

  private func end(_ place: Int) {
    guard !pairs[place].isClosing else { return }
    pairs[place].isClosing = true
    for side in 0...1 {
      ring.close(self[place, side].socket, mode: .graceful, token: token(place, side, .close))
    }
  }

  private func closed(_ place: Int, _ side: Int) {
    ring.store.removeAll(from: &self[place, side].queue)
    self[place, side].isClosed = true
    if self[place, 1 - side].isClosed { freePairs.append(place) }
  }

  private func takePair() -> Int? {
    if let place = freePairs.popLast() { return place }
    guard pairCount < Self.pairsMax else { return nil }
    (pairs + pairCount).initialize(to: Pair(sides: (Side(), Side())))
    pairCount += 1
    return pairCount - 1
  }

  private subscript(_ place: Int, _ side: Int) -> Side {
    get { side == 0 ? pairs[place].sides.0 : pairs[place].sides.1 }
    _modify {
      if side == 0 { yield &pairs[place].sides.0 } else { yield &pairs[place].sides.1 }
    }
  }
}

// One end of the roofline: a plain relay that encrypts, one connection onwards for each accepted
// one. No multiplexing, no flow control of its own: the least that a secure tunnel must do.
//
//   client ─plain─▶ edge ─sealed─▶ hub ─plain─▶ target

import Glibc
import LoadKit

/// An epoll loop over pairs of a plain and a sealed socket. One thread; `serve` never returns.
final class RooflineRelay {
  private static let receiveBytes = 256 * 1024
  private static let carryBytes = RooflineCipher.recordBytesMax
  /// Room for what a receive becomes: sealed it grows by 21 bytes in 16 KiB; opened it has up to
  /// one carried record in front.
  private static let bufferBytes = receiveBytes + 2 * carryBytes
  private static let listenerNumber = -1
  private static let pairsMax = 16_384

  /// One direction of a pair.
  private struct Flow {
    /// Bytes that the receiving socket did not take; their buffer comes from the pool.
    var unsent: UnsafeMutableRawPointer?
    var unsentStart = 0
    var unsentEnd = 0
    /// The begin of a record whose rest has not arrived.
    var carry: UnsafeMutableRawPointer?
    var carryCount = 0
    var sequence: UInt64 = 0
    var isEnded = false

    /// Whether its source should be read.
    var wantsInput: Bool { !isEnded && unsent == nil }
  }

  private struct Pair {
    var plain: Int32 = -1
    var sealed: Int32 = -1
    /// From plain to sealed.
    var sealing = Flow()
    /// From sealed to plain.
    var opening = Flow()
    var plainInterest: UInt32 = 0
    var sealedInterest: UInt32 = 0
  }

  private let end: TunnelEnd
  private let order: EndOrder
  private let cipher: RooflineCipher
  private let listener: Int32
  private let poller = Poller()
  private let input: UnsafeMutableRawPointer
  private var buffers: [UnsafeMutableRawPointer] = []
  /// The first `pairCount` are initialised; their memory is touched as they come into use.
  private let pairs: UnsafeMutablePointer<Pair>
  private var pairCount = 0
  private var freePairs: [Int] = []

  init(_ end: TunnelEnd, _ order: EndOrder) throws {
    cipher = try RooflineCipher(end, key: order.key)
    listener = try listenOn(
      order.listenHost, order.listenPort, congestion: order.congestion)
    self.end = end
    self.order = order
    input = .allocate(byteCount: Self.bufferBytes, alignment: 4096)
    pairs = .allocate(capacity: Self.pairsMax)
    poller.add(listener, Poller.readable, number: Self.listenerNumber)
  }

  func serve() -> Never {
    signal(SIGPIPE, SIG_IGN)
    while true {
      for i in 0..<poller.wait() {
        let (number, what) = poller.event(i)
        if number == Self.listenerNumber {
          acceptAll()
          continue
        }
        let (pair, isPlain) = (number >> 1, number & 1 == 0)
        // Nobody's: the pair was closed by an earlier event of this wait.
        guard pairs[pair].plain >= 0 else { continue }
        handle(pair, isPlain: isPlain, what)
      }
    }
  }

  private func acceptAll() {
    while let accepted = acceptFromLoopback(listener) {
      guard let place = takePair(),
        let onward = try? connectTo(
          order.connectHost, order.connectPort, congestion: order.congestion)
      else {
        close(accepted)
        continue
      }
      let isEdge = end == .edge
      pairs[place] = Pair(
        plain: isEdge ? accepted : onward, sealed: isEdge ? onward : accepted,
        plainInterest: Poller.readable, sealedInterest: Poller.readable)
      poller.add(pairs[place].plain, Poller.readable, number: place << 1)
      poller.add(pairs[place].sealed, Poller.readable, number: place << 1 | 1)
    }
  }

  /// A socket that can be written lets the flow towards it go on; one that can be read (or failed)
  /// feeds the flow that comes from it.
  private func handle(_ place: Int, isPlain: Bool, _ what: UInt32) {
    var isAlive = true
    if what & Poller.writable != 0 {
      isAlive =
        isPlain
        ? flush(&pairs[place].opening, to: pairs[place].plain)
        : flush(&pairs[place].sealing, to: pairs[place].sealed)
    }
    if isAlive, what & ~Poller.writable != 0 {
      isAlive = isPlain ? pumpPlain(place) : pumpSealed(place)
    }
    if isAlive, !(pairs[place].sealing.isEnded && pairs[place].opening.isEnded) {
      updateInterest(place)
    } else {
      end(place)
    }
  }

  /// Plain bytes in, records out. False when the pair has failed.
  private func pumpPlain(_ place: Int) -> Bool {
    guard pairs[place].sealing.wantsInput else { return !pairs[place].sealing.isEnded }
    let count = recv(pairs[place].plain, input, Self.receiveBytes, 0)
    guard count > 0 else {
      return ended(
        count, &pairs[place].sealing, pairs[place].sealed,
        isLast: pairs[place].opening.isEnded)
    }
    let buffer = takeBuffer()
    let sealed = cipher.seal(
      input, count, into: buffer, sequence: &pairs[place].sealing.sequence)
    return send(buffer, sealed, &pairs[place].sealing, to: pairs[place].sealed)
  }

  /// Records in, plain bytes out. False when the pair has failed.
  private func pumpSealed(_ place: Int) -> Bool {
    guard pairs[place].opening.wantsInput else { return !pairs[place].opening.isEnded }
    let carried = pairs[place].opening.carryCount
    if carried > 0, let carry = pairs[place].opening.carry {
      input.copyMemory(from: carry, byteCount: carried)
    }
    let count = recv(pairs[place].sealed, input + carried, Self.receiveBytes, 0)
    guard count > 0 else {
      return ended(
        count, &pairs[place].opening, pairs[place].plain,
        isLast: pairs[place].sealing.isEnded)
    }
    let buffer = takeBuffer()
    guard
      let (taken, written) = cipher.open(
        input, carried + count, into: buffer, sequence: &pairs[place].opening.sequence)
    else {
      buffers.append(buffer)
      writeText("roofline \(end.rawValue): a record did not open\n", to: 2)
      return false
    }
    keep(input + taken, carried + count - taken, for: &pairs[place].opening)
    return send(buffer, written, &pairs[place].opening, to: pairs[place].plain)
  }

  /// The source has ended or failed: the end goes on to the other socket.
  private func ended(
    _ result: Int, _ flow: inout Flow, _ socket: Int32, isLast: Bool
  ) -> Bool {
    if result < 0 { return errno == EAGAIN }
    flow.isEnded = true
    if !isLast { shutdown(socket, Int32(SHUT_WR)) }
    return true
  }

  private func keep(_ rest: UnsafeMutableRawPointer, _ count: Int, for flow: inout Flow) {
    flow.carryCount = count
    guard count > 0 else { return }
    let carry = flow.carry ?? .allocate(byteCount: Self.carryBytes, alignment: 64)
    carry.copyMemory(from: rest, byteCount: count)
    flow.carry = carry
  }

  /// Sends a buffer's bytes; what does not go keeps the buffer.
  private func send(
    _ buffer: UnsafeMutableRawPointer, _ count: Int, _ flow: inout Flow, to socket: Int32
  ) -> Bool {
    flow.unsent = buffer
    flow.unsentStart = 0
    flow.unsentEnd = count
    return flush(&flow, to: socket)
  }

  private func flush(_ flow: inout Flow, to socket: Int32) -> Bool {
    guard let buffer = flow.unsent else { return true }
    while flow.unsentStart < flow.unsentEnd {
      let count = Glibc.send(
        socket, buffer + flow.unsentStart, flow.unsentEnd - flow.unsentStart, 0)
      // ENOTCONN: the connection onwards is still on its way.
      if count < 0 { return errno == EAGAIN || errno == ENOTCONN }
      flow.unsentStart += count
    }
    flow.unsent = nil
    buffers.append(buffer)
    return true
  }

  private func updateInterest(_ place: Int) {
    let pair = pairs[place]
    let plain =
      (pair.sealing.wantsInput ? Poller.readable : 0)
      | (pair.opening.unsent != nil ? Poller.writable : 0)
    let sealed =
      (pair.opening.wantsInput ? Poller.readable : 0)
      | (pair.sealing.unsent != nil ? Poller.writable : 0)
    if plain != pair.plainInterest {
      pairs[place].plainInterest = plain
      poller.change(pair.plain, plain, number: place << 1)
    }
    if sealed != pair.sealedInterest {
      pairs[place].sealedInterest = sealed
      poller.change(pair.sealed, sealed, number: place << 1 | 1)
    }
  }

  private func end(_ place: Int) {
    close(pairs[place].plain)
    close(pairs[place].sealed)
    for flow in [pairs[place].sealing, pairs[place].opening] {
      if let unsent = flow.unsent { buffers.append(unsent) }
      flow.carry?.deallocate()
    }
    pairs[place] = Pair()
    freePairs.append(place)
  }

  private func takePair() -> Int? {
    if let place = freePairs.popLast() { return place }
    guard pairCount < Self.pairsMax else { return nil }
    (pairs + pairCount).initialize(to: Pair())
    pairCount += 1
    return pairCount - 1
  }

  private func takeBuffer() -> UnsafeMutableRawPointer {
    buffers.popLast() ?? .allocate(byteCount: Self.bufferBytes, alignment: 4096)
  }
}

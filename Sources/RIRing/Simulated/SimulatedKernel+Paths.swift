// The ways between the hosts of the simulated network: how long they take, how much they carry, and
// what cuts them.

import Glibc
import RIBase

/// How two hosts are connected, the same in both directions.
public struct SimulatedPath: Sendable {
  /// One-way delay of a segment.
  public var delay: ClosedRange<Interval>
  /// What each direction carries, the connections on it together; nil: anything.
  public var bytesPerSecond: Int?

  public init(delay: ClosedRange<Interval>, bytesPerSecond: Int? = nil) {
    precondition(delay.lowerBound >= .zero && bytesPerSecond ?? 1 > 0)
    self.delay = delay
    self.bytesPerSecond = bytesPerSecond
  }
}

/// One direction between two hosts.
final class SimulatedLine {
  /// Nil: the kernel's faults say how long it takes.
  var path: SimulatedPath?
  /// When the last segment that was given to it will have left.
  var freeAt = Instant(nanoseconds: 0)
}

/// What the owner of a stream socket has put into it and taken out of it.
public struct SimulatedTraffic: Equatable, Sendable {
  public var sentBytes: Int
  public var receivedBytes: Int

  public init(sentBytes: Int, receivedBytes: Int) {
    self.sentBytes = sentBytes
    self.receivedBytes = receivedBytes
  }
}

extension SimulatedKernel {
  struct Direction: Hashable {
    var from: SimulatedHost
    var to: SimulatedHost
  }

  /// Connects two hosts in a way of their own; segments on their way are not affected.
  public func setPath(_ path: SimulatedPath, between a: SimulatedHost, _ b: SimulatedHost) {
    line(from: a, to: b).path = path
    line(from: b, to: a).path = path
  }

  func line(from: SimulatedHost, to: SimulatedHost) -> SimulatedLine {
    let direction = Direction(from: from, to: to)
    if let line = lines[direction] { return line }
    let line = SimulatedLine()
    lines[direction] = line
    return line
  }

  /// A one-way delay; without a line that of the faults.
  func delay(_ line: SimulatedLine? = nil) -> Interval {
    let range = line?.path?.delay ?? faults.delay
    let span = range.upperBound.nanoseconds - range.lowerBound.nanoseconds
    guard span > 0 else { return range.lowerBound }
    return Interval(
      nanoseconds: range.lowerBound.nanoseconds + Int64(chance.below(Int(span) + 1)))
  }

  /// When so many bytes that are put on their way now arrive.
  func arrival(of bytes: Int, on line: SimulatedLine) -> Instant {
    if let rate = line.path?.bytesPerSecond {
      let span = Interval(nanoseconds: Int64(bytes) * 1_000_000_000 / Int64(rate))
      line.freeAt = max(line.freeAt, now) + span
      return line.freeAt + delay(line)
    }
    return now + delay(line)
  }

  // MARK: Cuts

  /// Cuts two hosts off from each other: segments wait, datagrams and resets are lost.
  public func partition(_ a: SimulatedHost, _ b: SimulatedHost) { partitions.insert([a, b]) }
  public func heal(_ a: SimulatedHost, _ b: SimulatedHost) { partitions.remove([a, b]) }

  func isPartitioned(_ a: SimulatedHost, _ b: SimulatedHost) -> Bool {
    !partitions.isEmpty && a != b && partitions.contains([a, b])
  }

  /// Resets every connection between two hosts; both ends see it at once.
  public func resetConnections(between a: SimulatedHost, _ b: SimulatedHost) {
    let ends = sockets.compactMap { $0 }.filter { socket in
      guard let pipe = socket.outgoing else { return false }
      return (pipe.from == a && pipe.to == b) || (pipe.from == b && pipe.to == a)
    }
    for socket in ends { resetBothEnds(of: socket) }
  }

  /// Resets the connection of a socket; both ends see it at once.
  public func resetConnection(of socket: Socket) {
    if let socket = self.socket(socket.descriptor) { resetBothEnds(of: socket) }
  }

  private func resetBothEnds(of socket: SimulatedSocket) {
    let peer = socket.outgoing?.reader
    resetArrived(socket)
    if let peer { resetArrived(peer) }
  }

  /// Nil when the socket is none or no stream.
  public func traffic(of socket: Socket) -> SimulatedTraffic? {
    guard let socket = self.socket(socket.descriptor), socket.role == .stream else { return nil }
    return SimulatedTraffic(
      sentBytes: socket.outgoing?.writtenBytes ?? 0,
      receivedBytes: socket.incoming?.readBytes ?? 0)
  }
}

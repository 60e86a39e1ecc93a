// What callers of a ring need not spell out.

import RIBase

extension IORing {
  /// Sends without patience.
  public func send(_ queue: SliceQueue, on socket: Socket, mode: SendMode, token: Token) {
    send(queue, on: socket, mode: mode, isPatient: false, token: token)
  }

  /// A UDP socket connected to `address`.
  public func connectDatagram(to address: SocketAddress) throws(RingError) -> Socket {
    try connectDatagram(to: address, from: nil)
  }

  /// Sends datagrams without congestion marks.
  public func sendDatagram(
    _ slice: Slice, segmentBytes: Int, on socket: Socket, to destination: SocketAddress?,
    from source: IPAddress?, token: Token
  ) {
    sendDatagram(
      slice, segmentBytes: segmentBytes, on: socket, to: destination, from: source,
      congestionMarks: 0, token: token)
  }
}

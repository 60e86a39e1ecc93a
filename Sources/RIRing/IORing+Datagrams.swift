// What callers of a ring need not spell out.

import RIBase

extension IORing {
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

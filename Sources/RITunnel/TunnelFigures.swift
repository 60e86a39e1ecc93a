// What a tunnel says of itself when it is looked at: all that it has counted, its windows, its
// queues. Not for the data path.

import RIBase

extension TunnelCounters {
  /// Adds what another tunnel has counted.
  public mutating func add(_ other: TunnelCounters) {
    controlFramesSent &+= other.controlFramesSent
    controlBytesSent &+= other.controlBytesSent
    dataFramesSent &+= other.dataFramesSent
    dataBytesSent &+= other.dataBytesSent
    sustainedFramesSent &+= other.sustainedFramesSent
    sustainedBytesSent &+= other.sustainedBytesSent
    controlFramesReceived &+= other.controlFramesReceived
    controlBytesReceived &+= other.controlBytesReceived
    dataFramesReceived &+= other.dataFramesReceived
    dataBytesReceived &+= other.dataBytesReceived
    sustainedFramesReceived &+= other.sustainedFramesReceived
    sustainedBytesReceived &+= other.sustainedBytesReceived
    streamsOpened &+= other.streamsOpened
    streamsSustained &+= other.streamsSustained
    streamsRefused &+= other.streamsRefused
    dataAfterClose &+= other.dataAfterClose
    creditOverdrawn &+= other.creditOverdrawn
    framesDropped &+= other.framesDropped
    sessionsOpened &+= other.sessionsOpened
    datagramsSent &+= other.datagramsSent
    datagramBytesSent &+= other.datagramBytesSent
    datagramsReceived &+= other.datagramsReceived
    datagramBytesReceived &+= other.datagramBytesReceived
    datagramsDropped &+= other.datagramsDropped
    probesDropped &+= other.probesDropped
    hellosDropped &+= other.hellosDropped
    framesSkipped &+= other.framesSkipped
  }
}

/// The windows of the active streams, in all.
public struct WindowUse: Codable, Equatable, Sendable {
  public var streams = 0
  /// What they may have under way to the peer, and what of it they have.
  public var sendBytes = 0
  public var inFlightBytes = 0
  /// What the peer may have under way to us, and what of it waits for a local socket.
  public var receiveBytes = 0
  public var bufferedBytes = 0
  /// Streams with data to send and no credit.
  public var stalled = 0

  public init() {}

  public mutating func add(_ other: WindowUse) {
    streams &+= other.streams
    sendBytes &+= other.sendBytes
    inFlightBytes &+= other.inFlightBytes
    receiveBytes &+= other.receiveBytes
    bufferedBytes &+= other.bufferedBytes
    stalled &+= other.stalled
  }
}

extension FramedTunnel {
  /// All that it has counted so far.
  public var totals: TunnelCounters {
    var totals = counters
    totals.framesSkipped = decoder.skippedFrames
    return totals
  }

  /// Bytes of control frames that wait to be sent.
  public var controlBytesQueued: Int { controlQueue.byteCount }

  /// How the windows stand. O(all streams): some 10 ns each.
  public var windowUse: WindowUse {
    var use = WindowUse()
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index), streams[slot].kind == .stream,
        streams[slot].phase == .live
      else { continue }
      use.streams += 1
      use.sendBytes += Int(streams[slot].sendWindow.size)
      use.inFlightBytes += streams[slot].sendWindow.inFlight
      use.receiveBytes += Int(streams[slot].receiveWindow.window)
      use.bufferedBytes += streams[slot].receiveWindow.buffered
      if !streams[slot].queue.isEmpty, streams[slot].sendWindow.credit == 0 { use.stalled += 1 }
    }
    return use
  }
}

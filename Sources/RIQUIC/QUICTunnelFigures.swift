// What a tunnel says of itself when it is looked at. Not for the data path.

import RIBase
import RITunnel

extension QUICTunnel {
  /// All that it has counted so far. A frame of data is what ngtcp2 took, or handed over, at once.
  public var totals: TunnelCounters {
    var totals = counters
    totals.framesSkipped = skippedMessages
    return totals
  }

  /// Bytes of control messages that wait to be sent.
  public var controlBytesQueued: Int {
    control.output.unsentBytes + (control.config?.count ?? 0)
  }

  /// How the windows stand. What the peer grants is ngtcp2's to know: as a send window counts what
  /// is under way. O(all streams).
  public var windowUse: WindowUse {
    var use = WindowUse()
    for index in 0..<streams.slotsEverUsed {
      guard let slot = streams.id(at: index), streams[slot].kind == .stream,
        streams[slot].phase == .live
      else { continue }
      let inFlight = Int(streams[slot].unacked.byteCount)
      use.streams += 1
      use.sendBytes += inFlight
      use.inFlightBytes += inFlight
      use.receiveBytes += Int(streams[slot].receiveWindow.window)
      use.bufferedBytes += streams[slot].receiveWindow.buffered
      if !streams[slot].queue.isEmpty, streams[slot].isBlocked { use.stalled += 1 }
    }
    return use
  }
}

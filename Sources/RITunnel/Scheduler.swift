// Whose data goes next (SPEC 2.5). Control frames never come here: they go before any of this.

import RIBase

/// A class of data; a lower one is served when the higher ones are empty.
enum Tier: UInt8 { case data }

/// Deficit round robin over the streams that have data and credit: each turn is worth one quantum
/// of bytes, so streams share by bytes whatever their frames' sizes. O(1) for every operation.
///
/// A frame can be cut to any length, so a turn ends exactly with its quantum; what is left of a
/// turn is kept only while the batch is full, and forfeited with the place in the line.
struct Scheduler {
  static let quantumBytes = Limits.schedulerQuantumBytes

  private var data = StreamList(.turn)

  var isEmpty: Bool { data.isEmpty }

  /// Puts a stream at the end of the line unless it is in it.
  mutating func enqueue(_ slot: SlotID, in streams: Slab<StreamState>) {
    switch streams[slot].tier {
    case .data: data.append(slot, in: streams)
    }
  }

  /// Takes a stream out of the line.
  mutating func remove(_ slot: SlotID, in streams: Slab<StreamState>) {
    streams[slot].deficitBytes = 0
    switch streams[slot].tier {
    case .data: data.remove(slot, in: streams)
    }
  }

  /// The stream whose turn it is and the bytes left of its turn, or nil.
  mutating func next(in streams: Slab<StreamState>) -> (slot: SlotID, bytes: Int)? {
    let slot = data.first
    guard slot != .none else { return nil }
    if streams[slot].deficitBytes == 0 {
      streams[slot].deficitBytes = Int32(Self.quantumBytes)
    }
    return (slot, Int(streams[slot].deficitBytes))
  }

  /// Counts bytes that the stream whose turn it is sent; its turn ends with them or it has no more
  /// to send.
  mutating func sent(_ bytes: Int, by slot: SlotID, in streams: Slab<StreamState>) {
    precondition(bytes <= Int(streams[slot].deficitBytes))
    streams[slot].deficitBytes -= Int32(truncatingIfNeeded: bytes)
    let isReady = streams[slot].isReady
    guard !isReady || streams[slot].deficitBytes == 0 else { return }
    remove(slot, in: streams)
    if isReady { enqueue(slot, in: streams) }
  }
}

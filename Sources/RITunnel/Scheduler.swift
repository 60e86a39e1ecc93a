// Whose data goes next (SPEC 2.5). Control frames never come here: they go before any of this.

import RIBase

/// A class of data. Data goes first; sustained streams get what it leaves, and a guaranteed rate.
public enum Tier: UInt8, Sendable { case data, sustained }

/// Two tiers, and within each deficit round robin over the streams that have data and credit: each
/// turn is worth one quantum of bytes, so streams share by bytes whatever their frames' sizes. O(1)
/// for every operation; no allocation.
///
///     data ────────────────────────────────────────────────────▶ ┐ first
///     sustained ── data is empty, and what is under way fits ──▶ ├─▶ frame
///               └─ otherwise: SustainedAllowance ──────────────▶ ┘
///
/// A stream's frame can be cut to any length, so its turn ends exactly with its quantum; what is
/// left of a turn is kept only while the batch is full or the allowance is spent, and forfeited
/// with the place in the line. A datagram cannot be cut: see `endTurn`.
struct Scheduler {
  static let quantumBytes = Limits.schedulerQuantumBytes

  private var data = StreamList(.turn)
  private var sustained = StreamList(.turn)
  private var allowance = SustainedAllowance()
  /// Sustained streams may send no more than the allowance for now, or not even that.
  private(set) var isHeldBack = false

  var isEmpty: Bool { data.isEmpty && sustained.isEmpty }

  /// Puts a stream at the end of its tier's line unless it is in it.
  mutating func enqueue(_ slot: SlotID, in streams: Slab<StreamState>) {
    switch streams[slot].tier {
    case .data: data.append(slot, in: streams)
    case .sustained: sustained.append(slot, in: streams)
    }
  }

  /// Takes a stream out of the line.
  mutating func remove(_ slot: SlotID, in streams: Slab<StreamState>) {
    streams[slot].deficitBytes = 0
    switch streams[slot].tier {
    case .data: data.remove(slot, in: streams)
    case .sustained: sustained.remove(slot, in: streams)
    }
  }

  /// Moves a stream to another tier; one that is in line goes to the end of its new line.
  mutating func setTier(_ tier: Tier, of slot: SlotID, in streams: Slab<StreamState>) {
    guard streams[slot].tier != tier else { return }
    let isInLine = streams[slot].turn.isLinked
    remove(slot, in: streams)
    streams[slot].tier = tier
    if isInLine { enqueue(slot, in: streams) }
  }

  /// The stream whose turn it is and the bytes that it may send of it, or nil. A `now` earlier than
  /// a former one counts as that one.
  ///
  /// `sustainedRoom` is what sustained streams may have under way beyond what they have, beside the
  /// data that is under way itself (see `TierFlight`).
  mutating func next(
    in streams: Slab<StreamState>, now: Instant, sustainedRoom: @autoclosure () -> Int = .max
  ) -> (slot: SlotID, bytes: Int)? {
    isHeldBack = false
    guard !sustained.isEmpty else { return turn(of: data.first, in: streams) }
    if data.isEmpty {
      let room = sustainedRoom()
      if room >= Limits.dataFrameBytesMin {
        allowance.dataIsIdle()
        return turn(of: sustained.first, in: streams).map { ($0.slot, min($0.bytes, room)) }
      }
      isHeldBack = true
    }
    let allowed = allowance.bytes(now: now)
    guard allowed >= Limits.dataFrameBytesMin else { return turn(of: data.first, in: streams) }
    return turn(of: sustained.first, in: streams).map { ($0.slot, min($0.bytes, allowed)) }
  }

  /// Counts bytes that the stream whose turn it is sent; its turn ends with them or it has no more
  /// to send.
  mutating func sent(_ bytes: Int, by slot: SlotID, in streams: Slab<StreamState>) {
    precondition(bytes <= Int(streams[slot].deficitBytes))
    if !sustained.isEmpty, isHeldBack || !data.isEmpty {
      allowance.sent(bytes, in: streams[slot].tier)
    }
    streams[slot].deficitBytes -= Int32(truncatingIfNeeded: bytes)
    let isReady = streams[slot].isReady
    guard !isReady || streams[slot].deficitBytes == 0 else { return }
    remove(slot, in: streams)
    if isReady { enqueue(slot, in: streams) }
  }

  /// Ends the turn of a session whose datagram is longer than what is left of it. It goes to the
  /// end of its line, and what was left is added to its next turn: sessions, too, share by bytes.
  mutating func endTurn(of slot: SlotID, in streams: Slab<StreamState>) {
    let left = streams[slot].deficitBytes
    remove(slot, in: streams)
    streams[slot].deficitBytes = left + Int32(Self.quantumBytes)
    enqueue(slot, in: streams)
  }

  private func turn(
    of slot: SlotID, in streams: Slab<StreamState>
  ) -> (slot: SlotID, bytes: Int)? {
    guard slot != .none else { return nil }
    if streams[slot].deficitBytes == 0 {
      streams[slot].deficitBytes = Int32(Self.quantumBytes)
    }
    return (slot, Int(streams[slot].deficitBytes))
  }
}

/// What sustained streams may send while data waits: a token bucket and a share of what data sends.
///
/// The bucket fills with time, to `Limits.sustainedBurstBytes` at most, however long it rested or
/// the clock jumped. So in any second sustained streams send no more than a full bucket and its
/// rate together: 1.25 MB. And no less than 1 MB, as long as frames are polled at least every
/// 107 ms: what comes in between two polls fits into the bucket then, and of its rate's 1.125 MB a
/// second that begins and ends between two polls misses one such span.
///
/// The share keeps a slow link from being used up by the guarantee: for each byte of data at most
/// `Limits.sustainedBytesPerDataByte` sustained ones, and the first frames are data's, so that what
/// is small never waits behind a sustained frame.
package struct SustainedAllowance {
  /// In billionths of a byte, so that none is lost between two polls.
  private var tokens = Self.tokensMax
  private var filledAt = Instant(nanoseconds: 0)
  /// Bytes that data has made way for; 0...`Limits.sustainedBurstBytes`.
  private var share = 0

  private static let tokensPerByte = 1_000_000_000
  private static let tokensMax = Limits.sustainedBurstBytes * tokensPerByte
  /// A nanosecond is worth as many tokens as a second is worth bytes.
  private static let tokensPerNanosecond = Limits.sustainedBytesPerSecond
  private static let nanosecondsToFill = Int64(tokensMax / tokensPerNanosecond + 1)

  /// Bytes that may be sent now.
  package mutating func bytes(now: Instant) -> Int {
    if now > filledAt {
      let span = Int(min((now - filledAt).nanoseconds, Self.nanosecondsToFill))
      tokens = min(Self.tokensMax, tokens + span * Self.tokensPerNanosecond)
      filledAt = now
    }
    return min(tokens / Self.tokensPerByte, share)
  }

  /// Counts bytes that were sent while both tiers were waiting; at most `bytes(now:)` of the
  /// sustained one.
  package mutating func sent(_ bytes: Int, in tier: Tier) {
    switch tier {
    case .data:
      share = min(
        share + bytes * Limits.sustainedBytesPerDataByte, Limits.sustainedBurstBytes)
    case .sustained:
      share = max(0, share - bytes)
      tokens = max(0, tokens - bytes * Self.tokensPerByte)
    }
  }

  package mutating func dataIsIdle() { share = 0 }

  package init() {}
}

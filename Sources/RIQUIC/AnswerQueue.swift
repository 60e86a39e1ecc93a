// Packets that belong to no link, bounded in number and in rate: what anybody can make us send.

import RIBase

/// Version negotiation, Retry, stateless resets and refusals that wait to be sent.
struct AnswerQueue {
  private var packets: [(path: QUICPath, bytes: [UInt8])] = []
  private var head = 0
  /// A token bucket, in billionths of an answer.
  private var tokens = Int64(Limits.quicAnswersPerSecond) * 1_000_000_000 / 4
  private var filledAt = Instant(nanoseconds: 0)

  var isEmpty: Bool { head == packets.count }

  /// Whether one more answer may be made now; counts it if so.
  mutating func take(now: Instant) -> Bool {
    let rate = Int64(Limits.quicAnswersPerSecond)
    // A quarter of a second's at once.
    let most = rate * 1_000_000_000 / 4
    if now > filledAt {
      let elapsed = min((now - filledAt).nanoseconds, 1_000_000_000)
      tokens = min(most, tokens + elapsed * rate)
      filledAt = now
    }
    guard tokens >= 1_000_000_000, packets.count - head < Limits.quicAnswersQueuedMax else {
      return false
    }
    tokens -= 1_000_000_000
    return true
  }

  mutating func append(_ path: QUICPath, _ bytes: [UInt8]) { packets.append((path, bytes)) }

  mutating func popFirst() -> (path: QUICPath, bytes: [UInt8])? {
    guard !isEmpty else { return nil }
    let packet = packets[head]
    head += 1
    if head == packets.count {
      packets.removeAll(keepingCapacity: true)
      head = 0
    }
    return packet
  }
}

// One question to a STUN server over UDP, asked again and again until it is answered (RFC 8489
// 6.2.1).

import RIBase
import RIWire

/// A request under way. Sends 7 times at most: at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s; 8 s after
/// the last it has failed.
public struct STUNTransaction: Sendable {
  static let retransmissionTimeout = Interval.milliseconds(500)
  /// Rc: requests in all.
  static let requestsMax = 7
  /// Rm: how many first time-outs the last request is waited for.
  static let lastWaitFactor: Int64 = 16

  public let id: STUNTransactionID
  private var requestsSent = 0
  /// The next request, or the end.
  public private(set) var deadline: Instant
  private var timeout = retransmissionTimeout

  /// The first request is due at once.
  public init(id: STUNTransactionID, now: Instant) {
    self.id = id
    deadline = now
  }

  public enum Step: Equatable, Sendable {
    case send
    case wait
    case failed
  }

  /// What is due at `now`.
  public mutating func step(now: Instant) -> Step {
    guard now >= deadline else { return .wait }
    guard requestsSent < Self.requestsMax else { return .failed }
    requestsSent += 1
    if requestsSent == Self.requestsMax {
      let wait = Self.lastWaitFactor * Self.retransmissionTimeout.nanoseconds
      deadline = now + Interval(nanoseconds: wait)
    } else {
      deadline = now + timeout
      timeout = Interval(nanoseconds: 2 * timeout.nanoseconds)
    }
    return .send
  }

  public var request: [UInt8] { STUNMessage.bindingRequest(id) }
}

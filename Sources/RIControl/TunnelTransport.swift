// What carries a tunnel, and which of the two an edge tries when (SPEC 3).

import RIBase

/// What carries a tunnel.
public enum TunnelTransport: String, CaseIterable, Codable, Sendable {
  case tcpTls, quic

  /// As people say it.
  public var label: String { self == .tcpTls ? "TLS" : "QUIC" }
}

/// How long an edge waits for QUIC.
public struct TransportTimers: Equatable, Sendable {
  /// Where there is a fallback QUIC has this long to bring a tunnel up.
  public var quicPatience = Limits.quicPatience
  /// While a tunnel is on the fallback QUIC is tried again so often.
  public var quicRetryInterval = Limits.quicRetryInterval

  public init() {}

  /// The usual ones, unless variables say otherwise, in seconds. Throws the name of a variable that
  /// says no positive number.
  public init(from variable: (String) -> String?) throws(TransportTimersFault) {
    if let patience = try Self.interval("REMOTEINGRESS_QUIC_PATIENCE", variable) {
      quicPatience = patience
    }
    if let retry = try Self.interval("REMOTEINGRESS_QUIC_RETRY", variable) {
      quicRetryInterval = retry
    }
  }

  private static func interval(
    _ name: String, _ variable: (String) -> String?
  ) throws(TransportTimersFault) -> Interval? {
    guard let text = variable(name), !text.isEmpty else { return nil }
    guard let seconds = Int64(text), (1...86_400).contains(seconds) else {
      throw TransportTimersFault(variable: name)
    }
    return .seconds(seconds)
  }
}

/// A variable that should have been a number of seconds.
public struct TransportTimersFault: Error, Equatable, Sendable, CustomStringConvertible {
  public var variable: String

  public var description: String { "\(variable) is a number of seconds, 1 to 86400" }
}

/// Which transport an edge tries first, when it gives that up for another, and when it comes back.
public struct TransportPolicy: Sendable {
  public let mode: TransportMode
  public let timers: TransportTimers

  public init(mode: TransportMode, timers: TransportTimers = TransportTimers()) {
    self.mode = mode
    self.timers = timers
  }

  /// What each attempt begins with, also one that follows a lost tunnel on the fallback.
  public var first: TunnelTransport { mode == .tcpTls ? .tcpTls : .quic }

  /// What the same attempt goes on with when `transport` brought no tunnel; nil: it has failed.
  public func fallback(from transport: TunnelTransport) -> TunnelTransport? {
    mode == .quicWithFallback && transport == .quic ? .tcpTls : nil
  }

  /// How long an attempt stays with `transport`; nil: until all of its addresses have failed.
  public func patience(with transport: TunnelTransport) -> Interval? {
    fallback(from: transport) == nil ? nil : timers.quicPatience
  }

  /// How long a tunnel on `transport` is up before the first choice is tried again beside it; nil:
  /// it is the first choice.
  public func retryInterval(on transport: TunnelTransport) -> Interval? {
    transport == first ? nil : timers.quicRetryInterval
  }
}

// How much waits for its turn in a tunnel, by tier.

/// Payload bytes queued.
public struct QueuedBytes: Equatable, Sendable {
  public var data = 0
  public var sustained = 0

  public init() {}

  public var total: Int { data + sustained }

  /// What may be sent before anything that is queued in a tier now.
  public func ahead(of tier: Tier) -> Int {
    switch tier {
    case .data: data
    case .sustained: total
    }
  }

  package subscript(tier: Tier) -> Int {
    get {
      switch tier {
      case .data: data
      case .sustained: sustained
      }
    }
    set {
      switch tier {
      case .data: data = newValue
      case .sustained: sustained = newValue
      }
    }
  }
}

// One look at the engine for many who ask at once.

import RemoteIngress

/// Keeps the last snapshot for a moment: however many ask, the engine is asked a few times a
/// second.
actor StatusCache {
  private let source: any AdminSource
  private let maxAge: Duration
  private var last: (taken: ContinuousClock.Instant, snapshot: AdminSnapshot)?
  private var underWay: Task<AdminSnapshot, Never>?

  init(_ source: any AdminSource, maxAge: Duration) {
    self.source = source
    self.maxAge = maxAge
  }

  func snapshot() async -> AdminSnapshot {
    if let last, ContinuousClock.now - last.taken < maxAge { return last.snapshot }
    if let underWay { return await underWay.value }
    let source = source
    let task = Task { await source.snapshot() }
    underWay = task
    let snapshot = await task.value
    last = (.now, snapshot)
    underWay = nil
    return snapshot
  }
}

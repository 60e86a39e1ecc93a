// The loop: two directions, two devices, one thread.

import CLinkIO
import Glibc
import LoadKit

/// Carries packets between two descriptors that keep their boundaries (TUN devices, or datagram
/// sockets in tests), both non-blocking and not owned.
///
/// While packets come, it wakes once a tick and takes all that has gathered: a wake for each would
/// cost more than the packets. So a departure is late by up to a tick under load, and exact to the
/// timer when the link is quiet.
public struct LinkEmulator: ~Copyable {
  private static let tickNanoseconds: UInt64 = 50_000

  private var aToB: LinkPath
  private var bToA: LinkPath
  private let stop: Int32
  /// `[stop, a, b]`: what a wait looks at.
  private let sources: UnsafeMutablePointer<pollfd>

  /// Ends when `stop` is readable. `packetBytesMax` includes `prefixBytes`, which stand in front of
  /// each packet and are not part of it.
  public init(
    a: Int32, b: Int32, stop: Int32, _ conditions: LinkConditions, packetBytesMax: Int,
    prefixBytes: Int = 0
  ) {
    aToB = LinkPath(
      from: a, to: b, conditions, stream: 0, packetBytesMax: packetBytesMax,
      prefixBytes: prefixBytes)
    bToA = LinkPath(
      from: b, to: a, conditions, stream: 1, packetBytesMax: packetBytesMax,
      prefixBytes: prefixBytes)
    self.stop = stop
    sources = .allocate(capacity: 3)
    for (place, descriptor) in [stop, a, b].enumerated() {
      (sources + place).initialize(to: pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
    }
  }

  deinit { sources.deallocate() }

  public var counters: (aToB: LinkCounters, bToA: LinkCounters) {
    (aToB.counters, bToA.counters)
  }

  /// Works until `isOver` says so, which is asked whenever `stop` is readable.
  public mutating func run(until isOver: () -> Bool) {
    link_set_timer_slack(1)
    while true {
      let work = turn(at: clockNanoseconds())
      if wait(hasWorked: work > 0), isOver() { return }
    }
  }

  /// Everything that can be done now; how many packets were moved.
  private mutating func turn(at now: UInt64) -> Int {
    aToB.deliver(at: now) + bToA.deliver(at: now) + aToB.take(at: now) + bToA.take(at: now)
  }

  private var nextDeparture: UInt64? {
    guard let next = aToB.nextDeparture else { return bToA.nextDeparture }
    return min(next, bToA.nextDeparture ?? next)
  }

  /// Sleeps; whether `stop` is readable. After work only the time wakes, otherwise packets do too.
  private func wait(hasWorked: Bool) -> Bool {
    var time: Int64 = -1
    if hasWorked {
      time = Int64(Self.tickNanoseconds)
    } else if let next = nextDeparture {
      let now = clockNanoseconds()
      time = next > now ? Int64(next - now) : 0
    }
    sources[0].revents = 0
    return link_wait(sources, hasWorked ? 1 : 3, time) > 0 && sources[0].revents != 0
  }
}

// What is asked of the scheduler arrives there.

import Foundation
import RIBase
import Testing

@testable import RIRing

@Suite struct ScheduleTests {
  /// The slice of a thread as /proc says it; nil where the kernel does not show it.
  private static func slice() throws -> Double? {
    let text = try String(contentsOfFile: "/proc/thread-self/sched", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix("se.slice") }
    return line?.split(separator: ":").last.flatMap {
      Double($0.trimmingCharacters(in: .whitespaces))
    }
  }

  @Test func aThreadAsksForShortSlices() async throws {
    let (isTaken, before, after) = try await withCheckedThrowingContinuation {
      (continuation: CheckedContinuation<(Bool, Double?, Double?), any Error>) in
      Thread.detachNewThread {
        continuation.resume(
          with: Result {
            let before = try Self.slice()
            return (requestTimeSlice(.microseconds(100)), before, try Self.slice())
          })
      }
    }
    #expect(isTaken)
    guard let before, let after else { return }
    #expect(after < before, "slices of \(before) ns before, \(after) ns after")
  }
}

// Clients that do not wait for the other side: messages at fixed times, and connections that are
// never read.

import Glibc
import Testing

@testable import LoadKit

@Suite("Open loop")
struct OpenLoopTests {
  static let paced =
    #""kind": "paced", "connections": 1, "messageBytes": 64, "#
    + #""intervalMilliseconds": 2"#

  @Test("every message is answered and timed", arguments: [1, 3])
  func paced(connections: Int) throws {
    let result = try Target(.asked).run(
      """
      "kind": "paced", "connections": \(connections), "messageBytes": 64, "intervalMilliseconds": 2
      """)
    let counts = try #require(result.paced)
    #expect(counts.sent >= connections && counts.lost == 0)
    #expect(counts.sent % connections == 0)
    #expect(try #require(result.latency).p50 > 0)
  }

  @Test("latency counts from when a message was due, so one stall shows in all that fall into it")
  func stall() throws {
    let result = try untilTraffic(0.5) { _ in
      let target = try Target { connection in
        var held = [UInt8](repeating: 0, count: 50 * 64)
        guard recv(connection, &held, held.count, Int32(MSG_WAITALL)) == held.count else { return }
        send(connection, held, held.count, 0)
        while true {
          let count = recv(connection, &held, held.count, 0)
          guard count > 0 else { return }
          send(connection, held, count, 0)
        }
      }
      return try target.run(Self.paced, warmUpSeconds: 0, seconds: 0.5)
    }
    #expect(try #require(result.paced).lost == 0)
    // The first of 50 messages waited for the last, 49 intervals later; the 20th for 30 of them.
    // Of 250 messages the slowest 12 are beyond the 95th percentile.
    let latency = try #require(result.latency)
    #expect(latency.max >= 49 * 2_000 * 0.98)
    #expect(latency.p95 >= 30 * 2_000 * 0.98)
  }

  @Test("answers that never come are counted as lost")
  func lost() throws {
    // Long enough for the three even on a busy machine.
    let result = try untilTraffic(0.5) { seconds in
      let target = try Target { connection in
        var message = [UInt8](repeating: 0, count: 64)
        for number in 0... {
          guard recv(connection, &message, 64, Int32(MSG_WAITALL)) == 64 else { return }
          if number < 3 { send(connection, message, 64, 0) }
        }
      }
      return try target.run(Self.paced, warmUpSeconds: 0, seconds: seconds)
    }
    let counts = try #require(result.paced)
    #expect(counts.answered == 3)
    #expect(counts.lost == counts.sent - 3)
  }

  @Test("a wrong echo ends the load")
  func wrongEcho() throws {
    let target = try Target { connection in
      send(connection, [UInt8](repeating: 7, count: 64), 64, 0)
    }
    #expect(throws: LoadError.self) { try target.run(Self.paced) }
  }

  @Test("stalled connections are asked for, hold what came, and are not read")
  func stalled() throws {
    let result = try Target(.asked).run(
      #""kind": "stalled", "connections": 6, "connectsPerSecond": 1000"#, seconds: 1)
    #expect(result.stalled == StalledCounts(requested: 6, served: 6, ended: 0))
    #expect(result.units == 6)
  }

  @Test("a stalled connection that the other side ends is noticed")
  func ended() throws {
    let target = try Target { connection in
      let pattern = Pattern()
      withExtendedLifetime(pattern) { _ = send(connection, pattern.bytes(at: 0), 10, 0) }
      close(connection)
    }
    let result = try target.run(
      #""kind": "stalled", "connections": 1, "connectsPerSecond": 1000"#, seconds: 1)
    #expect(result.stalled?.ended == 1)
    #expect(result.stalled?.served == 1)
  }

  @Test("wrong bytes that wait at a stalled connection are noticed")
  func wrongBytes() throws {
    let target = try Target { connection in
      send(connection, [UInt8](repeating: 7, count: 10), 10, 0)
    }
    #expect(throws: LoadError.self) {
      try target.run(
        #""kind": "stalled", "connections": 1, "connectsPerSecond": 1000"#, seconds: 0.2)
    }
  }
}

// What a client has counted, said once a second and at the end.

import FoundationEssentials
import LoadKit

struct ClientCounts: Codable, Equatable {
  /// Connections that the target has answered; sessions that have had an echo.
  var opened = 0
  /// Connections that did not come about, or were ended by the other side.
  var failed = 0
  /// Messages, connections or datagrams that were due, and those whose echo came.
  var sent = 0
  var answered = 0
  var bytesSent: UInt64 = 0
  var bytesReceived: UInt64 = 0
  /// Datagrams that came twice.
  var repeated = 0

  var lost: Int { sent - answered }
}

/// The result of a run, as JSON.
struct ClientResult: Codable {
  var plan: ClientPlan
  /// From the first that was due to the last.
  var seconds: Double
  var counts: ClientCounts
  var lost: Int
  /// From when a message, connection or datagram was due to its echo's last byte; nil for bulk.
  var latencyMicroseconds: Latency?
  /// How late the client itself was.
  var latenessMicroseconds: Latency?
  /// What the target knew clients by.
  var addressesSeen: [String]
  /// Whether that was from PROXY headers; nil where no connection was answered.
  var addressesFromHeaders: Bool?
  /// Why the run is not good; nil when it is.
  var failure: String?
}

final class ClientTally {
  private static let addressesMax = 100

  private let plan: ClientPlan
  private(set) var counts = ClientCounts()
  private var latencies = Histogram()
  private var lateness = Histogram()
  private var addresses: Set<String> = []
  private var fromHeaders: Bool?
  /// The first connection's that failed.
  private(set) var firstFailure: String?
  /// Since the last line.
  private var recent = (latencies: Histogram(), counts: ClientCounts())

  init(_ plan: ClientPlan) { self.plan = plan }

  func opened(_ reply: Reply? = nil) {
    counts.opened += 1
    guard let reply else { return }
    fromHeaders = reply.isFromHeader && fromHeaders != false
    if addresses.count < Self.addressesMax { addresses.insert(reply.client.host) }
  }

  func failed(_ why: String) {
    counts.failed += 1
    firstFailure = firstFailure ?? why
  }

  func sent(due: UInt64, at now: UInt64) {
    counts.sent += 1
    lateness.record(now - min(due, now))
  }

  func answered(due: UInt64, at now: UInt64) {
    counts.answered += 1
    latencies.record(now - min(due, now))
    recent.latencies.record(now - min(due, now))
  }

  func bytes(sent: Int = 0, received: Int = 0) {
    counts.bytesSent += UInt64(sent)
    counts.bytesReceived += UInt64(received)
  }

  func repeated() { counts.repeated += 1 }

  /// What happened since the last line.
  func line(_ second: Int, seconds: Double) -> String {
    defer { recent = (Histogram(), counts) }
    let before = recent.counts
    var parts: [String] = []
    if plan.isBulk {
      let received = Double(counts.bytesReceived - before.bytesReceived) / seconds / 1e6
      let sent = Double(counts.bytesSent - before.bytesSent) / seconds / 1e6
      parts.append("\(significant(plan.mode == .download ? received : sent)) MB/s")
    } else {
      let latency = Latency(recent.latencies)
      parts.append("\(fixed(Double(counts.answered - before.answered) / seconds, 0)) answered/s")
      if recent.latencies.total > 0 {
        parts.append(
          "p50 \(significant(latency.p50)) us, p99 \(significant(latency.p99)) us, "
            + "max \(significant(latency.max)) us")
      }
      parts.append("\(counts.lost) unanswered")
    }
    parts.append("\(counts.opened) opened, \(counts.failed) failed")
    return "\(second) s: \(parts.joined(separator: ", "))"
  }

  func result(seconds: Double, failure: String?) -> ClientResult {
    ClientResult(
      plan: plan, seconds: seconds, counts: counts, lost: plan.isBulk ? 0 : counts.lost,
      latencyMicroseconds: plan.isBulk ? nil : Latency(latencies),
      latenessMicroseconds: plan.isBulk ? nil : Latency(lateness),
      addressesSeen: addresses.sorted(), addressesFromHeaders: fromHeaders,
      failure: failure ?? complaint)
  }

  /// What the counts say against a run in which no byte was wrong.
  private var complaint: String? {
    if counts.failed > plan.failuresMax {
      return "\(counts.failed) connections failed, the first: \(firstFailure ?? "unknown")"
    }
    guard plan.mode != .udp else {
      let share = counts.sent == 0 ? 1 : Double(counts.lost) / Double(counts.sent)
      return share > plan.lossMax
        ? "\(counts.lost) of \(counts.sent) datagrams were lost" : nil
    }
    if !plan.isBulk, counts.lost > plan.failuresMax {
      return "\(counts.lost) of \(counts.sent) messages were not answered"
    }
    return counts.opened == 0 ? "no connection was opened" : nil
  }
}

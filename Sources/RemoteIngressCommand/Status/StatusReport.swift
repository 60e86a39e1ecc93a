// A status for people: a few lines, then tables.

import RIBase
import RIControl
import RIWire
import RemoteIngress

extension StatusSample {
  /// The status in words; with rates when there is an earlier one to compare with.
  func report(since before: StatusSample?, columns: Int? = nil, now: Double? = nil) -> String {
    let now = now ?? secondsSince1970()
    let lines: [String]
    switch content {
    case .hub(let status):
      let earlier: HubStatus? = if case .hub(let status)? = before?.content { status } else { nil }
      lines = status.lines(Rates(earlier?.connectedEdges, seconds(since: before)), now)
    case .edge(let status):
      let earlier: EdgeStatus? =
        if case .edge(let status)? = before?.content { status } else { nil }
      lines = status.lines(Rates(earlier?.tunnels, seconds(since: before)), now)
    case .unknown: lines = [String(decoding: body, as: UTF8.self)]
    }
    return lines.map { line in columns.map { String(line.prefix($0)) } ?? line }
      .joined(separator: "\n")
  }

  private func seconds(since before: StatusSample?) -> Double {
    before.map { (time - $0.time) / .seconds(1) } ?? 0
  }
}

/// How fast tunnels move bytes, from two looks at them.
private struct Rates {
  private var before: [String: LinkStatus] = [:]
  private let seconds: Double

  init(_ before: [LinkStatus]?, _ seconds: Double) {
    for link in before ?? [] { self.before[Self.key(link)] = link }
    self.seconds = seconds
  }

  var areKnown: Bool { seconds > 0 }

  private static func key(_ link: LinkStatus) -> String {
    "\(link.edgeID) \(link.address) \(link.connectedAt)"
  }

  /// Bytes a second, of the direction that `count` reads.
  func rate(of link: LinkStatus, _ count: (LinkStatus) -> UInt64) -> String {
    guard seconds > 0, let earlier = before[Self.key(link)], count(link) >= count(earlier) else {
      return "-"
    }
    return bytes(UInt64(Double(count(link) - count(earlier)) / seconds)) + "/s"
  }
}

extension HubStatus {
  fileprivate func lines(_ rates: Rates, _ now: Double) -> [String] {
    let port = tunnelPort.map { ", tunnel port \($0)" } ?? ""
    let head = [
      "hub \(running ? "running" : "not running")\(port), version \(shown(version))",
      "\(connectedEdges.count) edges, \(activeStreams) streams, \(udpSessions) UDP sessions",
      process.line(now),
    ]
    return head + shards.memoryLines
      + (connectedEdges.isEmpty ? [] : [""] + tunnelTable(connectedEdges, rates, now))
  }
}

extension EdgeStatus {
  fileprivate func lines(_ rates: Rates, _ now: Double) -> [String] {
    var lines = [
      "edge \(shown(edgeId ?? "")) \(connected ? "connected" : "not connected")"
        + ", version \(shown(version))",
      "\(activeStreams) streams, \(udpSessions) UDP sessions, "
        + "public address \(shown(publicIp ?? "not known"))",
      process.line(now),
      "firewall \(firewall.state.rawValue)"
        + (firewall.state == .applied
          ? ": \(firewall.rules) rules, \(firewall.blockedIps) blocked, "
            + "\(firewall.rateLimits) rate limits"
          : "") + (firewall.reason.map { ": \(shown($0))" } ?? ""),
    ]
    lines += shards.memoryLines
    if !tunnels.isEmpty { lines += [""] + tunnelTable(tunnels, rates, now) }
    if !listeners.isEmpty {
      let rows = listeners.map {
        [
          "\($0.transport.rawValue) \($0.port)", shown($0.address), $0.state.rawValue,
          shown($0.error ?? ""),
        ]
      }
      lines += [""] + table(["PORT", "ADDRESS", "STATE", ""], rows)
    }
    return lines
  }
}

extension EngineProcessStatus {
  fileprivate func line(_ now: Double) -> String {
    let name = pid.map { "engine \($0)" } ?? "engine"
    let since = startedAt.map { " for \(duration(now - $0))" } ?? ""
    let crash = lastCrash.map { ", the last time: \(shown($0))" } ?? ""
    let crashes = crashesRecovered > 0 ? ", replaced \(crashesRecovered) times\(crash)" : ""
    return "\(name) \(state.rawValue)\(since)\(crashes)"
  }
}

extension [ShardStatus] {
  /// One line about memory, and one about what went wrong, if anything did.
  fileprivate var memoryLines: [String] {
    guard !isEmpty else { return [] }
    let held = reduce(0) { $0 + $1.memory.heldBytes }
    let budget = reduce(0) { $0 + $1.memory.budgetBytes }
    let queued = reduce(0) { $0 + $1.queuedBytes }
    var lines = [
      "\(bytes(UInt64(clamping: queued))) queued, \(bytes(UInt64(clamping: held))) of "
        + "\(bytes(UInt64(clamping: budget))) held for stalled streams"
    ]
    let faults: [(UInt64, String)] = [
      (reduce(0) { $0 + $1.counters.budgetResets }, "reset for memory"),
      (reduce(0) { $0 + $1.counters.clientsRefused }, "clients refused"),
      (reduce(0) { $0 + $1.counters.streamsRefused }, "streams refused"),
      (reduce(0) { $0 + $1.counters.handshakesRefused }, "handshakes refused"),
      (reduce(0) { $0 + $1.counters.drops.total }, "datagrams dropped"),
      (reduce(0) { $0 + $1.metrics.packets.drops.total }, "QUIC packets dropped"),
    ]
    let named = faults.filter { $0.0 > 0 }.map { "\($0) \($1)" }
    if !named.isEmpty { lines.append(named.joined(separator: ", ")) }
    return lines
  }
}

private func tunnelTable(_ links: [LinkStatus], _ rates: Rates, _ now: Double) -> [String] {
  let rows = links.map { link in
    let name = shown(link.edgeID) + (link.draining ? " (draining)" : "")
    let traffic =
      rates.areKnown
      ? [rates.rate(of: link) { $0.bytesIn }, rates.rate(of: link) { $0.bytesOut }]
      : [bytes(link.bytesIn), bytes(link.bytesOut)]
    return [
      name, shown(link.address), link.transport.rawValue, duration(now - link.connectedAt),
      link.roundTrip.map { milliseconds($0) } ?? "-", "\(link.activeStreams)",
      "\(link.udpSessions)",
    ] + traffic
  }
  return table(
    ["EDGE", "ADDRESS", "TRANSPORT", "UP", "RTT", "STREAMS", "UDP", "IN", "OUT"], rows)
}

/// Columns as wide as their widest cell, two blanks apart.
private func table(_ head: [String], _ rows: [[String]]) -> [String] {
  let all = [head] + rows
  let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
  return all.map { row in
    let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
    return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
  }
}

/// "3 h 2 min", from the two largest units.
func duration(_ seconds: Double) -> String {
  let total = Int(max(0, seconds.isFinite ? seconds : 0))
  let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")]
  guard let first = units.firstIndex(where: { total >= $0.0 }) else { return "0 s" }
  let (size, name) = units[first]
  var text = "\(total / size) \(name)"
  if first + 1 < units.count, total % size >= units[first + 1].0 {
    text += " \(total % size / units[first + 1].0) \(units[first + 1].1)"
  }
  return text
}

/// "1.5 MB", in powers of 1,000.
func bytes(_ count: UInt64) -> String {
  var value = Double(count)
  for unit in ["B", "kB", "MB", "GB", "TB"] {
    if value < 999.5 || unit == "TB" {
      return unit == "B" || value >= 99.95
        ? "\(Int(value.rounded())) \(unit)" : "\(tenths(value)) \(unit)"
    }
    value /= 1_000
  }
  return "\(count) B"
}

private func milliseconds(_ seconds: Double) -> String { "\(tenths(seconds * 1_000)) ms" }

private func tenths(_ value: Double) -> String {
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}

/// Text of a peer, without what would move a terminal's cursor.
private func shown(_ text: String) -> String {
  String(
    String.UnicodeScalarView(
      text.unicodeScalars.map { scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: "?"
        default: scalar
        }
      }))
}

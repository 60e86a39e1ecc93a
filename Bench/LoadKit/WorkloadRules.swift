// What a workload file may say: each kind has fields that it needs, and all have bounds.

/// Whether a field must, may or must not be there.
private enum Presence { case needed, allowed, refused }

extension Workload {
  /// What is wrong with the workload, in words; nil for nothing.
  func complaint() -> String? {
    guard (1...16_384).contains(connections) else { return "connections must be 1 to 16384" }
    let complaints = [
      check("messageBytes", messageBytes, 1...65_536, ofMessages),
      check("downloadBytes", downloadBytes, 1...1_000_000_000, of(.shortDown)),
      check(
        "intervalMilliseconds", intervalMilliseconds, 1...60_000,
        messagesPerSecond == nil ? of(.paced) : .refused),
      check(
        "messagesPerSecond", messagesPerSecond, 1...1_000_000,
        kind == .paced ? .allowed : .refused),
      check("connectsPerSecond", connectsPerSecond, 1...10_000, of(.stalled, .slow, .idle)),
      check("readBytesPerSecond", readBytesPerSecond, 1...1_000_000_000, of(.slow)),
      check("shards", shards, 1...64, .allowed),
      sweep.flatMap(complaint),
      check("secondsMin", secondsMin, 0...600, .allowed),
      check("warmUpSecondsMin", warmUpSecondsMin, 0...60, .allowed),
      check("loopbackMTU", loopbackMTU, 576...65_536, .allowed),
      check("besideLeadSeconds", besideLeadSeconds, 0...60, beside == nil ? .refused : .allowed),
      alone != nil && beside == nil ? "alone needs beside" : nil,
      appetites.flatMap(complaint),
    ]
    return complaints.lazy.compactMap(\.self).first
  }

  /// Messages may be given for any kind: a bulk workload does not look at them.
  private var ofMessages: Presence {
    [.requests, .connects, .paced, .idle].contains(kind) ? .needed : .allowed
  }

  private func of(_ owners: LoadKind...) -> Presence {
    owners.contains(kind) ? .needed : .refused
  }

  private func check<Value: Comparable>(
    _ name: String, _ value: Value?, _ bounds: ClosedRange<Value>, _ presence: Presence
  ) -> String? {
    guard let value else {
      return presence == .needed ? "\(name) must be \(words(bounds))" : nil
    }
    guard presence != .refused else { return "\(name) does not belong here" }
    return bounds.contains(value) ? nil : "\(name) must be \(words(bounds))"
  }

  private func words<Value>(_ bounds: ClosedRange<Value>) -> String {
    "\(bounds.lowerBound) to \(bounds.upperBound)"
  }

  private func complaint(_ sweep: Sweep) -> String? {
    let (connections, shards) = (sweep.connections ?? [], sweep.shards ?? [])
    guard connections.isEmpty != shards.isEmpty else {
      return "a sweep needs connections or shards, and not both"
    }
    guard connections.allSatisfy((1...16_384).contains), shards.allSatisfy((1...64).contains)
    else { return "sweep: connections must be 1 to 16384, shards 1 to 64" }
    return Set(connections + shards).count == connections.count + shards.count
      ? nil : "sweep: a value stands there twice"
  }

  private func complaint(_ appetites: [Appetite]) -> String? {
    guard kind == .bulkDown else { return "appetites do not belong here" }
    guard appetites.count == connections else { return "each connection needs an appetite" }
    let sizes = 1...Pattern.sendBytes
    for appetite in appetites {
      guard sizes.contains(appetite.receiveBytes), sizes.contains(appetite.writeBytes) else {
        return "receiveBytes and writeBytes must be \(words(sizes))"
      }
      guard (0...60_000).contains(appetite.startMilliseconds) else {
        return "startMilliseconds must be 0 to 60000"
      }
    }
    let starts = appetites.map(\.startMilliseconds)
    return starts == starts.sorted() ? nil : "appetites must be in the order of their starts"
  }
}

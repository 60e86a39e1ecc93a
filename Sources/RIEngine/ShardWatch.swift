// Streams reported one by one, while somebody wants that: the only thing of a stream that costs an
// allocation.

import RIBase
import RIControl
import RIWire
import Synchronization

/// What is known of the streams that were reported as opened.
struct WatchedStreams {
  fileprivate struct Entry {
    var stream: WatchedStream
    var since: Instant
  }

  fileprivate var entries: [SlotID: Entry] = [:]
}

/// Numbers of streams, for all shards of the process.
private let nextStreamID = Atomic<UInt64>(1)

extension Shard {
  func watchStreams(_ isWanted: Bool) {
    guard isWanted != (watched != nil) else { return }
    watched = isWanted ? WatchedStreams() : nil
  }

  func watchOpened(_ id: SlotID, _ header: ProxyHeader, _ edge: AllowedEdge) {
    let number = nextStreamID.add(1, ordering: .relaxed).oldValue
    let stream = WatchedStream(
      id: number, edgeID: edge.id, source: header.source, destination: header.destination)
    watched?.entries[id] = WatchedStreams.Entry(stream: stream, since: now)
    report(.streamOpened(stream))
  }

  /// Of those that came before anyone watched nothing is told.
  func watchClosed(_ id: SlotID) {
    guard let entry = watched?.entries.removeValue(forKey: id) else { return }
    let isComplete = connections[id].flags.isSuperset(of: [.localFinished, .remoteFinished])
    report(.streamClosed(entry.stream, after: now - entry.since, isComplete: isComplete))
  }
}

// First-in first-out lists of streams, linked through the streams' own state: no node, no memory.

import RIBase

/// A stream's place in a list.
struct StreamLink {
  var next = SlotID.none
  var previous = SlotID.none
  var isLinked = false
}

/// Which of a stream's links a list runs through.
enum StreamLinkKind { case turn, control, event }

extension StreamState {
  subscript(link kind: StreamLinkKind) -> StreamLink {
    @inline(__always)
    get {
      switch kind {
      case .turn: turn
      case .control: control
      case .event: event
      }
    }
    @inline(__always)
    set {
      switch kind {
      case .turn: turn = newValue
      case .control: control = newValue
      case .event: event = newValue
      }
    }
  }
}

/// A list of streams of one slab. A stream is in it at most once; all operations are O(1).
struct StreamList {
  let kind: StreamLinkKind
  private(set) var first = SlotID.none
  private var last = SlotID.none

  init(_ kind: StreamLinkKind) { self.kind = kind }

  var isEmpty: Bool { first == .none }

  /// Appends a stream unless it is in the list already.
  mutating func append(_ slot: SlotID, in streams: Slab<StreamState>) {
    guard !streams[slot][link: kind].isLinked else { return }
    streams[slot][link: kind] = StreamLink(next: .none, previous: last, isLinked: true)
    if last == .none { first = slot } else { streams[last][link: kind].next = slot }
    last = slot
  }

  /// Removes a stream if it is in the list.
  mutating func remove(_ slot: SlotID, in streams: Slab<StreamState>) {
    let link = streams[slot][link: kind]
    guard link.isLinked else { return }
    if link.previous == .none {
      first = link.next
    } else {
      streams[link.previous][link: kind].next = link.next
    }
    if link.next == .none {
      last = link.previous
    } else {
      streams[link.next][link: kind].previous = link.previous
    }
    streams[slot][link: kind] = StreamLink()
  }
}

// Events of one link between the callback that saw them and the engine that polls them.

import RIBase
import RITunnel

/// What happened, with the bytes that belong to it.
struct QueuedEvent {
  enum Kind: UInt8 {
    case opened, data, finished, reset, closed, room, sustained
    case sessionOpened, datagram, largeDatagram
  }

  let kind: Kind
  let slot: SlotID
  /// In a buffer of which the queue has a reference; count 0: none.
  var slice = Slice(buffer: .nothing, offset: 0, count: 0)
}

/// First in, first out; allocates only to grow.
struct EventQueue {
  private var events: [QueuedEvent] = []
  private var head = 0

  var isEmpty: Bool { head == events.count }

  mutating func append(_ event: QueuedEvent) { events.append(event) }

  /// Makes the last event's bytes longer if that is where more of the same stream's data lie.
  mutating func extendLast(_ slot: SlotID, with slice: Slice) -> Bool {
    let last = events.count - 1
    guard last >= head, events[last].kind == .data, events[last].slot == slot,
      events[last].slice.buffer == slice.buffer,
      events[last].slice.offset + events[last].slice.count == slice.offset
    else { return false }
    events[last].slice.count += slice.count
    return true
  }

  mutating func popFirst() -> QueuedEvent? {
    guard !isEmpty else { return nil }
    let event = events[head]
    head += 1
    if head == events.count {
      events.removeAll(keepingCapacity: events.count <= 4_096)
      head = 0
    }
    return event
  }
}

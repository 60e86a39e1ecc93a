// Datagrams on their way to sockets: copied together during a tick, sent at its end.
//
// Datagrams of one session that follow each other and have one size leave in one system call
// (UDP_SEGMENT). The copy is what makes them lie together; it costs a few per cent of the call it
// saves, and frees the tunnel's receive buffer at once.

import RIBase
import RIControl
import RIRing

/// Datagrams of one session and one size, side by side in one buffer. The last may be shorter.
struct DatagramRun {
  var session: SlotID
  var socket: Socket
  /// nil: the connected peer.
  var destination: SocketAddress?
  var source: IPAddress?
  /// A slice with a reference of its own.
  var bytes: Slice
  var segmentBytes: Int
  var count: Int
}

/// What a tick collects.
struct DatagramOutbox {
  /// UDP_MAX_SEGMENTS of the kernels that have it least.
  static let segmentsMax = 64

  private(set) var runs: [DatagramRun] = []
  private var buffer: BufferHandle?
  private var used = 0
  /// Whether the last run takes no more: its last datagram was shorter.
  private var isLastRunFull = false

  var isEmpty: Bool { runs.isEmpty }

  /// Copies a datagram in, `header` and `payload` joined: `Limits.udpPayloadBytesMax` at most. Runs
  /// are made of datagrams up to `segmentBytesMax`. False when there is no buffer for it.
  mutating func append(
    _ header: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer, of session: SlotID,
    on socket: Socket, to destination: SocketAddress?, from source: IPAddress?,
    segmentBytesMax: Int, store: BufferStore
  ) -> Bool {
    let count = header.count + payload.count
    guard let at = place(count, store) else { return false }
    let slice = Slice(buffer: at.buffer, offset: at.offset, count: count)
    let bytes = store.mutableBytes(slice)
    bytes.copyMemory(from: header)
    UnsafeMutableRawBufferPointer(rebasing: bytes[header.count...]).copyMemory(from: payload)
    used += count
    if extendsLastRun(slice, session, socket, segmentBytesMax) {
      runs[runs.count - 1].bytes.count += slice.count
      runs[runs.count - 1].count += 1
      isLastRunFull = count < runs[runs.count - 1].segmentBytes
      return true
    }
    store.retain(slice)
    runs.append(
      DatagramRun(
        session: session, socket: socket, destination: destination, source: source, bytes: slice,
        segmentBytes: count, count: 1))
    isLastRunFull = false
    return true
  }

  /// Where the next datagram goes: behind the last, or into a new buffer.
  private mutating func place(_ count: Int, _ store: BufferStore) -> (
    buffer: BufferHandle, offset: Int
  )? {
    let pool = store[ShardPool.datagramSend]
    precondition(count <= pool.shape.bytes)
    if let buffer, used + count <= pool.shape.bytes { return (buffer, used) }
    if let buffer { store.release(buffer) }
    buffer = pool.take()
    used = 0
    return buffer.map { ($0, 0) }
  }

  private func extendsLastRun(
    _ slice: Slice, _ session: SlotID, _ socket: Socket, _ segmentBytesMax: Int
  ) -> Bool {
    guard let last = runs.last, !isLastRunFull, last.session == session, last.socket == socket,
      last.bytes.buffer == slice.buffer, last.bytes.offset + last.bytes.count == slice.offset,
      slice.count > 0, Int(slice.count) <= last.segmentBytes, last.count < Self.segmentsMax,
      last.segmentBytes <= segmentBytesMax
    else { return false }
    return Int(last.bytes.count + slice.count) <= Limits.udpPayloadBytesMax
  }

  /// Hands the runs over. Their references are the caller's. What comes next goes on in the same
  /// buffer.
  mutating func takeRuns(_ body: (DatagramRun) -> Void) {
    for run in runs { body(run) }
    runs.removeAll(keepingCapacity: true)
  }

  /// Gives the buffer up that has been begun: the tick is over.
  mutating func rest(_ store: BufferStore) {
    if let buffer { store.release(buffer) }
    buffer = nil
    used = 0
  }
}

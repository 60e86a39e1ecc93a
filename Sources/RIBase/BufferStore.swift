// All buffers of a shard: its pools by id, slices of their buffers, and queues of slices.

/// A range of bytes in a pooled buffer. Trivial; whoever is said to own it owns one reference of
/// its buffer.
public struct Slice: Hashable, Sendable {
  public var buffer: BufferHandle
  /// Offset from the buffer's first usable byte. Negative inside the headroom.
  public var offset: Int32
  public var count: Int32

  @inlinable
  public init(buffer: BufferHandle, offset: Int, count: Int) {
    self.buffer = buffer
    self.offset = Int32(truncatingIfNeeded: offset)
    self.count = Int32(truncatingIfNeeded: count)
  }

  /// The first `n` bytes, which this slice then lacks. 0 <= n <= count.
  @inlinable
  public mutating func removePrefix(_ n: Int) -> Slice {
    precondition(n >= 0 && n <= Int(count))
    let prefix = Slice(buffer: buffer, offset: Int(offset), count: n)
    offset += Int32(truncatingIfNeeded: n)
    count -= Int32(truncatingIfNeeded: n)
    return prefix
  }
}

/// A first-in first-out queue of slices that owns a reference for each. Trivial: its nodes live in
/// the `BufferStore`, so an empty queue costs 16 bytes and no allocation ever.
public struct SliceQueue: Sendable {
  @usableFromInline var head: UInt32 = .max
  @usableFromInline var tail: UInt32 = .max
  public internal(set) var byteCount: Int32 = 0
  public internal(set) var sliceCount: Int32 = 0

  @inlinable
  public init() {}
  @inlinable
  public var isEmpty: Bool { sliceCount == 0 }
}

/// The buffers of one shard. Not safe for use by two threads.
public final class BufferStore {
  @usableFromInline let pools: [BufferPool]
  // One thread owns a store: the compiler's exclusivity checks of a class's variables, which cost
  // more than the list operations themselves, are off.
  @exclusivity(unchecked) @usableFromInline var nodes: UnsafeMutablePointer<Node>
  @exclusivity(unchecked) var nodeCapacity: Int
  @exclusivity(unchecked) private var freeNode: UInt32 = .max
  @exclusivity(unchecked) public private(set) var nodesInUse = 0

  @usableFromInline
  struct Node {
    @usableFromInline var slice: Slice
    @usableFromInline var next: UInt32
  }

  /// One pool for each shape; its id is its place.
  public init(_ shapes: [BufferPoolShape]) {
    pools = shapes.enumerated().map { BufferPool(id: PoolID(UInt8($0.offset)), shape: $0.element) }
    nodeCapacity = 0
    nodes = .allocate(capacity: 1)
    growNodes(to: 1024)
  }

  deinit { nodes.deallocate() }

  @inlinable
  public subscript(id: PoolID) -> BufferPool { pools[Int(id.rawValue)] }
  public var poolCount: Int { pools.count }

  /// Buffers of all pools that have come back since the start.
  public var returnCount: UInt64 { pools.reduce(0) { $0 &+ $1.returnCount } }

  // MARK: Slices

  /// The bytes of a slice; valid while its buffer is held.
  public func bytes(_ slice: Slice) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(mutableBytes(slice))
  }

  public func mutableBytes(_ slice: Slice) -> UnsafeMutableRawBufferPointer {
    let pool = self[slice.buffer.pool]
    // SAFETY: offset and count were cut from a loan of this buffer; checked against its bounds here
    // because a slice is a plain value that anybody can make.
    precondition(
      slice.count >= 0 && Int(slice.offset) >= -pool.shape.headroomBytes
        && Int(slice.offset) + Int(slice.count) <= pool.shape.bytes)
    return UnsafeMutableRawBufferPointer(
      start: pool.pointer(slice.buffer) + Int(slice.offset), count: Int(slice.count))
  }

  public func retain(_ slice: Slice) { self[slice.buffer.pool].retain(slice.buffer) }
  public func release(_ slice: Slice) { self[slice.buffer.pool].release(slice.buffer) }
  public func release(_ buffer: BufferHandle) { self[buffer.pool].release(buffer) }

  // MARK: Queues

  /// Appends a slice, whose reference the queue takes over. Grows the last slice instead when the
  /// two adjoin in one buffer (the second reference is dropped then), unless each slice is a
  /// message of its own (`joins` false).
  public func append(_ slice: Slice, to queue: inout SliceQueue, joins: Bool = true) {
    if joins, queue.sliceCount > 0 {
      let last = nodes[Int(queue.tail)].slice
      if last.buffer == slice.buffer, last.offset + last.count == slice.offset {
        nodes[Int(queue.tail)].slice.count += slice.count
        queue.byteCount += slice.count
        release(slice)
        return
      }
    }
    let node = takeNode(slice)
    if queue.sliceCount == 0 { queue.head = node } else { nodes[Int(queue.tail)].next = node }
    queue.tail = node
    queue.sliceCount += 1
    queue.byteCount += slice.count
  }

  /// Puts a slice in front of all others; the queue takes over its reference.
  public func prepend(_ slice: Slice, to queue: inout SliceQueue) {
    let node = takeNode(slice)
    if queue.sliceCount == 0 { queue.tail = node } else { nodes[Int(node)].next = queue.head }
    queue.head = node
    queue.sliceCount += 1
    queue.byteCount += slice.count
  }

  /// The first slice, still owned by the queue.
  public func first(of queue: SliceQueue) -> Slice? {
    queue.sliceCount == 0 ? nil : nodes[Int(queue.head)].slice
  }

  /// The last slice, still owned by the queue.
  public func last(of queue: SliceQueue) -> Slice? {
    queue.sliceCount == 0 ? nil : nodes[Int(queue.tail)].slice
  }

  /// Removes the first slice whole; the caller takes over its reference.
  public func popFirst(from queue: inout SliceQueue) -> Slice? {
    guard queue.sliceCount > 0 else { return nil }
    let node = queue.head
    let slice = nodes[Int(node)].slice
    queue.head = nodes[Int(node)].next
    queue.sliceCount -= 1
    queue.byteCount -= slice.count
    returnNode(node)
    return slice
  }

  /// Removes at most `limit` bytes from the front as one slice with a reference of its own.
  public func popFirst(_ limit: Int, from queue: inout SliceQueue) -> Slice? {
    guard queue.sliceCount > 0, limit > 0 else { return nil }
    if Int(nodes[Int(queue.head)].slice.count) <= limit { return popFirst(from: &queue) }
    let prefix = nodes[Int(queue.head)].slice.removePrefix(limit)
    queue.byteCount -= Int32(truncatingIfNeeded: limit)
    retain(prefix)
    return prefix
  }

  /// Drops `count` bytes from the front (they were sent) and the references of emptied slices.
  public func dropFirst(_ count: Int, from queue: inout SliceQueue) {
    precondition(count <= Int(queue.byteCount))
    var left = count
    while left > 0 {
      let size = Int(nodes[Int(queue.head)].slice.count)
      if size > left {
        _ = nodes[Int(queue.head)].slice.removePrefix(left)
        queue.byteCount -= Int32(truncatingIfNeeded: left)
        return
      }
      left -= size
      if let slice = popFirst(from: &queue) { release(slice) }
    }
  }

  /// Drops everything.
  public func removeAll(from queue: inout SliceQueue) {
    while let slice = popFirst(from: &queue) { release(slice) }
  }

  /// Visits the slices from the front until `body` returns false. Does not change the queue.
  @inlinable
  public func forEach(in queue: SliceQueue, _ body: (Slice) -> Bool) {
    var node = queue.head
    for _ in 0..<queue.sliceCount {
      guard body(nodes[Int(node)].slice) else { return }
      node = nodes[Int(node)].next
    }
  }

  /// The bytes in the queue's first `slicesMax` slices. O(slicesMax) on longer queues, else O(1).
  public func byteCount(of queue: SliceQueue, slicesMax: Int) -> Int32 {
    if Int(queue.sliceCount) <= slicesMax { return queue.byteCount }
    var bytes: Int32 = 0
    var left = slicesMax
    forEach(in: queue) { slice in
      bytes += slice.count
      left -= 1
      return left > 0
    }
    return bytes
  }

  // MARK: Nodes

  private func takeNode(_ slice: Slice) -> UInt32 {
    if freeNode == .max { growNodes(to: nodeCapacity * 2) }
    let node = freeNode
    freeNode = nodes[Int(node)].next
    nodes[Int(node)] = Node(slice: slice, next: .max)
    nodesInUse += 1
    return node
  }

  private func returnNode(_ node: UInt32) {
    nodes[Int(node)].next = freeNode
    freeNode = node
    nodesInUse -= 1
  }

  /// Nodes are bounded by the slices that pooled buffers can be cut into while queued; the table
  /// only ever grows to that peak.
  private func growNodes(to capacity: Int) {
    let grown = UnsafeMutablePointer<Node>.allocate(capacity: capacity)
    // SAFETY: Node is trivial; the first nodeCapacity nodes are initialised, the rest are set here.
    grown.update(from: nodes, count: nodeCapacity)
    let none = BufferHandle(pool: PoolID(0), index: 0, generation: 0)
    for i in nodeCapacity..<capacity {
      let next = i + 1 < capacity ? UInt32(i + 1) : freeNode
      grown[i] = Node(slice: Slice(buffer: none, offset: 0, count: 0), next: next)
    }
    freeNode = UInt32(nodeCapacity)
    nodes.deallocate()
    nodes = grown
    nodeCapacity = capacity
  }
}

// A table of slots with stable addresses, found by slot number and checked by generation.

/// Names one use of one slot of a `Slab`.
public struct SlotID: Hashable, Sendable {
  public let index: UInt32
  /// Odd: a taken slot's. Even generations are free slots, which no id names.
  public let generation: UInt32

  @inlinable
  public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }

  /// Names no slot.
  @inlinable
  public static var none: SlotID { SlotID(index: .max, generation: 0) }
}

/// Elements in chunks that never move. Insert, find and remove are O(1); memory grows with the
/// largest number of elements ever held at once, up to `capacity`. Not safe for use by two threads.
public final class Slab<Element> {
  public let capacity: Int
  public var count: Int { taken }
  @exclusivity(unchecked) private var taken = 0
  @usableFromInline let chunks: UnsafeMutablePointer<Chunk>
  private let chunkCapacity: Int
  @exclusivity(unchecked) @usableFromInline var slotCount = 0
  @exclusivity(unchecked) private var freeSlot = UInt32.max
  /// All slots that ever held an element come before this. A walk in every tick costs by it, not by
  /// the chunks.
  public var slotsEverUsed: Int { reached }
  @exclusivity(unchecked) private var reached = 0

  @usableFromInline
  struct Slot {
    @usableFromInline var generation: UInt32
    /// The next free slot while this one is free.
    var next: UInt32
  }

  @usableFromInline
  struct Chunk {
    @usableFromInline var slots: UnsafeMutablePointer<Slot>
    /// Initialised where the slot is taken.
    @usableFromInline var elements: UnsafeMutablePointer<Element>
  }

  @usableFromInline static var chunkSlots: Int { 256 }

  public init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(UInt32.max))
    self.capacity = capacity
    chunkCapacity = (capacity + Self.chunkSlots - 1) / Self.chunkSlots
    chunks = .allocate(capacity: chunkCapacity)
  }

  deinit {
    for index in 0..<slotCount {
      let (chunk, i) = place(UInt32(index))
      if chunk.slots[i].generation & 1 == 1 { (chunk.elements + i).deinitialize(count: 1) }
    }
    for i in 0..<(slotCount + Self.chunkSlots - 1) / Self.chunkSlots {
      chunks[i].slots.deallocate()
      chunks[i].elements.deallocate()
    }
    chunks.deallocate()
  }

  /// Takes a slot for the element, or returns nil when all `capacity` slots are taken.
  public func insert(_ element: Element) -> SlotID? {
    if freeSlot == .max, !grow() { return nil }
    let index = freeSlot
    let (chunk, i) = place(index)
    freeSlot = chunk.slots[i].next
    reached = max(slotsEverUsed, Int(index) + 1)
    chunk.slots[i].generation &+= 1
    (chunk.elements + i).initialize(to: element)
    taken += 1
    return SlotID(index: index, generation: chunk.slots[i].generation)
  }

  /// Whether the slot still holds what `id` named.
  @inlinable @inline(__always)
  public func contains(_ id: SlotID) -> Bool {
    guard id.generation & 1 == 1, isGrown(id.index) else { return false }
    return chunks[Self.chunk(id.index)].slots[Self.place(id.index)].generation == id.generation
  }

  /// The element, changed in place. Traps on an id that `contains` denies.
  @inlinable
  public subscript(id: SlotID) -> Element {
    @inline(__always)
    unsafeAddress {
      UnsafePointer(address(id))
    }
    @inline(__always)
    unsafeMutableAddress {
      address(id)
    }
  }

  /// Frees the slot and returns what it held; nil when the id is stale.
  @discardableResult
  public func remove(_ id: SlotID) -> Element? {
    guard contains(id) else { return nil }
    let (chunk, i) = place(id.index)
    let element = (chunk.elements + i).move()
    chunk.slots[i].generation &+= 1
    chunk.slots[i].next = freeSlot
    freeSlot = id.index
    taken -= 1
    return element
  }

  /// The id of the element that a slot holds now, or nil. For walking all: 0..<`slotsEverUsed`.
  public func id(at index: Int) -> SlotID? {
    guard index >= 0, index < slotCount else { return nil }
    let (chunk, i) = place(UInt32(index))
    let generation = chunk.slots[i].generation
    return generation & 1 == 1 ? SlotID(index: UInt32(index), generation: generation) : nil
  }

  /// The ids of all elements, in the order of their slots. Allocates: not for the data path.
  public var ids: [SlotID] { (0..<slotsEverUsed).compactMap { id(at: $0) } }

  @inlinable
  func isGrown(_ index: UInt32) -> Bool { Int(index) < slotCount }

  @inlinable @inline(__always)
  func address(_ id: SlotID) -> UnsafeMutablePointer<Element> {
    precondition(contains(id), "stale slot id")
    // SAFETY: `contains` proved that the slot exists and its element is initialised; chunks never
    // move while the slab lives.
    return chunks[Self.chunk(id.index)].elements + Self.place(id.index)
  }

  private func place(_ index: UInt32) -> (Chunk, Int) {
    (chunks[Self.chunk(index)], Self.place(index))
  }

  /// The chunk of a slot, and the slot's place in it. Unsigned: a shift and a mask.
  @inlinable @inline(__always)
  static func chunk(_ index: UInt32) -> Int { Int(index / UInt32(chunkSlots)) }

  @inlinable @inline(__always)
  static func place(_ index: UInt32) -> Int { Int(index % UInt32(chunkSlots)) }

  private func grow() -> Bool {
    guard slotCount < capacity else { return false }
    let chunk = Chunk(
      slots: .allocate(capacity: Self.chunkSlots), elements: .allocate(capacity: Self.chunkSlots))
    let last = min(Self.chunkSlots, capacity - slotCount) - 1
    for i in 0..<Self.chunkSlots {
      let next = i < last ? UInt32(slotCount + i + 1) : UInt32.max
      (chunk.slots + i).initialize(to: Slot(generation: 0, next: next))
    }
    chunks[slotCount / Self.chunkSlots] = chunk
    freeSlot = UInt32(slotCount)
    slotCount += last + 1
    return true
  }
}

// Completions on their way to the caller of `wait`.

import RIBase

/// Two lists of completions: one fills while the caller reads the other. Allocates only when a list
/// grows past its longest so far, which the ring's own sockets bound.
struct CompletionQueue: ~Copyable {
  private struct List {
    var base: UnsafeMutablePointer<Completion>
    var capacity: Int
    var count = 0

    init(capacity: Int) {
      base = .allocate(capacity: capacity)
      self.capacity = capacity
    }

    mutating func grow() {
      let grown = UnsafeMutablePointer<Completion>.allocate(capacity: capacity * 2)
      // SAFETY: Completion is trivial; the first `count` elements are initialised.
      grown.update(from: base, count: count)
      base.deallocate()
      base = grown
      capacity *= 2
    }
  }

  private var filling = List(capacity: 256)
  private var lent = List(capacity: 256)

  init() {}

  deinit {
    filling.base.deallocate()
    lent.base.deallocate()
  }

  var isEmpty: Bool { filling.count == 0 }
  var count: Int { filling.count }

  mutating func append(_ token: Token, _ result: Int32, more: Bool = false, slice: Slice? = nil) {
    if filling.count == filling.capacity { filling.grow() }
    // SAFETY: count < capacity.
    filling.base[filling.count] = Completion(
      token: token, result: result, more: more, slice: slice)
    filling.count += 1
  }

  /// All completions so far, valid until the next call.
  mutating func lend() -> UnsafeBufferPointer<Completion> {
    swap(&filling, &lent)
    filling.count = 0
    return UnsafeBufferPointer(start: lent.base, count: lent.count)
  }
}

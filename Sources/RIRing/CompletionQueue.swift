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
  /// Those among the filling that end no wait.
  private var patientCount = 0

  init() {}

  deinit {
    filling.base.deallocate()
    lent.base.deallocate()
  }

  /// Whether there is one that ends a wait.
  var endsWait: Bool { filling.count > patientCount }

  /// Adds a completion; one that `isPatient` waits for another.
  mutating func append(
    _ token: Token, _ result: Int32, more: Bool = false, slice: Slice? = nil,
    isPatient: Bool = false
  ) {
    if isPatient { patientCount += 1 }
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
    patientCount = 0
    return UnsafeBufferPointer(start: lent.base, count: lent.count)
  }
}

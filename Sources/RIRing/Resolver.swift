// Host names to addresses by getaddrinfo(3), which blocks: it runs on a thread of its own, started
// with the first name that is not an address literal.

import Glibc
import RIBase
import Synchronization

/// Looks names up, one after the other, for one ring. Belongs to the ring's thread.
struct Resolver: ~Copyable {
  /// A finished lookup: the number of addresses or a negated errno, as in `IORing.resolve`.
  struct Answer {
    var token: Token
    var result: Int32
    var addresses: [SocketAddress]
  }

  /// What the ring's thread and the lookup thread share. It outlives the ring while a lookup is
  /// under way, for getaddrinfo cannot be interrupted.
  private final class Desk: Sendable {
    struct Lookup {
      var serial: UInt64
      var host: String
      var port: Port
    }
    struct State {
      var questions: [Lookup] = []
      var answers: [(serial: UInt64, result: Int32, addresses: [SocketAddress])] = []
    }
    let state = Mutex(State())
    /// Tells the thread of questions, and of the end (serial 0).
    let bell: EventWaker
    let ringWaker: EventWaker

    init(bell: EventWaker, ringWaker: EventWaker) {
      self.bell = bell
      self.ringWaker = ringWaker
    }
  }

  private let ringWaker: EventWaker
  private var desk: Desk?
  /// Lookups not answered yet. A cancelled one is forgotten here, and its answer then dropped.
  private var pending: [(serial: UInt64, token: Token)] = []
  /// Answers that needed no thread, for the next `poll`.
  private var finishedHere: [(serial: UInt64, result: Int32, addresses: [SocketAddress])] = []
  private var answers: [Answer] = []
  private var serial: UInt64 = 0

  init(waker: EventWaker) { ringWaker = waker }

  deinit {
    guard let desk else { return }
    desk.state.withLock { $0.questions = [Desk.Lookup(serial: 0, host: "", port: 0)] }
    desk.bell.wake()
  }

  /// Whether `poll` has something or will have, so that an idle ring need not ask.
  var isActive: Bool { !pending.isEmpty }

  /// Starts a lookup. Literals are answered by the next `poll`, names after the waker has rung.
  mutating func start(host: String, port: Port, token: Token) {
    serial += 1
    pending.append((serial, token))
    if let addresses = try? Self.lookUp(host, port, flags: AI_NUMERICHOST).get() {
      finishedHere.append((serial, Int32(addresses.count), addresses))
      return
    }
    guard !host.isEmpty, !host.utf8.contains(0) else {
      finishedHere.append((serial, -ENOENT, []))
      return
    }
    guard let desk = startedDesk() else {
      finishedHere.append((serial, -EAGAIN, []))
      return
    }
    let question = Desk.Lookup(serial: serial, host: host, port: port)
    desk.state.withLock { $0.questions.append(question) }
    desk.bell.wake()
  }

  /// Ends a lookup; false when none is pending by that token. Its completion is the caller's to
  /// make.
  mutating func cancel(_ token: Token) -> Bool {
    guard let index = pending.firstIndex(where: { $0.token == token }) else { return false }
    let serial = pending.remove(at: index).serial
    desk?.state.withLock { $0.questions.removeAll { $0.serial == serial } }
    finishedHere.removeAll { $0.serial == serial }
    return true
  }

  /// Lookups finished since the last call; the earlier ones' addresses are forgotten.
  mutating func poll(_ body: (Token, Int32) -> Void) {
    answers.removeAll()
    guard isActive else { return }
    var finished = finishedHere
    finishedHere.removeAll()
    desk?.state.withLock {
      finished += $0.answers
      $0.answers.removeAll()
    }
    for answer in finished {
      guard let index = pending.firstIndex(where: { $0.serial == answer.serial }) else { continue }
      let token = pending.remove(at: index).token
      answers.append(Answer(token: token, result: answer.result, addresses: answer.addresses))
      body(token, answer.result)
    }
  }

  /// The addresses of a lookup that the last `poll` reported.
  mutating func takeAddresses(_ token: Token) -> [SocketAddress] {
    guard let index = answers.firstIndex(where: { $0.token == token }) else { return [] }
    return answers.remove(at: index).addresses
  }

  // MARK: The thread

  private mutating func startedDesk() -> Desk? {
    if let desk { return desk }
    guard let bell = try? EventWaker() else { return nil }
    let desk = Desk(bell: bell, ringWaker: ringWaker)
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    // Signals are for the threads that expect them: the new one inherits a full mask.
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    // SAFETY: the thread takes over the reference made here; if it cannot start, we drop it.
    let reference = Unmanaged.passRetained(desk)
    let result = pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        Resolver.run(Unmanaged<Desk>.fromOpaque(argument).takeRetainedValue())
        return nil
      }, reference.toOpaque())
    guard result == 0 else {
      reference.release()
      return nil
    }
    self.desk = desk
    return desk
  }

  private static func run(_ desk: Desk) {
    while desk.bell.awaitWake() {
      while let question = desk.state.withLock({
        $0.questions.isEmpty ? nil : $0.questions.removeFirst()
      }) {
        if question.serial == 0 { return }
        let found = lookUp(question.host, question.port, flags: 0)
        let (result, addresses): (Int32, [SocketAddress]) =
          switch found {
          case .success(let addresses): (Int32(addresses.count), addresses)
          case .failure(let error): (-error.code, [])
          }
        desk.state.withLock { $0.answers.append((question.serial, result, addresses)) }
        desk.ringWaker.wake()
      }
    }
  }

  private static func lookUp(
    _ host: String, _ port: Port, flags: Int32
  ) -> Result<[SocketAddress], RingError> {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = flags
    var first: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &first)
    defer { if let first { freeaddrinfo(first) } }
    guard status == 0 else {
      return .failure(RingError(call: "getaddrinfo", code: errorCode(status)))
    }
    var addresses: [SocketAddress] = []
    var next = first
    while let entry = next?.pointee {
      let bytes = UnsafeRawBufferPointer(start: entry.ai_addr, count: Int(entry.ai_addrlen))
      if var address = SocketAddress(decoding: bytes) {
        address.port = port
        addresses.append(address)
      }
      next = entry.ai_next
    }
    guard !addresses.isEmpty else {
      return .failure(RingError(call: "getaddrinfo", code: ENOENT))
    }
    return .success(addresses)
  }

  /// The errno nearest to a getaddrinfo(3) error.
  private static func errorCode(_ status: Int32) -> Int32 {
    switch status {
    case EAI_AGAIN: EAGAIN
    case EAI_MEMORY: ENOMEM
    case EAI_SYSTEM: errno == 0 ? EIO : errno
    case EAI_NONAME, EAI_FAMILY, EAI_SERVICE: ENOENT
    default: ENOENT
    }
  }
}

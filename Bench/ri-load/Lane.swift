// One connection of a client: opened, asked for, answered, and then the load's.

import CLoadIO
import Glibc
import LoadKit

/// What a lane has come to.
enum LaneEvent {
  /// Nothing that its owner need know.
  case none
  /// The target has answered: the load begins.
  case ready(Reply)
  /// Something can be read or written.
  case load
  case failed(String)
}

final class Lane {
  private enum State { case closed, connecting, asked, ready }

  let number: Int
  private(set) var socket: Int32 = -1
  /// Where the connection's bytes begin in the pattern.
  private(set) var offset: UInt64 = 0
  private var check: UInt64 = 0
  /// When it was opened.
  private(set) var openedAt: UInt64 = 0
  private var state = State.closed
  private var request: [UInt8] = []
  private var reply: [UInt8] = []

  init(_ number: Int) { self.number = number }

  deinit { if socket >= 0 { close(socket) } }

  var isReady: Bool { state == .ready }
  var isClosed: Bool { state == .closed }

  /// Connects; the request goes when the connection is there, with `message` behind it. Nil, or why
  /// it fails at once.
  func open(
    _ edge: Endpoint, _ request: Request, message: [UInt8] = [], receiveBufferBytes: Int32? = nil,
    on poller: borrowing Poller
  ) -> String? {
    openedAt = clockNanoseconds()
    offset = request.offset
    check = request.check
    self.request = request.bytes + message
    reply = []
    do throws(LoadError) {
      socket = try edge.socket(SOCK_STREAM)
    } catch {
      return "\(error)"
    }
    setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY)
    if let receiveBufferBytes { setOption(socket, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes) }
    guard edge.withName({ connect(socket, $0, $1) }) == 0 || errno == EINPROGRESS else {
      let why = failure("connect to \(edge)").description
      close(socket)
      socket = -1
      return why
    }
    state = .connecting
    poller.add(socket, Poller.writable, number: number)
    return nil
  }

  func end() {
    if socket >= 0 { close(socket) }
    socket = -1
    state = .closed
  }

  /// Takes it through its opening.
  func handle(_ what: UInt32, on poller: borrowing Poller) -> LaneEvent {
    switch state {
    case .closed: return .none
    case .ready: return .load
    case .connecting:
      var (error, length) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
      getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length)
      guard error == 0 else { return .failed("connect: \(String(cString: strerror(error)))") }
      // Request and message fit an empty socket buffer, or the rest goes at the next event.
      let count = send(socket, request, request.count, Int32(MSG_NOSIGNAL))
      if count < 0, errno == EAGAIN { return .none }
      guard count > 0 else { return .failed(failure("send").description) }
      request.removeFirst(count)
      guard request.isEmpty else { return .none }
      state = .asked
      poller.change(socket, Poller.readable, number: number)
      return .none
    case .asked: return receiveReply()
    }
  }

  private func receiveReply() -> LaneEvent {
    var bytes = [UInt8](repeating: 0, count: Reply.byteCount - reply.count)
    let count = recv(socket, &bytes, bytes.count, 0)
    if count < 0, errno == EAGAIN { return .none }
    guard count > 0 else { return .failed(ended(count)) }
    reply += bytes[..<count]
    guard reply.count == Reply.byteCount else { return .none }
    guard let reply = Reply(reply), reply.requested == check else {
      return .failed("what answers is no target of ri-load, or its answer was changed on the way")
    }
    state = .ready
    return .ready(reply)
  }

  /// Why `recv` gave nothing.
  func ended(_ result: Int) -> String {
    result == 0 ? "closed by the other side" : failure("receive").description
  }
}

/// Complains where the target knows a client by another address than its own.
func checkAddress(_ lane: Lane, _ reply: Reply, _ plan: ClientPlan) throws(LoadError) {
  guard plan.checksAddress, let own = Endpoint.local(lane.socket) else { return }
  guard reply.isFromHeader else { throw LoadError("the target got no PROXY header for \(own)") }
  guard reply.client == own else {
    throw LoadError("the target knows the client \(own) as \(reply.client)")
  }
}

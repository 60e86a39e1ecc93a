// The other end of a load: a server that sends, swallows or echoes, as it was told or as each
// connection asks.

import CLoadIO
import Glibc

/// What a target is told to do.
public struct TargetOrder: Codable, Sendable {
  public enum Mode: String, Codable, Sendable, BitwiseCopyable {
    case source, sink, echo
    /// Each connection says in its first bytes which of the others it wants.
    case asked
  }

  public var mode: Mode
  /// Whether each connection begins with a PROXY v1 line, which is not part of the load.
  public var expectsProxyLine: Bool
  /// 0 takes a free port.
  public var port: UInt16
  public var host = loopbackHost
  public var congestion: CongestionControl?

  public init(
    _ mode: Mode, port: UInt16, expectsProxyLine: Bool, congestion: CongestionControl?
  ) {
    self.mode = mode
    self.port = port
    self.expectsProxyLine = expectsProxyLine
    self.congestion = congestion
  }

  /// The mode that a kind of load needs.
  public static func mode(for kind: LoadKind) -> Mode {
    switch kind {
    case .bulkDown, .shortDown, .stalled, .slow: .source
    case .bulkUp: .sink
    case .requests, .connects, .paced, .idle: .echo
    }
  }
}

/// A listening target; `serve` never returns. One thread, and in mode `asked` a second one for
/// whatever is not an echo: a small message never waits behind somebody's download.
public struct LoadTarget: ~Copyable {
  private let listener: Int32
  private var loop: TargetLoop

  public init(_ order: TargetOrder, counters: consuming SharedCounters) throws(LoadError) {
    let bulk = order.mode == .asked ? try startBulkLoop(order, counters.file) : nil
    let listener = try listenOn(order.host, order.port, congestion: order.congestion)
    self.listener = listener
    loop = TargetLoop(order, counters, door: .listener(listener), bulk: bulk)
  }

  public var port: UInt16 { localPort(listener) }

  public consuming func serve() -> Never {
    signal(SIGPIPE, SIG_IGN)
    loop.run()
  }
}

/// Starts the loop of the bulk connections; returns where it takes them over.
private func startBulkLoop(_ order: TargetOrder, _ counters: Int32) throws(LoadError) -> Int32 {
  var ends: [Int32] = [-1, -1]
  guard load_pipe(&ends) == 0 else { throw .system("pipe") }
  let inbox = ends[0]
  startThread { serveBulk(order, inbox, counters) }
  return ends[1]
}

private func serveBulk(_ order: TargetOrder, _ inbox: Int32, _ counters: Int32) -> Never {
  guard let counters = try? SharedCounters(mapping: counters) else {
    writeText("target: no counters\n", to: 2)
    exit(1)
  }
  TargetLoop(order, counters, door: .inbox(inbox)).run()
}

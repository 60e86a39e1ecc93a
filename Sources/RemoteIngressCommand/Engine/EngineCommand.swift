// `engine`: the process that moves the traffic. A supervisor starts it and talks to it by lines on
// its standard streams; it ends with its supervisor.

import ArgumentParser
import CLinuxProcess
import Dispatch
import FoundationEssentials
import Glibc
import RIBase
import RIControl
import RIEngine
import RemoteIngress
import Synchronization

struct EngineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "engine", abstract: "Started by hub and edge, never by hand.",
    shouldDisplay: false)

  func run() throws {
    let output = EngineOutput()
    prepareProcess()
    EngineHost(output).run()
  }

  /// It lives and dies with its supervisor alone.
  private func prepareProcess() {
    ri_die_with_parent(SIGKILL)
    _ = ri_name_process("ri-engine")
    protectMemory()
    for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE] {
      signal(number, SIG_IGN)
    }
  }
}

/// Reads what the supervisor says and does it.
private final class EngineHost: Sendable {
  private let output: EngineOutput
  private let engine = Mutex<Engine?>(nil)
  /// Long lines are read there, so that a ping never waits behind them.
  private let worker = DispatchQueue(label: "engine.requests")
  /// The last ping that all shards have passed.
  private let shardPing = Atomic<UInt64>(0)

  init(_ output: EngineOutput) { self.output = output }

  func run() -> Never {
    var lines = LineAssembler(bytesMax: Limits.engineLineBytesMax)
    var chunk = [UInt8](repeating: 0, count: Limits.engineReadBytes)
    while true {
      let count = read(STDIN_FILENO, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0, lines.append(chunk[..<count], { take($0) }) else { break }
    }
    // The supervisor is gone without a word, and the kernel is about to end us. The firewall stays
    // for the next edge to replace, as it does when an engine is killed.
    endProcess(1)
  }

  private func take(_ line: ArraySlice<UInt8>) {
    if line.starts(with: #"{"ping""#.utf8) {
      if case .ping(let number)? = decoded(Data(line)) { answer(ping: number) }
      return
    }
    let data = Data(line)
    worker.async { [self] in
      guard let request = decoded(data) else { return fail("a line that is no request") }
      handle(request)
    }
  }

  private func decoded(_ line: Data) -> EngineRequest? {
    try? JSONDecoder().decode(EngineRequest.self, from: line)
  }

  private func handle(_ request: EngineRequest) {
    guard let engine = engine.withLock({ $0 }) else {
      guard case .start(let start) = request else { return fail("the first line is no start") }
      return self.start(start)
    }
    switch request {
    case .start: fail("a second start")
    case .ping: break
    case .stop: engine.stop()
    case .drain(let seconds): engine.drain(for: EngineRequest.drainTime(seconds: seconds))
    case .watchStreams(let isWanted): engine.watchStreams(isWanted)
    case .updateAllowedEdges(let id, let edges):
      do throws(AllowedEdgeFault) {
        try engine.updateAllowedEdges(edges)
      } catch {
        output.send(.log(LogRecord(.error, "\(error)")))
      }
      output.sendVital(.done(id: id))
    case .status(let id):
      let output = output
      Task { output.sendVital(.status(id: id, await engine.status())) }
    }
  }

  private func start(_ start: EngineRequest.Start) {
    let output = output
    let report: Engine.Report = { output.report($0) }
    let engine: Engine
    do throws(EngineError) {
      engine =
        switch start {
        case .hub(let settings): try Engine(hub: settings, report: report)
        case .edge(let settings): try Engine(edge: settings, report: report)
        }
    } catch {
      return fail("\(error)")
    }
    self.engine.withLock { $0 = engine }
    output.sendVital(
      .ready(EngineMessage.Ready(tunnelPort: engine.tunnelPort, pin: engine.pin.map { "\($0)" })))
    DispatchQueue(label: "engine.end").async {
      engine.waitUntilStopped()
      output.finish()
      endProcess(0)
    }
  }

  /// Whatever the shards do, the process is there; they say so for themselves.
  private func answer(ping number: UInt64) {
    output.sendVital(.pong(number, shards: shardPing.load(ordering: .relaxed)))
    engine.withLock { $0 }?.probe { [self] in
      _ = shardPing.max(number, ordering: .relaxed)
    }
  }

  private func fail(_ reason: String) {
    output.sendVital(.failed(reason: reason))
    output.finish()
    endProcess(1)
  }
}

/// Ends the process and nothing else: exit(3) would have OpenSSL take down what a shard's thread
/// still uses while it ends, or does not end.
private func endProcess(_ code: Int32) -> Never { _exit(code) }

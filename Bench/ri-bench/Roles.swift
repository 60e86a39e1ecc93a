// The roles of child processes: each reads its order as one line of JSON from standard input, says
// `ready` on standard output, and lives until it is killed or its parent dies.

import ArgumentParser
import CLoadIO
import FoundationEssentials
import Glibc
import LoadKit

/// Which end of a tunnel a process is.
enum TunnelEnd: String, Codable, ExpressibleByArgument { case edge, hub }

/// What one end of a tunnel is told.
struct EndOrder: Codable {
  /// Where it accepts: clients at the edge, edges at the hub.
  var listenPort: UInt16
  var listenHost = loopbackHost
  /// Where it connects to: the hub from the edge, the target from the hub.
  var connectPort: UInt16
  var connectHost = loopbackHost
  /// The port that clients use, for the hub to assign.
  var clientPort: UInt16
  /// 16 random bytes in hexadecimal, the same at both ends: key or secret.
  var key: String
  /// `uring` or `epoll`; nil for the roofline.
  var ring: String?
  /// Protocol extensions that our ends may offer; nil: all, `none`: none.
  var extensions: String?
  /// Congestion control to ask for by socket option; nil where the route sets it.
  var congestion: CongestionControl?
  /// Whether the tunnel goes over QUIC.
  var overQUIC = false
  /// Whether the client port is one of UDP.
  var carriesDatagrams = false
  /// Of ours.
  var shards = 1
}

/// What a relay without a tunnel is told.
struct RelayOrder: Codable {
  var listenPort: UInt16
  var connectPort: UInt16
  /// `uring` or `epoll`.
  var ring: String
  var congestion: CongestionControl?
}

/// The descriptor of the shared counters in clients and targets.
let countersDescriptor: Int32 = 3

struct ClientRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "client", shouldDisplay: false)

  func run() throws {
    let order: LoadOrder = try takeOrder()
    let result = try runLoad(order, counters: SharedCounters(mapping: countersDescriptor))
    let json = try JSONEncoder().encode(result)
    writeText(String(decoding: json, as: UTF8.self) + "\n", to: 1)
  }
}

struct TargetRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "target", shouldDisplay: false)

  func run() throws {
    let target = try LoadTarget(takeOrder(), counters: SharedCounters(mapping: countersDescriptor))
    sayReady()
    target.serve()
  }
}

struct RooflineRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "roofline", shouldDisplay: false)
  @Argument var end: TunnelEnd

  func run() throws {
    let relay = try RooflineRelay(end, takeOrder())
    sayReady()
    relay.serve()
  }
}

struct RingRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ring-relay", shouldDisplay: false)

  func run() throws {
    let order: RelayOrder = try takeOrder()
    try serveRingRelay(order, on: makeRing(order.ring))
  }
}

struct OursRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ours", shouldDisplay: false)
  @Argument var end: TunnelEnd

  func run() throws {
    runOurs(end, try takeOrder())
  }
}

/// Becomes another program, which keeps the tie to the parent's life.
struct ProgramRole: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "program", shouldDisplay: false)
  @Argument var words: [String]

  func run() throws {
    guard load_die_with_parent() == 0 else { throw LoadError("prctl failed") }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    execv(words[0], arguments)
    throw LoadError("\(words[0]): \(String(cString: strerror(errno)))")
  }
}

/// Reads the order and ties this process's life to its parent's.
func takeOrder<Order: Decodable>() throws -> Order {
  guard load_die_with_parent() == 0, let line = readLine(from: 0) else {
    throw LoadError("no order on standard input")
  }
  // A parent that died before the tie was made has left the pipe without a writer.
  var input = pollfd(fd: 0, events: 0, revents: 0)
  guard poll(&input, 1, 0) == 0 else { throw LoadError("the parent is gone") }
  return try JSONDecoder().decode(Order.self, from: Data(line))
}

/// Tells the parent that connections are accepted from now on.
func sayReady() { writeText("ready\n", to: 1) }

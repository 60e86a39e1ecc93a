// A hub, an edge and nginx on loopback, in a directory of their own:
//
//   curl or a peer script ─▶ edge ═ tunnel ═▶ hub ─▶ nginx (`web`) or a peer script (`peer`)

import Foundation
import Testing

/// A port that the edge listens on, and the target's port that the hub maps it to.
struct Route {
  let edge = FreePort.take()
  let target = FreePort.take()
}

/// A route of one test, with what its `targets` entry says besides the ports.
struct ExtraRoute {
  enum Transport: String { case tcp, udp }
  let transport: Transport
  let edge: Int
  let target: Int
  let rule: String

  init(_ transport: Transport, edge: Int? = nil, target: Int? = nil, _ rule: String) {
    self.transport = transport
    self.edge = edge ?? FreePort.take()
    self.target = target ?? FreePort.take()
    self.rule = rule
  }
}

final class Testbed {
  let ring: Ring
  let directory: String
  let tunnelPort = FreePort.take()
  let web = Route()
  let peer = Route()
  let edgeID = "edge-1"
  let secret = "correct-horse-battery-staple"
  /// A second identity that the hub knows, for edges played by scripts.
  let crookedID = "crooked"
  /// Another identity that the hub knows, for a second real edge; it owns no port.
  let spareID = "spare"
  var drainSeconds = 1
  /// How often the edge asks a STUN server: never.
  var stunIntervalSeconds = 0
  /// Nobody is there, so that no test asks the Internet.
  var stunServer = "127.0.0.1:9"
  var extraRoutes: [ExtraRoute] = []
  /// The edge's.
  var transportMode: String
  /// More lines of the hub's and the edge's configuration.
  var hubLines = ""
  var edgeLines = ""
  /// So many more identities, `crowd-0`, `crowd-1` …, that own no ports.
  var crowdCount = 0
  /// Put in front of the product's command line.
  var wrapper: [String] = []
  /// For every process.
  var environment: [String: String]
  private var processes: [ChildProcess] = []
  private var commands = 0

  private init(_ ring: Ring) throws {
    self.ring = ring
    environment = ["REMOTEINGRESS_RING": ring.backend]
    transportMode = ring.transportMode
    directory = NSTemporaryDirectory() + "remoteingress-\(UUID().uuidString)"
    for part in ["hub", "edge", "www", "uploads"] {
      try FileManager.default.createDirectory(
        atPath: "\(directory)/\(part)", withIntermediateDirectories: true)
    }
    try write(secret, to: "secret")
  }

  deinit {
    processes = []
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Everything running and a tunnel up. After `body` the hub and the edge must still be there (but
  /// for those that it ended itself), and stop with exit code 0.
  static func run(
    _ ring: Ring, with routes: [ExtraRoute] = [], hub: String = "", edge: String = "",
    _ body: (Testbed) throws -> Void
  ) throws {
    try bare(ring) { bed in
      (bed.extraRoutes, bed.hubLines, bed.edgeLines) = (routes, hub, edge)
      try bed.startNginx()
      try bed.startHub()
      try bed.startEdge()
      try body(bed)
    }
  }

  /// The same with nothing started yet.
  static func bare(_ ring: Ring, _ body: (Testbed) throws -> Void) throws {
    let bed = try Testbed(ring)
    do {
      try body(bed)
      for child in [bed.edge, bed.hub].compactMap({ $0 }) { try bed.stop(child) }
    } catch {
      let last = Dictionary(bed.processes.map { ($0.name, $0) }) { $1 }
      throw Failure("\(error)\n" + last.values.map(\.logTail).joined())
    }
  }

  // MARK: Processes

  private(set) var hub: ChildProcess?
  private(set) var edge: ChildProcess?

  @discardableResult
  func startHub(_ name: String = "hub") throws -> ChildProcess {
    let offset = logLength(name)
    try write(hubConfiguration(), to: "\(name).yaml")
    let child = try start(
      name, wrapper + [Product.binary, "hub", "--config", "\(directory)/\(name).yaml"])
    if name == "hub" { hub = child }
    try child.waitForLog(LogLine.hubReady, from: offset)
    return child
  }

  /// Starts the edge and waits for the tunnel and its listeners; with `lines` for those log lines.
  @discardableResult
  func startEdge(
    _ name: String = "edge", id: String? = nil, configuration: String? = nil,
    arguments: [String]? = nil, until lines: [String]? = nil
  ) throws -> ChildProcess {
    let offset = logLength(name)
    try write(configuration ?? edgeConfiguration(id: id ?? edgeID), to: "\(name).yaml")
    let child = try start(
      name,
      wrapper + [Product.binary, "edge"] + (arguments ?? ["--config", "\(directory)/\(name).yaml"]))
    if name == "edge" { edge = child }
    let listening =
      [web.edge, peer.edge].flatMap { LogLine.listening($0) }
      + extraRoutes.flatMap { LogLine.listening($0.edge, $0.transport.rawValue) }
    for line in lines ?? [LogLine.tunnelUp] + listening {
      try child.waitForLog(line, from: offset)
    }
    return child
  }

  /// Stops both and starts them anew, with what has changed in their configuration.
  func restart() throws {
    for child in [edge, hub].compactMap({ $0 }) { try stop(child) }
    try startHub()
    try startEdge()
  }

  /// SIGTERM, exit code 0.
  func stop(_ child: ChildProcess) throws {
    if let exit = child.poll() { throw Failure("\(child.name) had ended: \(exit)") }
    child.send(SIGTERM)
    let exit = try child.waitForExit(within: 10)
    guard exit == .code(0) else { throw Failure("\(child.name) stopped by SIGTERM: \(exit)") }
    forget(child)
  }

  /// SIGKILL.
  func destroy(_ child: ChildProcess) throws {
    child.send(SIGKILL)
    _ = try child.waitForExit(within: 10)
    forget(child)
  }

  /// The test has ended it: it need not be there any more.
  func forget(_ child: ChildProcess) {
    if child === hub { hub = nil }
    if child === edge { edge = nil }
  }

  func start(_ name: String, _ arguments: [String]) throws -> ChildProcess {
    let child = try ChildProcess(
      name, arguments, in: directory, environment: environment)
    processes.append(child)
    return child
  }

  // MARK: Clients and targets

  /// Runs a command to its end and returns its standard output.
  @discardableResult
  func command(_ arguments: [String], within seconds: Double = 60) throws -> String {
    commands += 1
    let child = try start("command-\(commands)", arguments)
    defer { processes.removeAll { $0 === child } }
    let exit = try child.waitForExit(within: seconds)
    guard exit == .code(0) else {
      throw Failure("\(arguments.joined(separator: " ")): \(exit)\n\(child.output)\n\(child.log)")
    }
    return child.output
  }

  /// curl, silent, failing on HTTP errors.
  @discardableResult
  func curl(_ arguments: String..., within seconds: Double = 60) throws -> String {
    try command(["curl", "-sS", "--fail", "--max-time", "\(Int(seconds))"] + arguments)
  }

  /// The address of a file behind the tunnel.
  func url(_ path: String, host: String = "127.0.0.1") -> String {
    "http://\(host):\(web.edge)/\(path)"
  }

  /// Arguments of scenarios: the ports of the `peer` route, and the engines to look at.
  var route: [String: Any] { ["edge": peer.edge, "target": peer.target] }
  var pids: [String: Any] { ["edge_pid": edge?.engine ?? 0, "hub_pid": hub?.engine ?? 0] }

  /// Plays a scenario of `peers/SCRIPT.py` and returns the figures that it printed.
  @discardableResult
  func play(
    _ script: String, _ scenario: String, _ arguments: [String: Any] = [:],
    within seconds: Double = 60, wrapper: [String] = []
  ) throws -> [String: Double] {
    let words = arguments.map { "\($0)=\($1)" }
    let output = try command(
      wrapper + ["python3", "\(Product.peers)/\(script).py", scenario] + words, within: seconds)
    let figures = try JSONSerialization.jsonObject(
      with: Data((output.split(separator: "\n").last ?? "").utf8))
    return figures as? [String: Double] ?? [:]
  }

  // MARK: Files

  func write(_ text: String, to file: String) throws {
    try text.write(toFile: "\(directory)/\(file)", atomically: true, encoding: .utf8)
  }

  /// A file of pseudo-random bytes that nginx serves as `name`; returns its path.
  func makeFile(_ name: String, bytes: Int) throws -> String {
    let path = "\(directory)/www/\(name)"
    let cipher =
      "openssl enc -aes-128-ctr -nosalt -K \(name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })"
    try command([
      "bash", "-c", "\(cipher) -iv 0 < /dev/zero 2> /dev/null | head -c \(bytes) > \(path)",
    ])
    return path
  }

  /// A self-signed certificate with its key, for hubs played by scripts; returns the file's path.
  func makeCertificate() throws -> String {
    let path = "\(directory)/foreign.pem"
    try command([
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-days", "1", "-subj", "/CN=hub", "-keyout", path + ".key", "-out", path,
    ])
    try command(["bash", "-c", "cat \(path).key >> \(path)"])
    return path
  }

  /// The bytes that processes of this name have logged so far.
  func logLength(_ name: String) -> Int {
    (FileManager.default.contents(atPath: "\(directory)/\(name).log") ?? Data()).count
  }
}

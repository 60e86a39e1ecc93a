// The daemon: files that change while it runs, what systemd hears, what nobody may hear.

import Foundation
import Glibc
import Testing

extension EndToEnd {
  @Suite("Daemon")
  struct Daemon {
    @Test("a reload with a thousand live streams drops none", arguments: Ring.allCases)
    func reloadUnderLoad(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let hub = try #require(bed.hub)
        let added = FreePort.take()
        let changed = bed.hubConfiguration().replacingOccurrences(
          of: "listenPorts: [\(bed.web.edge), \(bed.peer.edge)]",
          with: "listenPorts: [\(bed.peer.edge), \(added)]")
        try bed.write(changed, to: "changed.yaml")
        let figures = try bed.play(
          "streams", "kept",
          bed.route.merging([
            "hub_pid": hub.pid, "config": "\(bed.directory)/hub.yaml",
            "changed": "\(bed.directory)/changed.yaml", "log": hub.logFile,
          ]) { $1 }, within: 150)
        #expect(figures["clients"] == 1_000)
        // The last reload was to the changed file.
        try #require(bed.edge).waitForLog(LogLine.listening(added)[0])
      }
    }

    @Test(
      "a file that changes is read again, however it is changed", arguments: FileChange.allCases)
    func fileChanges(how: FileChange) throws {
      try Testbed.bare(.uring) { bed in
        let (file, before) = ("\(bed.directory)/etc/hub.yaml", bed.hubConfiguration())
        let after = before.replacingOccurrences(of: bed.spareID, with: "another")
        try how.prepare(before, file)
        let hub = try bed.start("hub", [Product.binary, "hub", "--config", file])
        try hub.waitForLog(LogLine.hubReady)
        try how.change(after, file)
        try hub.waitForLog("reloaded: 3 allowed edges; added: another; removed: \(bed.spareID)\n")
        // And again: what is watched is not the file that was there first.
        try how.change(before, file)
        try hub.waitForLog("reloaded: 3 allowed edges; added: \(bed.spareID); removed: another\n")
        try bed.stop(hub)
      }
    }

    enum FileChange: String, CaseIterable, CustomTestStringConvertible {
      case writtenInPlace, replaced
      /// As Kubernetes does it: the file is a link into a directory that is a link itself.
      case linkSwapped

      var testDescription: String { rawValue }

      func prepare(_ text: String, _ file: String) throws {
        let files = FileManager.default
        let directory = (file as NSString).deletingLastPathComponent
        try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
        guard self == .linkSwapped else { return try change(text, file) }
        try change(text, file)
        try files.createSymbolicLink(atPath: file, withDestinationPath: "..data/hub.yaml")
      }

      func change(_ text: String, _ file: String) throws {
        let directory = (file as NSString).deletingLastPathComponent
        switch self {
        case .writtenInPlace: try text.write(toFile: file, atomically: false, encoding: .utf8)
        case .replaced: try text.write(toFile: file, atomically: true, encoding: .utf8)
        case .linkSwapped:
          let version = "..\(UUID().uuidString)"
          let files = FileManager.default
          try files.createDirectory(
            atPath: "\(directory)/\(version)", withIntermediateDirectories: true)
          try text.write(
            toFile: "\(directory)/\(version)/hub.yaml", atomically: false, encoding: .utf8)
          try files.createSymbolicLink(
            atPath: "\(directory)/..next", withDestinationPath: version)
          guard rename("\(directory)/..next", "\(directory)/..data") == 0 else {
            throw Failure("rename: errno \(errno)")
          }
        }
      }
    }

    @Test("who asks for a reload before all is ready has it then")
    func earlyReload() throws {
      try Testbed.bare(.uring) { bed in
        let (hub, engine) = try bed.startHubHeld()
        hub.send(SIGHUP)
        // Taken by its thread for signals, which has nothing else to do.
        try wait(within: 10, for: "the signal to be taken") { !bed.hasPending(SIGHUP, hub.pid) }
        kill(engine, SIGCONT)
        try hub.waitForLog(LogLine.reloaded)
        try bed.stop(hub)
      }
    }

    @Test("what needs a restart is named, and secrets are not")
    func restartKeys() throws {
      try Testbed.bare(.uring) { bed in
        let hub = try bed.startHub()
        let text = bed.hubConfiguration()
          .replacingOccurrences(of: "secret: \(bed.secret)", with: "secret: quite-another")
          .replacingOccurrences(of: "drainSeconds: 1", with: "drainSeconds: 2\nshards: 1")
        try bed.write(text, to: "hub.yaml")
        try hub.waitForLog("needs a restart to change: shards")
        try hub.waitForLog("changed: \(bed.edgeID) (secret), ")
        try hub.waitForLog("; changed: drainSeconds\n")
        #expect(!hub.log.contains("quite-another") && !hub.log.contains(bed.secret))
      }
    }

    @Test("an edge's configuration above 4 MiB is refused by name")
    func tooLarge() throws {
      try Testbed.bare(.uring) { bed in
        let hub = try bed.startHub()
        let addresses = (0..<100_000).map {
          "'2001:db8:1234:5678:9abc:\(String(0x1000 + $0 >> 12, radix: 16)):1111:"
            + "\(String(0x1000 + $0 % 4_096, radix: 16))/128'"
        }
        let config = "firewallConfig: {blockedIps: [\(addresses.joined(separator: ", "))]}"
        try bed.write(
          bed.hubConfiguration().replacingOccurrences(
            of: "stunIntervalSecs: 0}", with: "stunIntervalSecs: 0, \(config)}"), to: "hub.yaml")
        try hub.waitForLog(
          "allowedEdges[1].firewallConfig: makes the edge's CONFIG message larger than 4 MiB",
          within: 60)
        let late = try bed.start(
          "late", [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"])
        #expect(try late.waitForExit(within: 60) == .code(2))
        #expect(late.log.contains("hub.yaml:") && late.log.contains("larger than 4 MiB"))
      }
    }

    @Test("systemd hears of readiness, reloads, life and the end")
    func notified() throws {
      try Testbed.bare(.uring) { bed in
        let socket = try NotifySocket("\(bed.directory)/notify")
        bed.environment["NOTIFY_SOCKET"] = socket.path
        bed.environment["WATCHDOG_USEC"] = "200000"
        let hub = try bed.startHub()
        try socket.wait(for: "READY=1")
        try socket.wait(for: "STATUS=0 edges, 0 streams, 0 UDP sessions")
        for _ in 0..<3 { try socket.wait(for: "WATCHDOG=1") }
        hub.send(SIGHUP)
        try socket.wait(for: "RELOADING=1\nMONOTONIC_USEC=")
        try socket.wait(for: "READY=1")
        // The engine is not told of the socket.
        let variables = try bed.variables(of: hub.engine)
        #expect(!variables.contains("NOTIFY_SOCKET") && !variables.contains("WATCHDOG_USEC"))
        hub.send(SIGTERM)
        try socket.wait(for: "STOPPING=1")
        #expect(try hub.waitForExit(within: 10) == .code(0))
        bed.forget(hub)
      }
    }

    @Test("a secret appears in no log, status, command line or environment of an engine")
    func secrets() throws {
      try Testbed.bare(.uring) { bed in
        try bed.startNginx()
        let hub = try bed.startHub()
        // By every way in: a file at the hub, a variable, an argument, a token.
        let token = try bed.command([
          Product.binary, "token", "encode", "--hub-host", "127.0.0.1", "--hub-port",
          "\(bed.tunnelPort)", "--edge-id", bed.spareID, "--secret-file", "\(bed.directory)/secret",
        ]).trimmingCharacters(in: .whitespacesAndNewlines)
        let place = ["--hub-host", "127.0.0.1", "--hub-port", "\(bed.tunnelPort)", "--insecure"]
        let argument = try bed.startEdge(
          "argument", arguments: place + ["--edge-id", bed.edgeID, "--secret", bed.secret])
        let tokens = try bed.startEdge(
          "tokens", arguments: ["--token=\(token)", "--insecure"], until: [LogLine.tunnelUp])
        bed.environment["REMOTEINGRESS_SECRET"] = bed.secret
        let variable = try bed.startEdge(
          "variable", arguments: place + ["--edge-id", bed.crookedID], until: [LogLine.tunnelUp])
        let all = [hub, argument, tokens, variable]
        for child in all {
          child.send(SIGUSR1)
          try child.waitForLog(LogLine.status)
          child.send(SIGHUP)
        }
        // A crash, which the runtime would report with what lies in memory.
        let first = hub.engine
        kill(first, SIGSEGV)
        try hub.waitForLog("the engine is back")
        for child in all {
          let engine = child.engine
          #expect(engine > 0)
          let texts = try [
            child.log, child.output, bed.commandLine(of: child.pid), bed.commandLine(of: engine),
            bed.variables(of: engine),
          ]
          for secret in [bed.secret, token] {
            #expect(!texts.contains { $0.contains(secret) }, "\(child.name)")
          }
        }
        for child in [variable, tokens, argument, hub] { try bed.stop(child) }
      }
    }

    @Test("no process leaves its memory to a core dump or to the same user")
    func memory() throws {
      try Testbed.bare(.uring) { bed in
        // What may be dumped belongs to the process's user in /proc, the rest to root (proc(5)).
        bed.wrapper = ["setpriv", "--reuid", "65534", "--clear-groups"]
        try bed.command(["chmod", "-R", "a+rwX", bed.directory])
        let hub = try bed.startHub()
        for pid in [hub.pid, hub.engine] {
          let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(pid)/environ")
          #expect(owner[.ownerAccountID] as? Int == 0, "\(pid)")
        }
        try bed.stop(hub)
        bed.environment["REMOTEINGRESS_CORE_DUMPS"] = "1"
        let open = try bed.startHub()
        let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(open.engine)/environ")
        #expect(owner[.ownerAccountID] as? Int == 65_534)
      }
    }

    @Test("doctor says what the machine can do")
    func doctor() throws {
      try Testbed.bare(.uring) { bed in
        let text = try bed.command([Product.binary, "doctor"])
        for subject in ["io_uring", "nftables", "open files", "net.core.rmem_max", "low ports"] {
          #expect(text.contains("  \(subject): "), "\(text)")
        }
        bed.environment["REMOTEINGRESS_RING"] = "nonsense"
        let sick = try bed.start("sick", [Product.binary, "doctor"])
        #expect(try sick.waitForExit(within: 10) == .code(1))
        #expect(sick.output.contains("MISSING  io_uring"))
      }
    }

    @Test("status asks an admin interface, with a token where it is wanted")
    func status() throws {
      try Testbed.bare(.uring) { bed in
        let port = FreePort.take()
        let server = try bed.start(
          "admin", ["python3", "\(Product.peers)/admin.py", "\(port)", "open-sesame"])
        try wait(within: 30, for: "the server") { FreePort.isTaken(port) }
        let admin = ["--admin", "127.0.0.1:\(port)"]
        let refused = try bed.start("refused", [Product.binary, "status"] + admin)
        #expect(try refused.waitForExit(within: 10) == .code(1))
        #expect(refused.log.contains("wants a bearer token"))
        bed.environment["REMOTEINGRESS_ADMIN_TOKEN"] = "open-sesame"
        let text = try bed.command([Product.binary, "status"] + admin)
        #expect(text.contains("hub running, tunnel port 8443"), "\(text)")
        let json = try bed.command([Product.binary, "status", "--json"] + admin)
        #expect(json.hasPrefix("{\"activeStreams\""))
        // Each second another one, until nobody reads.
        let watch = try bed.command([
          "bash", "-c",
          "'\(Product.binary)' status --watch \(admin.joined(separator: " ")) | head -8",
        ])
        #expect(watch.split(separator: "\n").filter { $0.hasPrefix("hub running") }.count >= 2)
        try bed.destroy(server)
        let nobody = try bed.start("nobody", [Product.binary, "status"] + admin)
        #expect(try nobody.waitForExit(within: 10) == .code(1))
        #expect(nobody.log.contains("127.0.0.1:\(port) is not there"))
      }
    }
  }
}

extension Testbed {
  /// A hub with its engine, which stands still before it has said that it is ready. One that was
  /// too fast is started anew.
  fileprivate func startHubHeld() throws -> (hub: ChildProcess, engine: pid_t) {
    try write(hubConfiguration(), to: "hub.yaml")
    for _ in 0..<50 {
      let hub = try start("hub", [Product.binary, "hub", "--config", "\(directory)/hub.yaml"])
      var engine: pid_t = 0
      try wait(within: 10, for: "the engine") {
        engine = hub.engine
        return engine != 0
      }
      kill(engine, SIGSTOP)
      if !hub.log.contains(LogLine.hubReady) { return (hub, engine) }
      kill(engine, SIGCONT)
      try stop(hub)
    }
    throw Failure("its engine was always ready before it could be stopped")
  }

  /// Whether the signal waits to be taken by the process (proc_pid_status(5)).
  fileprivate func hasPending(_ signal: Int32, _ pid: pid_t) -> Bool {
    let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("ShdPnd:") } ?? ""
    let pending = UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) ?? 0
    return pending & 1 << UInt64(signal - 1) != 0
  }

  fileprivate func commandLine(of pid: pid_t) throws -> String {
    try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)
  }

  fileprivate func variables(of pid: pid_t) throws -> String {
    try String(contentsOfFile: "/proc/\(pid)/environ", encoding: .utf8)
  }
}

/// The socket that systemd would listen on.
private final class NotifySocket {
  let path: String
  private let descriptor: Int32

  init(_ path: String) throws {
    self.path = path
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw Failure("\(path) is too long for a socket")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard code == 0 else { throw Failure("bind to \(path): errno \(errno)") }
  }

  deinit { close(descriptor) }

  /// Waits for a message that begins so; others before it are dropped.
  func wait(for text: String) throws {
    let deadline = ContinuousClock.now + .seconds(20)
    var buffer = [UInt8](repeating: 0, count: 4_096)
    var others: [String] = []
    while ContinuousClock.now < deadline {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { continue }
      let message = String(decoding: buffer[..<count], as: UTF8.self)
      if message.hasPrefix(text) { return }
      others.append(message)
    }
    throw Failure("no \(text) came, but \(others)")
  }
}

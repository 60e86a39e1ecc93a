// What goes wrong around hub and edge: docs/RELIABILITY.md names these tests. Those that take
// longer than ci/test has time for run with REMOTEINGRESS_FAULTS=1, which ci/faults sets.

import Foundation
import Testing

extension EndToEnd {
  @Suite("Faults")
  struct Faults {
    static let isLong = ProcessInfo.processInfo.environment["REMOTEINGRESS_FAULTS"] != nil

    // MARK: Time and processes

    /// The whole of it, or its engine alone, which its supervisor has to be patient with.
    @Test(
      "a hub or edge that stands still for a while loses no byte", arguments: ["hub", "edge"],
      ["all of it", "its engine"])
    func paused(role: String, part: String) throws {
      try Testbed.run(.uring) { bed in
        let child = try #require(role == "hub" ? bed.hub : bed.edge)
        let engine = child.engine
        var processes = ["engine": engine, "seconds": 4]
        if part == "all of it" { processes["pid"] = child.pid }
        try bed.play("faults", "paused", bed.route.merging(processes) { $1 })
        #expect(bed.edge?.log.contains(LogLine.tunnelDown) == false)
        #expect(child.engine == engine)
      }
    }

    @Test(
      "a hub that is killed or stopped under load is served by again, and no byte is changed",
      arguments: Ring.allCases, ["killed", "stopped"])
    func hubUnderLoad(ring: Ring, how: String) throws {
      try Testbed.run(ring) { bed in
        let load = try startLoad(bed, ["edge": bed.peer.edge])
        let hub = try #require(bed.hub)
        if how == "killed" { try bed.destroy(hub) } else { try bed.stop(hub) }
        try wait(within: 15, for: "the streams to end") { load.output.contains("all lost") }
        try bed.startHub()
        try endLoad(load, "\(ring), hub \(how)")
      }
    }

    /// A second edge, on an address of its own, has streams through the same hub.
    @Test(
      "an edge that is killed under load is served by again, and no other edge notices",
      arguments: Ring.allCases)
    func edgeUnderLoad(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        try bed.startHub()
        func start(_ name: String, _ id: String, on address: String) throws -> ChildProcess {
          let configuration = bed.edgeConfiguration(id: id) + "bindAddress: \(address)\n"
          return try bed.startEdge(
            name, configuration: configuration,
            until: [LogLine.tunnelUp, "listening tcp \(address):\(bed.peer.edge)"])
        }
        let other = try start("other", bed.crookedID, on: "127.0.0.2")
        let first = try start("edge", bed.edgeID, on: "127.0.0.1")
        let load = try startLoad(bed, ["edge": bed.peer.edge, "witness": "127.0.0.2"])
        try bed.destroy(first)
        try wait(within: 15, for: "the streams to end") { load.output.contains("all lost") }
        _ = try start("edge", bed.edgeID, on: "127.0.0.1")
        try endLoad(load, "\(ring), edge killed")
        #expect(!other.log.contains(LogLine.tunnelDown))
        try bed.stop(other)
      }
    }

    private func startLoad(_ bed: Testbed, _ arguments: [String: Any]) throws -> ChildProcess {
      let words = arguments.merging(["target": bed.peer.target]) { $1 }.map { "\($0)=\($1)" }
      let load = try bed.start(
        "load", ["python3", "\(Product.peers)/faults.py", "under_load"] + words)
      try wait(within: 15, for: "the load to run") { load.output.contains("running") }
      return load
    }

    /// The script itself demands service within 35 s.
    private func endLoad(_ load: ChildProcess, _ what: String) throws {
      #expect(try load.waitForExit(within: 60) == .code(0), "\(load.logTail)")
      print("\(what): \(load.output.split(separator: "\n").last ?? "")")
    }

    @Test(
      "a clock that is stepped by a day ends no stream",
      .enabled(if: FakeClock.isAvailable, "no libfaketime: ci/setup brings it"),
      arguments: Ring.allCases)
    func clockStepped(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        let file = "\(bed.directory)/clock"
        try bed.write("+0\n", to: "clock")
        bed.wrapper = FakeClock.command(file)
        try bed.startHub()
        try bed.startEdge()
        try bed.play("faults", "stepped", bed.route.merging(["file": file]) { $1 })
        for child in [try #require(bed.hub), try #require(bed.edge)] {
          #expect(!child.log.contains(LogLine.tunnelDown) && !child.log.contains("disconnected"))
          #expect(!child.log.contains("the engine died"), "\(child.logTail)")
          // It was stepped indeed.
          let offset = child.log.utf8.count
          child.send(SIGUSR1)
          try child.waitForLog(LogLine.status, from: offset)
          let days = Set(child.log.split(separator: "\n").map { $0.prefix(10) })
          #expect(days.count > 1, "\(days)")
        }
      }
    }

    @Test("a target that takes its time holds up its own clients only", arguments: Ring.allCases)
    func slowTarget(ring: Ring) throws {
      try Testbed.run(ring) { bed in try bed.play("faults", "slow_target", bed.route) }
    }

    @Test("an edge that comes and goes leaves nothing in its hub", arguments: Ring.allCases)
    func reconnects(ring: Ring) throws {
      try Testbed.run(ring) { bed in
        let scenario: [String: Any] = [
          "hub": bed.tunnelPort, "edge_id": bed.crookedID, "secret": bed.secret,
          "own_port": bed.peer.edge, "target": bed.peer.target, "hub_pid": bed.hub?.engine ?? 0,
          "count": Self.isLong ? 10_000 : 300,
        ]
        print("\(ring): \(try bed.play("faults", "reconnects", scenario, within: 600))")
        try bed.curl(bed.url("small"))
        #expect(bed.edge?.log.contains(LogLine.tunnelDown) == false)
      }
    }

    // MARK: Limits of the process

    /// The other side has what it needs.
    @Test(
      "out of descriptors clients are refused, the tunnel stays, and room comes back",
      arguments: Ring.allCases, ["hub", "edge"])
    func fewDescriptors(ring: Ring, role: String) throws {
      try Testbed.bare(ring) { bed in
        let few = ["prlimit", "--nofile=160:160"]
        try bed.startNginx()
        bed.wrapper = role == "hub" ? few : []
        let hub = try bed.startHub()
        bed.wrapper = role == "edge" ? few : []
        let edge = try bed.startEdge()
        print("\(ring): \(try bed.play("faults", "crowded", bed.route))")
        #expect(!edge.log.contains(LogLine.tunnelDown))
        let child = role == "hub" ? hub : edge
        let offset = child.log.utf8.count
        child.send(SIGUSR1)
        try child.waitForLog(LogLine.status, from: offset)
        try bed.curl(bed.url("small"))
      }
    }

    @Test("without privilege and without locked memory hub and edge work as ever")
    func noLockedMemory() throws {
      try Testbed.bare(.uring) { bed in
        // The ring is theirs to choose: io_uring may be refused without that memory.
        bed.environment["REMOTEINGRESS_RING"] = nil
        try bed.command(["chmod", "-R", "a+rwX", bed.directory])
        bed.wrapper = [
          "prlimit", "--memlock=0:0", "setpriv", "--reuid=65534", "--regid=65534",
          "--clear-groups",
        ]
        try bed.startNginx()
        try bed.startHub()
        try bed.startEdge()
        try bed.curl(bed.url("small"))
        try bed.play("streams", "crowd", bed.route.merging(["clients": 50]) { $1 })
      }
    }

    @Test("a hub whose tunnel port is taken says so and ends", arguments: Ring.allCases)
    func tunnelPortTaken(ring: Ring) throws {
      try Testbed.bare(ring) { bed in
        // Shards share their port with their like, not with a stranger.
        let squatter = try bed.start(
          "squatter", ["python3", "-m", "http.server", "-b", "127.0.0.1", "\(bed.tunnelPort)"])
        try wait(within: 10, for: "the squatter") { FreePort.isTaken(bed.tunnelPort) }
        try bed.write(bed.hubConfiguration(), to: "hub.yaml")
        let child = try bed.start(
          "late", [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"])
        #expect(try child.waitForExit(within: 10) == .code(1))
        #expect(child.log.contains("\(bed.tunnelPort)"), "\(child.log)")
        #expect(child.log.contains("Address already in use"), "\(child.log)")
        squatter.send(SIGKILL)
      }
    }

    // MARK: The state directory

    /// A state directory of `pages` pages on a file system of its own, full but for nothing.
    private static func full(_ directory: String) -> [String] {
      let script = """
        mount -t tmpfs -o size=16k,mode=700 tmpfs '\(directory)'
        head -c 64k /dev/zero > '\(directory)/filler' 2>/dev/null
        exec "$@"
        """
      return ["unshare", "-m", "sh", "-c", script, "sh"]
    }

    @Test("a hub that cannot keep its key says so and leaves no half of one")
    func fullAtTheHub() throws {
      try Testbed.bare(.epoll) { bed in
        try bed.write(bed.hubConfiguration(), to: "hub.yaml")
        let list = ["sh", "-c", "\"$@\"; code=$?; ls \(bed.directory)/hub; exit $code", "sh"]
        let child = try bed.start(
          "full",
          Self.full("\(bed.directory)/hub") + list
            + [Product.binary, "hub", "--config", "\(bed.directory)/hub.yaml"])
        #expect(try child.waitForExit(within: 10) == .code(1))
        #expect(child.log.contains("No space left"), "\(child.log)")
        #expect(child.output == "filler\n", "\(child.output)")
        // With room it starts.
        try bed.startHub()
      }
    }

    @Test("an edge that cannot remember its hub warns and works")
    func fullAtTheEdge() throws {
      try Testbed.bare(.epoll) { bed in
        try bed.startNginx()
        try bed.startHub()
        bed.wrapper = Self.full("\(bed.directory)/edge")
        let edge = try bed.startEdge(
          configuration: bed.edgeConfiguration(id: bed.edgeID, trust: ""))
        #expect(edge.log.contains("could not be written"), "\(edge.log)")
        try bed.curl(bed.url("small"))
      }
    }

    // MARK: Certificates

    @Test("a hub's certificate may be replaced by another of its authority, and by no other")
    func certificateReplaced() throws {
      try Testbed.bare(.epoll) { bed in
        try Self.makeAuthority("good", in: bed)
        try Self.makeAuthority("bad", in: bed)
        for (name, authority) in [("first", "good"), ("second", "good"), ("third", "bad")] {
          try Self.makeCertificate(name, of: authority, in: bed)
        }
        try bed.startNginx()
        let trusting = bed.edgeConfiguration(
          id: bed.edgeID, trust: "hubCaFile: \(bed.directory)/good.pem")
        for name in ["first", "second", "third"] {
          bed.hubLines =
            "tls: {certFile: \(bed.directory)/\(name).pem, keyFile: \(bed.directory)/\(name).key}"
          let offset = bed.edge?.log.utf8.count ?? 0
          if let hub = bed.hub { try bed.stop(hub) }
          try bed.startHub()
          if name == "first" { try bed.startEdge(configuration: trusting) }
          let edge = try #require(bed.edge)
          guard name == "third" else {
            try edge.waitForLog(LogLine.tunnelUp, from: offset)
            try bed.curl(bed.url("small"))
            continue
          }
          try edge.waitForLog("certificate", from: offset)
          #expect(!edge.log.dropFirst(offset).contains(LogLine.tunnelUp))
        }
      }
    }

    private static func makeAuthority(_ name: String, in bed: Testbed) throws {
      try bed.command([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "1", "-subj", "/CN=\(name)", "-keyout", "\(bed.directory)/\(name).key",
        "-out", "\(bed.directory)/\(name).pem",
      ])
    }

    private static func makeCertificate(
      _ name: String, of authority: String, in bed: Testbed
    ) throws {
      let at = bed.directory
      try bed.write("subjectAltName=IP:127.0.0.1\n", to: "\(name).ext")
      try bed.command([
        "bash", "-ec",
        """
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=hub \
          -keyout \(at)/\(name).key -out \(at)/\(name).csr 2> /dev/null
        openssl x509 -req -in \(at)/\(name).csr -CA \(at)/\(authority).pem \
          -CAkey \(at)/\(authority).key -CAcreateserial -days 1 -extfile \(at)/\(name).ext \
          -out \(at)/\(name).pem 2> /dev/null
        """,
      ])
    }
  }
}

/// libfaketime, which shows a process another time of day, and the monotonic clock as it is.
enum FakeClock {
  private static let library: String? = {
    let folders = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib")) ?? []
    return folders.map { "/usr/lib/\($0)/faketime/libfaketimeMT.so.1" }
      .first { FileManager.default.fileExists(atPath: $0) }
  }()

  /// Says so, loudly, where it is missing.
  static let isAvailable: Bool = {
    if library == nil { print("SKIPPED: the test of a stepped clock: there is no libfaketime") }
    return library != nil
  }()

  /// Put in front of a command: `file` says by how much its time of day is off. libfaketime puts a
  /// variable of its own into the first program's environment, which moves; the Swift runtime looks
  /// for the arguments in front of where it was. So there is another program before ours.
  static func command(_ file: String) -> [String] {
    [
      "env", "LD_PRELOAD=\(library ?? "")", "FAKETIME_TIMESTAMP_FILE=\(file)",
      "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "nice", "-n", "0",
    ]
  }
}

// Engines that die, hang or never come up: what their supervisor does (SPEC 9).

import Foundation
import Glibc
import RIControl
import RemoteIngress
import Testing

@testable import RemoteIngress

extension Library {
  @Suite("Recovery")
  struct Recovery {
    enum Role: String, CaseIterable { case hub, edge }

    @Test(
      "an engine that is killed, crashes or is stopped under load is replaced",
      arguments: Role.allCases, [SIGKILL, SIGSEGV, SIGSTOP])
    func killed(role: Role, signal: Int32) async throws {
      try await LibraryBed.run { bed in
        // What the next engine must know of: a port that came with an update.
        let added = try LibraryBed.freePort()
        let edgeEvents = bed.edge.events
        try await bed.hub.updateAllowedEdges([try bed.allowedEdge(ports: [bed.port, added])])
        _ = try await next(edgeEvents) { if case .portsUpdated = $0 { true } else { nil } }
        let load = Load(clients: 8, port: bed.port)
        try await eventually("the load to run") { load.done.count > 20 }
        let before = await bed.hub.status()
        let (hubEvents, killedEdge) = (bed.hub.events, bed.edge.events)
        let process = role == .hub ? before.process : await bed.edge.status().process
        let pid = try #require(process.pid)
        let start = ContinuousClock.now
        kill(pid_t(pid), signal)
        let recovered: CrashRecovered
        if role == .hub {
          recovered = try await next(hubEvents) {
            if case .crashRecovered(let data) = $0 { data } else { nil }
          }
        } else {
          recovered = try await next(killedEdge) {
            if case .crashRecovered(let data) = $0 { data } else { nil }
          }
        }
        let engine = (ContinuousClock.now - start) / .milliseconds(1)
        let done = load.done.count
        try await eventually("clients to be served") { load.done.count > done }
        let service = (ContinuousClock.now - start) / .milliseconds(1)
        load.stop()
        print("\(role) after signal \(signal): engine in \(engine) ms, service in \(service) ms")
        #expect(recovered.attempts == 1 && !recovered.reason.isEmpty)
        if signal == SIGSTOP { #expect(recovered.reason == "it was stopped") }
        #expect(!exists(pid))
        // The same port, the edges of the last update.
        let after = await bed.hub.status()
        #expect(after.tunnelPort == before.tunnelPort && after.pin == before.pin)
        #expect(after.process.crashesRecovered == (role == .hub ? 1 : 0))
        #expect(await bed.edge.status().process.crashesRecovered == (role == .hub ? 0 : 1))
        #expect(await bed.edge.status().listenPorts == [bed.port, added])
      }
    }

    /// Short waits, so that all of it takes a second.
    private var hasty: RecoveryPolicy {
      var policy = RecoveryPolicy()
      policy.delayMin = .milliseconds(5)
      policy.delayMax = .milliseconds(50)
      return policy
    }

    @Test("ten crashes in a row end in crashRecoveryFailed, and no busy loop")
    func crashLoop() async throws {
      let bed = try LibraryBed(hasty)
      let events = bed.hub.events
      try await bed.startHub()
      let pids = try await killWhatComes(bed, events)
      #expect(!bed.hub.isRunning)
      let status = await bed.hub.status()
      #expect(status.process.state == .failed && status.process.lastCrash != nil)
      // The first engine and ten more, each a process of its own.
      #expect(pids.count == 11 && Set(pids).count == 11)
      // It can be started anew.
      try await bed.startHub()
      #expect(bed.hub.isRunning)
      await bed.hub.stop()
    }

    /// Kills each engine until the hub is given up; returns their process ids.
    private func killWhatComes(
      _ bed: LibraryBed, _ events: EventSequence<HubEvent>
    ) async throws -> [Int] {
      var pids: [Int] = []
      pids.append(try #require(await bed.hub.status().process.pid))
      kill(pid_t(pids[0]), SIGKILL)
      for await event in events {
        switch event {
        case .crashRecovered:
          let pid = try #require(await bed.hub.status().process.pid)
          pids.append(pid)
          kill(pid_t(pid), SIGKILL)
        case .crashRecoveryFailed(let failure):
          #expect(failure.attempts == 10 && failure.reason.contains("signal 9"))
          return pids
        default: break
        }
      }
      return pids
    }

    @Test("the waits between starts double from a second to half a minute")
    func backOff() {
      let policy = RecoveryPolicy()
      let seconds = (0..<10).map { policy.delay(after: $0) / .seconds(1) }
      #expect(seconds == [0, 1, 2, 4, 8, 16, 30, 30, 30, 30])
    }

    @Test("an engine that cannot start again is given up after the same ten tries")
    func startsInVain() async throws {
      let bed = try LibraryBed(hasty)
      let events = bed.hub.events
      try await bed.startHub()
      let status = await bed.hub.status()
      // Its port is taken by someone who does not share, as soon as it is free.
      let port = try #require(status.tunnelPort)
      kill(pid_t(try #require(status.process.pid)), SIGSTOP)
      kill(pid_t(try #require(status.process.pid)), SIGKILL)
      var occupant: TestSocket?
      while occupant == nil {
        occupant = try? TestSocket.listen(on: port).socket
        // On a busy machine the next engine may be faster.
        if occupant == nil, let next = await bed.hub.status().process.pid {
          kill(pid_t(next), SIGKILL)
        }
      }
      let failure = try await next(events) {
        if case .crashRecoveryFailed(let data) = $0 { data } else { nil }
      }
      #expect(failure.attempts == 10 && failure.reason.contains("cannot listen"))
      #expect(!bed.hub.isRunning)
      withExtendedLifetime(occupant) {}
    }

    @Test("a stop while an engine is being replaced ends cleanly and starts nothing")
    func stopWhileWaiting() async throws {
      var patient = RecoveryPolicy()
      patient.delayMin = .seconds(600)
      patient.delayMax = .seconds(600)
      let bed = try LibraryBed(patient)
      let events = bed.hub.events
      try await bed.startHub()
      // The first start is made at once; the second waits.
      kill(pid_t(try #require(await bed.hub.status().process.pid)), SIGKILL)
      _ = try await next(events) { if case .crashRecovered = $0 { true } else { nil } }
      kill(pid_t(try #require(await bed.hub.status().process.pid)), SIGKILL)
      try await eventually("the wait to begin") {
        let process = await bed.hub.status().process
        return process.state == .recovering && process.pid == nil
      }
      #expect(bed.hub.isRunning)
      // Edges are taken meanwhile, for the next engine.
      try await bed.hub.updateAllowedEdges([])
      await bed.hub.stop()
      #expect(!bed.hub.isRunning)
      #expect(await bed.hub.status().process.state == .stopped)
      try await bed.startHub()
      await bed.hub.stop()
    }

    @Test("a parent that is killed leaves no engine, not even one that is stopped")
    func orphan() async throws {
      for isStopped in [false, true] {
        let bed = try LibraryBed()
        let port = try LibraryBed.freePort()
        let parent = Process()
        parent.executableURL = Bundle.main.executableURL?.deletingLastPathComponent()
          .appendingPathComponent("remoteingress")
        parent.arguments = [
          "hub", "--tunnel-port", "\(port)", "--bind-address", "127.0.0.1", "--state-dir",
          bed.directory,
        ]
        parent.standardError = FileHandle.nullDevice
        try parent.run()
        try await eventually("the hub to listen") { (try? TestSocket.connect(to: port)) != nil }
        let engine = try #require(children(of: parent.processIdentifier).first)
        if isStopped { kill(engine, SIGSTOP) }
        kill(parent.processIdentifier, SIGKILL)
        parent.waitUntilExit()
        try await eventually("the engine to be gone") { !isAlive(engine) }
      }
    }

    private func children(of parent: pid_t) -> [pid_t] {
      let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return all.compactMap { pid_t($0) }.filter { stat($0)?.parent == parent }
    }

    /// A dead process that its new parent has not waited for does not count.
    private func isAlive(_ pid: pid_t) -> Bool { stat(pid).map { $0.state != "Z" } ?? false }

    private func stat(_ pid: pid_t) -> (state: String, parent: pid_t)? {
      let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
      guard let fields = text?.split(separator: ")").last?.split(separator: " "), fields.count > 1
      else { return nil }
      return pid_t(fields[1]).map { (String(fields[0]), $0) }
    }
  }
}

// The parts of a supervisor that need no process: the watchdog, lines, the engine's environment.

import Foundation
import RIBase
import RIControl
import Testing

@testable import RemoteIngress

@Suite struct SupervisionTests {
  private let policy = RecoveryPolicy()

  @Test func anEngineThatAnswersLives() {
    var watchdog = Watchdog()
    for _ in 0..<100 {
      let number = watchdog.ask()
      #expect(watchdog.verdict(policy, isStopped: false) == nil)
      watchdog.answered(number, shards: number)
    }
  }

  /// Long enough for an engine that gets no time, short enough for service within 35 s.
  @Test func anEngineHasTenSecondsForAnAnswer() {
    #expect(policy.pingInterval * Int(policy.pingsUnansweredMax) == .seconds(10))
    #expect(policy.pingInterval * Int(policy.shardPingsMax) == .seconds(10))
  }

  @Test func questionsInVainAreItsEnd() {
    var watchdog = Watchdog()
    watchdog.answered(watchdog.ask(), shards: 1)
    for _ in 1..<policy.pingsUnansweredMax {
      _ = watchdog.ask()
      #expect(watchdog.verdict(policy, isStopped: false) == nil)
    }
    _ = watchdog.ask()
    #expect(watchdog.verdict(policy, isStopped: false) == "it did not answer")
    let last = policy.pingsUnansweredMax + 1
    watchdog.answered(last, shards: last)
    #expect(watchdog.verdict(policy, isStopped: false) == nil)
  }

  @Test func aStoppedEngineIsNotWaitedFor() {
    var watchdog = Watchdog()
    // Nobody looks at one that answers.
    #expect(watchdog.verdict(policy, isStopped: true) == nil)
    _ = watchdog.ask()
    #expect(watchdog.verdict(policy, isStopped: true) == "it was stopped")
    watchdog.answered(1, shards: 1)
    #expect(watchdog.verdict(policy, isStopped: true) == nil)
  }

  @Test func aShardThatHangsIsTheEndOfAnEngineThatAnswers() {
    var watchdog = Watchdog()
    watchdog.answered(watchdog.ask(), shards: 1)
    for _ in 1..<policy.pingsUnansweredMax {
      watchdog.answered(watchdog.ask(), shards: 1)
      #expect(watchdog.verdict(policy, isStopped: false) == nil)
    }
    watchdog.answered(watchdog.ask(), shards: 1)
    #expect(watchdog.verdict(policy, isStopped: false) == "a shard of it did not answer")
  }

  @Test func anAnswerToWhatWasNotAskedIsNone() {
    var watchdog = Watchdog()
    watchdog.answered(1_000, shards: 1_000)
    for _ in 0..<policy.pingsUnansweredMax { _ = watchdog.ask() }
    #expect(watchdog.verdict(policy, isStopped: false) != nil)
  }

  @Test(arguments: [1, 2, 3, 7, 1_000])
  func linesComeWholeHoweverTheyAreCut(size: Int) {
    let text = Array("first\n\nthird, longer\nrest".utf8)
    var lines = LineAssembler(bytesMax: 100)
    var found: [String] = []
    for start in stride(from: 0, to: text.count, by: size) {
      let isInBounds = lines.append(text[start..<min(start + size, text.count)]) {
        found.append(String(decoding: $0, as: UTF8.self))
      }
      #expect(isInBounds)
    }
    #expect(found == ["first", "", "third, longer"])
  }

  @Test func aLineThatIsTooLongIsRefused() {
    for text in ["123456789", "12345678\n"] {
      var lines = LineAssembler(bytesMax: 8)
      var count = 0
      let isInBounds = lines.append(Array(text.utf8)[...]) { _ in count += 1 }
      #expect(isInBounds == text.hasSuffix("\n") && count == (isInBounds ? 1 : 0))
    }
    var lines = LineAssembler(bytesMax: 8)
    #expect(lines.append(Array("12345".utf8)[...]) { _ in })
    #expect(!lines.append(Array("6789\n".utf8)[...]) { _ in })
  }

  @Test func aDrainIsADayAtMostWhateverNumberItHas() {
    for (seconds, time) in [
      (30.0, Interval.seconds(30)), (0.25, .milliseconds(250)), (0, .zero), (-1, .zero),
      (1e300, .seconds(86_400)), (.infinity, .seconds(86_400)), (.nan, .zero),
    ] { #expect(EngineRequest.drainTime(seconds: seconds) == time, "\(seconds) s") }
  }

  /// An engine may be taken over by whoever it talks to: its supervisor shows what it says.
  @Test func absurdFiguresOfAnEngineAreShownAndEndNobody() {
    let memory = MemoryStatus(
      budgetBytes: .max, heldBytes: .max, grownBytes: .min, pressure: .none)
    var shard = ShardStatus(udpSessions: .max, memory: memory)
    shard.activeStreams = .max
    let status = EngineStatus(role: .hub, shards: [shard, shard, shard])
    #expect(HubStatus(status, EngineProcessStatus()).shards.count == 3)
    #expect(EdgeStatus(status, EngineProcessStatus()).shards.count == 3)
    let broadcaster = EventBroadcaster<Int>()
    let events = broadcaster.subscribe()
    for _ in 0..<3 { broadcaster.addLost(.max) }
    broadcaster.addLost(.min)
    withExtendedLifetime(events) {}
  }

  @Test func anEngineSeesNoConfigurationInItsEnvironment() {
    let environment = engineEnvironment([
      "PATH": "/bin", "REMOTEINGRESS_RING": "epoll", "REMOTEINGRESS_SECRET": "hush",
      "REMOTEINGRESS_TOKEN": "hush", "REMOTEINGRESS_ADMIN_TOKEN": "hush", "NOTIFY_SOCKET": "/run/n",
      "REMOTEINGRESS_EXTENSIONS": "none", "WATCHDOG_USEC": "1",
    ])
    #expect(
      environment == [
        "PATH": "/bin", "REMOTEINGRESS_RING": "epoll", "REMOTEINGRESS_EXTENSIONS": "none",
      ])
  }

  @Test("an engine without a supervisor ends, whatever it is told", arguments: ["", "garbage\n"])
  func alone(input: String) throws {
    let engine = Process()
    engine.executableURL = Bundle.main.bundleURL.appendingPathComponent("remoteingress")
    engine.arguments = ["engine"]
    let (stdin, stdout) = (Pipe(), Pipe())
    engine.standardInput = stdin
    engine.standardOutput = stdout
    try engine.run()
    try stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    // Garbage ends it while its input is still open.
    if input.isEmpty { try stdin.fileHandleForWriting.close() }
    engine.waitUntilExit()
    #expect(engine.terminationReason == .exit && engine.terminationStatus == 1)
    let said = String(
      decoding: stdout.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    #expect(said.isEmpty == input.isEmpty && said.contains("failed") != input.isEmpty)
  }
}

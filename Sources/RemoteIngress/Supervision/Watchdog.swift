// Whether an engine is there: questions with numbers, and the last that was answered.

/// What is known of an engine's answers.
struct Watchdog {
  private var asked: UInt64 = 0
  private var answered: UInt64 = 0
  private var answeredByShards: UInt64 = 0

  /// The number of the next question.
  mutating func ask() -> UInt64 {
    asked += 1
    return asked
  }

  /// It has read question `number`; all its shards have passed question `shards`.
  mutating func answered(_ number: UInt64, shards: UInt64) {
    answered = max(answered, min(number, asked))
    answeredByShards = max(answeredByShards, min(shards, asked))
  }

  /// Why the engine is dead, if it is. One that `isStopped` need not be waited for.
  func verdict(_ policy: RecoveryPolicy, isStopped: @autoclosure () -> Bool) -> String? {
    if asked > answered, isStopped() { return "it was stopped" }
    if asked - answered >= policy.pingsUnansweredMax { return "it did not answer" }
    if asked - answeredByShards >= policy.shardPingsMax { return "a shard of it did not answer" }
    return nil
  }
}

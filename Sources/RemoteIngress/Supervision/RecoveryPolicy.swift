// When a dead engine is started again, and when an engine counts as dead (SPEC 9).

/// The rules of crash recovery.
package struct RecoveryPolicy: Sendable {
  /// Starts in a row that are tried.
  package var attemptsMax = 10
  /// Before the second of them; it doubles from there. The first is made at once.
  package var delayMin = Duration.seconds(1)
  package var delayMax = Duration.seconds(30)
  /// An engine that has lived so long ends a row of attempts.
  package var stableAfter = Duration.seconds(60)
  /// What a start may take: a key is made, certificates and thousands of edges are read.
  package var startTimeout = Duration.seconds(30)
  /// How often an engine is asked whether it is there.
  package var pingInterval = Duration.milliseconds(500)
  /// So many questions in a row without an answer, and it is killed: it hangs. (One without an
  /// answer, and it is looked at whether somebody has stopped it: then it is killed at once.) An
  /// engine that got no time (a loaded machine, a debugger's look) is alive and has everybody's
  /// streams, and one that hangs is rare: so they have 10 s, which with the edges' first waits is
  /// still service within 35 s.
  package var pingsUnansweredMax: UInt64 = 20
  /// The same for its shards.
  package var shardPingsMax: UInt64 = 20
  /// What an engine gets to end in when it is told to, beyond the time for its streams.
  package var stopTimeout = Duration.seconds(15)

  package init() {}

  /// What passes before the start that follows `attempts` others.
  package func delay(after attempts: Int) -> Duration {
    attempts == 0 ? .zero : min(delayMax, delayMin * (1 << min(attempts - 1, 20)))
  }
}

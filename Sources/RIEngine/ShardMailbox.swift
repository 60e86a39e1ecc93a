// What other threads tell a shard.

import RIBase
import RIControl

/// A command to a shard, handled at its next tick.
enum ShardCommand: Sendable {
  /// Close all listeners, and say when they are closed. What is there goes on.
  case stopAccepting(@Sendable () -> Void)
  /// No new streams; stop when the live ones are gone or the deadline has passed.
  case drain(Interval)
  /// Stop at once.
  case stop
  /// Another shard authenticated this edge: an older tunnel of it here is replaced.
  case edgeConnectedElsewhere(Authentication)
  case updateAllowedEdges([AllowedEdge])
  /// What was handed to the firewall as the `serial`th is in force, or has failed.
  case firewallSettled(serial: UInt64)
  /// Another shard's socket has received packets of a tunnel of this one.
  case packets(ForeignPackets)
  case status(@Sendable (ShardStatus) -> Void)
  /// Whether streams are reported.
  case watchStreams(Bool)
  /// Handled by being dropped.
  case probe(ShardProbe)
}

/// Tells when a shard has read its mailbox, or has ended.
final class ShardProbe: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  deinit { body() }
}

typealias ShardMailbox = Mailbox<ShardCommand>

extension Shard {
  func readMailbox() {
    guard !mailbox.isEmpty else { return }
    mailbox.takeAll(into: &commands)
    for command in commands { handle(command) }
    commands.removeAll()
  }

  private func handle(_ command: ShardCommand) {
    switch command {
    case .stopAccepting(let whenDone): stopAccepting(whenDone)
    case .drain(let limit): beginDrain(limit)
    case .stop: phase = .stopped
    case .edgeConnectedElsewhere(let authentication): replaceTunnels(olderThan: authentication)
    case .updateAllowedEdges(let edges): updateAllowedEdges(edges)
    case .firewallSettled(let serial): firewallSettled(serial: serial)
    case .packets(let packets): receiveForeign(packets)
    case .status(let reply): reply(status)
    case .watchStreams(let isWanted): watchStreams(isWanted)
    case .probe: break
    }
  }
}

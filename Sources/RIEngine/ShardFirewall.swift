// Where an edge's shard and its firewall meet: a CONFIG's ports are opened once its firewall is in
// force, or has failed; the tunnel's own addresses are always let through.

import Glibc
import RIBase
import RIControl
import RIRing
import RIWire

/// What an edge's shard knows of its firewall.
struct FirewallDesk {
  /// nil: this engine has none (the simulation).
  let firewall: EdgeFirewall?
  /// What was handed over last; nil: nothing yet.
  var handedOver: JSONValue??
  /// Counts what was handed over.
  var serial: UInt64 = 0
  /// The CONFIG whose ports wait.
  var waiting: EdgeConfigMessage?
  /// The hub's addresses of the last look-up that brought some.
  var resolved: [SocketAddress] = []

  init(_ firewall: EdgeFirewall?) { self.firewall = firewall }
}

extension Shard {
  /// Does as the message says: the firewall first, if it changes, then the ports.
  func applyBehindFirewall(_ message: EdgeConfigMessage, _ edge: EdgeState) {
    guard let firewall = edge.desk.firewall else { return apply(message, edge) }
    let asked = message.firewallConfig == .null ? nil : message.firewallConfig
    let isNews = edge.desk.handedOver != .some(asked)
    edge.desk.handedOver = .some(asked)
    if isNews { edge.desk.serial += 1 }
    let (serial, mailbox) = (edge.desk.serial, mailbox)
    firewall.configure(asked, hub: hubAddresses(edge)) {
      if isNews { mailbox.postInTheEnd(.firewallSettled(serial: serial)) }
    }
    if asked != nil, isNews || edge.desk.waiting != nil {
      edge.desk.waiting = message
    } else {
      edge.desk.waiting = nil
      apply(message, edge)
    }
  }

  func firewallSettled(serial: UInt64) {
    guard case .edge(let edge) = role, serial == edge.desk.serial,
      let message = edge.desk.waiting
    else { return }
    edge.desk.waiting = nil
    apply(message, edge)
  }

  /// The hub's name has been looked up. Without an answer those of the last time serve: the
  /// firewall itself may keep the name server away.
  func admitHub(_ found: [SocketAddress], _ edge: EdgeState) -> [SocketAddress] {
    guard !found.isEmpty else { return edge.desk.resolved }
    edge.desk.resolved = found
    edge.desk.firewall?.hubIs(at: hubAddresses(edge))
    return found
  }

  /// Where the tunnels that are there go to, and where the next may go.
  private func hubAddresses(_ edge: EdgeState) -> Set<SocketAddress> {
    var addresses = Set(edge.desk.resolved)
    for id in links.ids where links[id].phase != .closing { addresses.insert(links[id].peer) }
    return addresses
  }
}

extension ShardMailbox {
  /// Leaves a message that must not be lost: waits for room.
  fileprivate func postInTheEnd(_ command: ShardCommand) {
    while true {
      do throws(MailboxRefusal) {
        return try post(command)
      } catch {
        guard case .full = error else { return }
        usleep(10_000)
      }
    }
  }
}

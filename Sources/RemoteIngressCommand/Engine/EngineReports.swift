// What an engine's events are to those outside: lines for a log, and events of the library.

import RIBase
import RIControl
import RIEngine
import RemoteIngress

extension EngineOutput {
  /// Both, where an event is both.
  func report(_ event: EngineEvent) {
    if let record = event.record { send(.log(record)) }
    if let event = event.hubEvent { send(.hub(event)) }
    if let event = event.edgeEvent { send(.edge(event)) }
  }
}

extension EngineEvent {
  /// The event as a line of the log; nil for what the log does not tell.
  var record: LogRecord? {
    switch self {
    case .note(let text): LogRecord(.info, text)
    case .warning(let text): LogRecord(.warning, text)
    case .hubReady(let address): LogRecord(.info, "hub ready on \(address)")
    case .edgeConnected(let id, let address, let transport):
      LogRecord(.info, "edge \(id) connected from \(address) over \(transport.label)")
    case .edgeMoved(let id, let former, let address):
      LogRecord(.info, "edge \(id) moved from \(former) to \(address)")
    case .edgeDraining(let id, let address):
      LogRecord(.info, "edge \(id) is draining, at \(address)")
    case .edgeDisconnected(let id, let address, let reason):
      LogRecord(.info, "edge \(id) disconnected from \(address): \(reason)")
    case .edgeRefused(let address, let reason, let leftOut):
      LogRecord(
        .info, "refused \(address): \(reason)" + (leftOut > 0 ? "; \(leftOut) more before it" : ""))
    case .tunnelUp(let hub, let transport, let cipher):
      LogRecord(.info, "tunnel up to \(hub) over \(transport.label), \(cipher)")
    case .tunnelDown(let reason, let retryAfter):
      LogRecord(
        .warning,
        "no tunnel: \(reason); next attempt in \(retryAfter.nanoseconds / 1_000_000) ms")
    case .tunnelMoved(let hub, let transport):
      LogRecord(.info, "new streams go to \(hub) over \(transport.label)")
    case .tunnelDraining(let hub):
      LogRecord(.info, "the hub at \(hub) is draining: dialling anew")
    case .tunnelDrained(let hub, let reason):
      LogRecord(.info, "old tunnel to \(hub) ended: \(reason)")
    case .messagesLeftOut(.refusal, let count): LogRecord(.info, "refused \(count) more")
    case .messagesLeftOut(.memoryBudget, let count):
      LogRecord(.warning, "memory budget spent: reset \(count) more streams")
    case .hubTrustedOnFirstUse(let pin):
      LogRecord(.warning, "the hub is trusted at first use: \(pin)")
    case .listening(let transport, let address):
      LogRecord(.info, "listening \(transport.rawValue) \(address)")
    case .listenFailed(let transport, let address, let error):
      LogRecord(.warning, "cannot listen on \(transport.rawValue) \(address): \(error)")
    case .listenerClosed(let transport, let port):
      LogRecord(.info, "closed \(transport.rawValue) \(port)")
    case .firewallUpdated(let status): status.record
    case .publicAddressDiscovered(let address): LogRecord(.info, "public address \(address)")
    case .streamSustained(let edgeID, let stream, let bytes):
      LogRecord(
        .debug,
        "stream \(stream)" + (edgeID.map { " of edge \($0)" } ?? "")
          + " is a sustained flow, after \(bytes) bytes")
    case .portsSet, .streamOpened, .streamClosed: nil
    }
  }

  /// The event as a hub's (SPEC 9); nil for what is none.
  var hubEvent: HubEvent? {
    switch self {
    case .edgeConnected(let id, let address, let transport):
      .edgeConnected(.init(edgeId: id, address: "\(address)", transport: transport))
    case .edgeDisconnected(let id, let address, let reason):
      .edgeDisconnected(.init(edgeId: id, address: "\(address)", reason: "\(reason)"))
    case .streamOpened(let stream):
      .streamOpened(
        .init(
          id: stream.id, edgeId: stream.edgeID, source: "\(stream.source)",
          destination: "\(stream.destination)"))
    case .streamClosed(let stream, let after, let isComplete):
      .streamClosed(
        .init(
          id: stream.id, edgeId: stream.edgeID, seconds: after.seconds, isComplete: isComplete))
    default: nil
    }
  }

  /// The event as an edge's (SPEC 9); nil for what is none.
  var edgeEvent: EdgeEvent? {
    switch self {
    case .tunnelUp(let hub, let transport, let cipher):
      .tunnelConnected(.init(hub: "\(hub)", transport: transport, cipher: cipher))
    case .tunnelDown(let reason, let retryAfter):
      .tunnelDisconnected(.init(reason: "\(reason)", retryInSeconds: retryAfter.seconds))
    case .publicAddressDiscovered(let address): .publicIpDiscovered(.init(publicIp: "\(address)"))
    case .portsSet(let tcp, let udp, true):
      .portsAssigned(.init(listenPorts: tcp, listenPortsUdp: udp))
    case .portsSet(let tcp, let udp, false):
      .portsUpdated(.init(listenPorts: tcp, listenPortsUdp: udp))
    case .listenFailed(let transport, let address, let error):
      .listenerFailed(
        .init(
          port: address.port, protocol: transport, address: "\(address.ip)", error: "\(error)"))
    case .firewallUpdated(let status): .firewallConfigUpdated(status)
    default: nil
    }
  }
}

extension FirewallStatus {
  fileprivate var record: LogRecord {
    switch state {
    case .off: LogRecord(.info, "firewall off")
    case .applied:
      LogRecord(
        .info,
        "firewall applied: \(rules) rules, \(blockedIps) blocked, \(rateLimits) rate limits")
    case .refused, .failed, .unavailable:
      LogRecord(.warning, "firewall \(state.rawValue): \(reason ?? "")")
    }
  }
}

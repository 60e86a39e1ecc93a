// Events for many listeners: each bounded, the newest kept, losses counted; and their names.

import Foundation
import RIControl
import Synchronization
import Testing

@testable import RemoteIngress

@Suite struct EventSequenceTests {
  private final class Wishes: Sendable {
    let all = Mutex<[Bool]>([])
  }

  @Test func eachListenerHasAllFromItsOwnStart() async {
    let broadcaster = EventBroadcaster<Int>()
    let first = broadcaster.subscribe()
    broadcaster.send(1)
    let second = broadcaster.subscribe()
    broadcaster.send(2)
    var (one, two) = (first.makeAsyncIterator(), second.makeAsyncIterator())
    #expect(await one.next() == 1)
    #expect(await one.next() == 2)
    #expect(await two.next() == 2)
  }

  @Test func theNewestAreKeptAndLossesCounted() async {
    let broadcaster = EventBroadcaster<Int>()
    let slow = broadcaster.subscribe(capacity: 3)
    for number in 1...10 { broadcaster.send(number) }
    #expect(slow.lost == 7)
    var iterator = slow.makeAsyncIterator()
    #expect(await iterator.next() == 8)
    #expect(await iterator.next() == 9)
    broadcaster.addLost(5)
    #expect(slow.lost == 12)
  }

  @Test func streamsAreWantedOnlyWhileSomebodyListens() async {
    let wishes = Wishes()
    let broadcaster = EventBroadcaster<Int> { isWanted in
      wishes.all.withLock { $0.append(isWanted) }
    }
    let others = broadcaster.subscribe(wantsStreams: false) { $0 > 5 }
    #expect(wishes.all.withLock { $0 } == [])
    do {
      let all = broadcaster.subscribe()
      #expect(wishes.all.withLock { $0 } == [true])
      withExtendedLifetime(all) {}
    }
    #expect(wishes.all.withLock { $0 } == [true, false])
    broadcaster.send(3)
    broadcaster.send(7)
    var iterator = others.makeAsyncIterator()
    #expect(await iterator.next() == 7)
  }

  @Test func anEndedBroadcasterEndsItsSequences() async {
    var broadcaster: EventBroadcaster<Int>? = EventBroadcaster()
    let events = broadcaster?.subscribe()
    broadcaster?.send(1)
    broadcaster = nil
    var seen: [Int] = []
    if let events { for await event in events { seen.append(event) } }
    #expect(seen == [1])
  }

  @Test func namesAreTheSpecifications() throws {
    #expect(
      HubEvent.Name.allCases.map(\.rawValue) == [
        "edgeConnected", "edgeDisconnected", "streamOpened", "streamClosed", "crashRecovered",
        "crashRecoveryFailed",
      ])
    #expect(
      EdgeEvent.Name.allCases.map(\.rawValue) == [
        "tunnelConnected", "tunnelDisconnected", "publicIpDiscovered", "portsAssigned",
        "portsUpdated", "listenerFailed", "firewallConfigUpdated", "crashRecovered",
        "crashRecoveryFailed",
      ])
    let event = HubEvent.edgeDisconnected(
      .init(edgeId: "e1", address: "192.0.2.1:5", reason: "silence"))
    #expect(event.name == "edgeDisconnected")
    #expect(event.data == #"{"address":"192.0.2.1:5","edgeId":"e1","reason":"silence"}"#)
    let line = jsonLine(event)
    #expect(line == #"{"edgeDisconnected":\#(event.data)}"#)
    #expect(try JSONDecoder().decode(HubEvent.self, from: Data(line.utf8)) == event)
  }

  @Test func everyEdgeEventSurvivesTheChannel() throws {
    let ports = EdgeEvent.Ports(listenPorts: [80], listenPortsUdp: [53])
    let events: [EdgeEvent] = [
      .tunnelConnected(.init(hub: "h:1", transport: .tcpTls, cipher: "c")),
      .tunnelDisconnected(.init(reason: "r", retryInSeconds: 1.5)),
      .publicIpDiscovered(.init(publicIp: "192.0.2.1")), .portsAssigned(ports),
      .portsUpdated(ports),
      .listenerFailed(.init(port: 80, protocol: .udp, address: "::", error: "e")),
      .firewallConfigUpdated(FirewallStatus()),
      .crashRecovered(CrashRecovered(reason: "r", attempts: 1, seconds: 0.1)),
      .crashRecoveryFailed(CrashRecoveryFailed(reason: "r", attempts: 10)),
    ]
    #expect(Set(events.map(\.name)).count == EdgeEvent.Name.allCases.count)
    for event in events {
      let line = jsonLine(EngineMessage.edge(event))
      let message = try JSONDecoder().decode(EngineMessage.self, from: Data(line.utf8))
      var read: EdgeEvent?
      if case .edge(let found) = message { read = found }
      #expect(read == event)
    }
  }
}

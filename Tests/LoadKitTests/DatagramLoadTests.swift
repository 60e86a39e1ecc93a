// The load of UDP, over loopback without anything between.

import Glibc
import Testing

@testable import LoadKit

@Suite struct DatagramLoadTests {
  private func order(
    _ kind: DatagramKind, sessions: Int = 3, payloadBytes: Int = 100, packetsPerSecond: Int? = nil,
    seconds: Double = 0.2
  ) throws -> DatagramOrder {
    let rate = packetsPerSecond.map { ", \"packetsPerSecond\": \($0)" } ?? ""
    let json = """
      {"name": "n", "about": "a", "kind": "\(kind.rawValue)", "sessions": \(sessions),
       "payloadBytes": \(payloadBytes)\(rate)}
      """
    let port = try freeDatagramPort()
    return DatagramOrder(
      workload: try DatagramWorkload(json: Array(json.utf8)), entryPort: port, targetPort: port,
      warmUpSeconds: 0.1, seconds: seconds, watched: [getpid()])
  }

  @Test func requestsAreAnsweredAndTimed() throws {
    let result = try untilTraffic(0.2) { try runDatagramLoad(order(.requests, seconds: $0)) }
    #expect(result.received > 0 && result.received <= result.sent && result.repeated == 0)
    #expect(result.latency.p50 > 0 && result.latency.p50 <= result.latency.max)
    #expect(result.watchedCPUSeconds.count == 1)
  }

  @Test(arguments: [DatagramKind.up, .down])
  func streamsAreCountedAtTheOtherEnd(kind: DatagramKind) throws {
    let result = try untilTraffic(0.2) {
      try runDatagramLoad(
        order(kind, payloadBytes: 1_200, packetsPerSecond: 5_000, seconds: $0))
    }
    #expect(result.received > 0 && result.received <= result.sent && result.repeated == 0)
    // As many as were due; a late machine sends some of them later.
    #expect(Double(result.sent) <= 10_000 * result.seconds)
  }

  @Test(arguments: [16, 65_507])
  func datagramsHaveAnySize(bytes: Int) throws {
    let result = try untilTraffic(0.2) {
      try runDatagramLoad(order(.requests, sessions: 1, payloadBytes: bytes, seconds: $0))
    }
    #expect(result.received > 0)
  }

  /// A relay that gives each datagram back twice, or with another byte.
  @Test(arguments: [true, false])
  func whatIsDoubledOrDamagedIsSeen(doubles: Bool) throws {
    var order = try order(.requests, sessions: 1)
    let relay = try datagramSocket(bound: 0)
    order.entryPort = localPort(relay)
    let targetPort = order.targetPort
    startThread {
      let batch = DatagramBatch(bytesMax: 100)
      let poller = Poller()
      poller.add(relay, Poller.readable, number: 0)
      while true {
        _ = poller.wait()
        let count = batch.receive(from: relay)
        guard count > 0 else { continue }
        if !doubles, batch.count(0) > 1 { batch.payload(0).storeBytes(of: 7, as: UInt8.self) }
        // One byte opens a session: the target must see it.
        if batch.count(0) == 1, let out = try? datagramSocket(to: targetPort) {
          batch.send(1, bytes: 1, on: out, to: nil)
          continue
        }
        batch.sendBack(count, on: relay)
        if doubles { batch.sendBack(count, on: relay) }
      }
    }
    if doubles {
      let result = try untilTraffic(order.seconds) {
        order.seconds = $0
        return try runDatagramLoad(order)
      }
      #expect(result.repeated > 0)
    } else {
      #expect(throws: LoadError.self) { try runDatagramLoad(order) }
    }
  }

  @Test(arguments: [
    #"{"name":"n","about":"a","kind":"rr","sessions":0,"payloadBytes":100}"#,
    #"{"name":"n","about":"a","kind":"rr","sessions":1,"payloadBytes":15}"#,
    #"{"name":"n","about":"a","kind":"rr","sessions":1,"payloadBytes":65508}"#,
    #"{"name":"n","about":"a","kind":"stream-up","sessions":1,"payloadBytes":100}"#,
    #"{"name":"n","about":"a","kind":"none","sessions":1,"payloadBytes":100}"#,
  ])
  func whatIsNoWorkloadIsRefused(json: String) {
    #expect(throws: LoadError.self) { try DatagramWorkload(json: Array(json.utf8)) }
  }
}

/// A port below the ephemeral range, so that no socket of another test has it by the time that the
/// load binds it.
private func freeDatagramPort() throws -> UInt16 {
  for _ in 0..<100 {
    let port = UInt16.random(in: 10_000..<30_000)
    if let socket = try? datagramSocket(bound: port) {
      close(socket)
      return port
    }
  }
  throw LoadError("no free port")
}

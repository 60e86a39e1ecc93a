// Contract: receive, its limit, its buffers, and the end of the stream.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceReceiving {
  @Test(arguments: Backend.available, [RingDriver.small, RingDriver.large])
  func bytesArriveInOrder(_ backend: Backend, _ pool: PoolID) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server, into: pool)
    var sent: [UInt8] = []
    for i in 0..<20 {
      let bytes = RingDriver.pattern(60_000, seed: UInt64(i))
      try driver.sendAll(bytes, client)
      sent += bytes
    }
    #expect(driver.run { driver.bytes(receive).count == sent.count })
    #expect(driver.bytes(receive) == sent)
    #expect(driver.all(receive).allSatisfy { $0.more })
    #expect(driver.store[pool].shape.bytes >= driver.all(receive).map { Int($0.result) }.max() ?? 0)
  }

  @Test(arguments: Backend.available, [1, 5_000, 100_000])
  func receiveEndsAtItsLimit(_ backend: Backend, _ limit: Int) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let bytes = RingDriver.pattern(200_000)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client)
    var received: [UInt8] = []
    while received.count < bytes.count {
      let receive = driver.receive(server, limit: limit)
      let left = bytes.count - received.count
      if left < limit {
        #expect(driver.run { driver.bytes(receive).count == left })
        #expect(driver.terminal(receive) == nil)
      } else {
        #expect(try driver.result(of: receive) > 0)
        let count = driver.bytes(receive).count
        #expect(count >= limit && count < limit + RingDriver.smallBytes)
      }
      received += driver.bytes(receive)
      if limit == 1, received.count > 40_000 { break }
    }
    #expect(received[...] == bytes[..<received.count])
    if received.count == bytes.count {
      #expect(try driver.result(of: send) == Int32(bytes.count))
    }
    try driver.close(client)
    store(driver, &queue)
  }

  private func store(_ driver: RingDriver, _ queue: inout SliceQueue) {
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func emptyPoolEndsTheReceiveAndLosesNothing(_ backend: Backend) throws {
    let driver = try RingDriver(backend, smallCount: 4)
    let (client, server) = try driver.connection()
    driver.releasesBuffers = false
    let bytes = RingDriver.pattern(10 * RingDriver.smallBytes)
    let first = driver.receive(server)
    try driver.sendAll(bytes, client)
    #expect(try driver.result(of: first) == -ENOBUFS)
    var received = driver.bytes(first)
    #expect(received.count <= 4 * RingDriver.smallBytes)
    // Armed again while still empty: it ends again.
    let second = driver.receive(server)
    #expect(try driver.result(of: second) == -ENOBUFS)
    #expect(driver.bytes(second).isEmpty)

    driver.releaseHeld()
    driver.releasesBuffers = true
    while received.count < bytes.count {
      let next = driver.receive(server)
      let before = received.count
      #expect(
        driver.run {
          before + driver.bytes(next).count == bytes.count || driver.terminal(next) != nil
        })
      received += driver.bytes(next)
      try #require(received.count > before, "no progress")
      if driver.terminal(next) == nil {
        driver.ring.cancel(next)
        _ = try driver.result(of: next)
      }
    }
    #expect(received == bytes)
  }

  @Test(arguments: Backend.available)
  func endOfStreamComesOnceAndIsTerminal(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server)
    try driver.sendAll([1, 2, 3, 4, 5], client)
    try driver.close(client)
    #expect(try driver.result(of: receive) == 0)
    #expect(driver.bytes(receive) == [1, 2, 3, 4, 5])
    driver.pass(.milliseconds(5))
    #expect(driver.all(receive).filter { $0.result == 0 }.count == 1)
    #expect(driver.store[RingDriver.small].usedCount == 0 || backend.lendsBuffers)
  }

  @Test(arguments: Backend.available)
  func endOfStreamIsSeenByAReceiveArmedLater(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    try driver.sendAll([9], client)
    try driver.close(client)
    driver.pass(.milliseconds(5))
    let receive = driver.receive(server)
    #expect(try driver.result(of: receive) == 0)
    #expect(driver.bytes(receive) == [9])
  }

  @Test(arguments: Backend.available)
  func resetEndsTheReceive(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server)
    driver.pass(.milliseconds(1))
    try driver.close(client, .reset)
    #expect(try driver.result(of: receive) == -ECONNRESET)
  }

  @Test(arguments: Backend.available)
  func receiveIsCancelledAndArmedAgain(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let first = driver.receive(server)
    driver.pass(.milliseconds(1))
    driver.ring.cancel(first)
    #expect(try driver.result(of: first) == -ECANCELED)
    let second = driver.receive(server)
    try driver.sendAll([7, 8], client)
    #expect(driver.run { driver.bytes(second) == [7, 8] })
    #expect(driver.bytes(first).isEmpty)
  }

  @Test(arguments: Backend.available)
  func receivesAtRestHoldNoBuffer(_ backend: Backend) throws {
    // Ten times as many receives as buffers; each still gets its bytes.
    let driver = try RingDriver(backend, smallCount: 8)
    var pairs: [(client: Socket, server: Socket, receive: Token)] = []
    for _ in 0..<80 {
      let (client, server) = try driver.connection()
      pairs.append((client, server, driver.receive(server)))
    }
    driver.pass(.milliseconds(2))
    #expect(pairs.allSatisfy { driver.all($0.receive).isEmpty })
    for (i, pair) in pairs.enumerated() {
      try driver.sendAll([UInt8(i)], pair.client)
      #expect(driver.run { driver.bytes(pair.receive) == [UInt8(i)] })
    }
    #expect(pairs.allSatisfy { driver.terminal($0.receive) == nil })
  }
}

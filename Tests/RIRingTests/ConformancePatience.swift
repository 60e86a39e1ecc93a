// Contract: patient sends, which end no wait where the ring can do without.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformancePatience {
  @Test(arguments: Backend.available)
  func aPatientSendEndsNoWait(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    var queue = driver.outgoing(RingDriver.pattern(1_000))
    for mode in [SendMode.attempt, .all] {
      let send = driver.send(queue, client, mode, isPatient: true)
      let deadline = driver.ring.updateNow() + .milliseconds(20)
      let batch = driver.wait(until: deadline)
      #expect(batch.map(\.result) == [1_000] && batch.map(\.token) == [send])
      #expect(driver.ring.now >= deadline || !backend.isPatient)
    }
    // The bytes have left all the same.
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive).count == 2_000 })
    // It comes with the first that ends a wait.
    let last = driver.send(queue, client, isPatient: true)
    #expect(driver.run { driver.bytes(receive).count == 3_000 && driver.terminal(last) != nil })
    #expect(driver.bytes(receive) == RingDriver.pattern(1_000) * 3)
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func aPatientSendOfManySlicesArrives(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server)
    let bytes = RingDriver.pattern(40 * 200)
    var queue = driver.outgoing(bytes, sliceBytes: 200)
    let send = driver.send(queue, client, isPatient: true)
    #expect(driver.run { driver.bytes(receive).count == bytes.count })
    #expect(try driver.result(of: send) == Int32(bytes.count))
    #expect(driver.bytes(receive) == bytes)
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func patienceEndsAtAFullSocket(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    var sent = try driver.fill(client)
    let bytes = RingDriver.pattern(3 << 20)
    var queue = driver.outgoing(bytes)
    let attempt = driver.send(queue, client, .attempt, isPatient: true)
    // Refused at once, in whole or in part, however long the wait might be.
    let taken = try driver.result(of: attempt)
    #expect(taken == -EAGAIN || (taken > 0 && taken < bytes.count))
    sent += bytes[..<max(Int(taken), 0)]
    let all = driver.send(queue, client, .all, isPatient: true)
    driver.pass(.milliseconds(5))
    #expect(driver.terminal(all) == nil)
    let receive = driver.receive(server, into: RingDriver.large)
    #expect(try driver.result(of: all) == Int32(bytes.count))
    driver.store.removeAll(from: &queue)
    #expect(driver.run { driver.bytes(receive).count >= sent.count + bytes.count })
    #expect(driver.bytes(receive) == sent + bytes)
    #expect(driver.all(attempt).count == 1 && driver.all(all).count == 1)
  }

  /// Half of it fits: what the kernel has taken is told, and not sent twice.
  @Test(arguments: Backend.available)
  func aPatientSendMayBeTakenInPart(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let bytes = RingDriver.pattern(4 << 20)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client, .all, isPatient: true)
    driver.pass(.milliseconds(5))
    #expect(driver.terminal(send) == nil)
    let receive = driver.receive(server, into: RingDriver.large)
    #expect(try driver.result(of: send) == Int32(bytes.count))
    driver.store.removeAll(from: &queue)
    #expect(driver.run { driver.bytes(receive).count >= bytes.count })
    #expect(driver.bytes(receive) == bytes)
  }

  @Test(arguments: Backend.available)
  func closingAndCancellingHurryPatientSends(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    for mode in [CloseMode.graceful, .reset] {
      let (client, server) = try driver.connection()
      var queue = driver.outgoing([1, 2, 3])
      let send = driver.send(queue, client, isPatient: true)
      driver.ring.cancel(send)
      let close = driver.startClose(client, mode)
      // Without a deadline: it would sleep for ever.
      while driver.terminal(close) == nil { driver.wait(until: nil) }
      #expect(driver.terminal(send) != nil)
      driver.store.removeAll(from: &queue)
      try driver.close(server)
    }
  }

  @Test(arguments: Backend.available)
  func patientSendToADeadPeerFails(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    try driver.close(server, .reset)
    driver.pass(.milliseconds(5))
    var queue = driver.outgoing([1, 2, 3])
    let result = try driver.result(of: driver.send(queue, client, isPatient: true))
    #expect(result == -ECONNRESET || result == -EPIPE)
    driver.store.removeAll(from: &queue)
  }
}

private func * (bytes: [UInt8], count: Int) -> [UInt8] { (0..<count).flatMap { _ in bytes } }

// Contract: half-close, close, and what is left behind.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceClosing {
  @Test(arguments: Backend.available)
  func eachDirectionEndsByItself(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let atServer = driver.receive(server)
    let atClient = driver.receive(client)
    try driver.sendAll([1, 2], client)
    driver.ring.shutdownSending(client)
    #expect(try driver.result(of: atServer) == 0)
    #expect(driver.bytes(atServer) == [1, 2])
    // The other direction goes on.
    try driver.sendAll([3, 4, 5], server)
    #expect(driver.run { driver.bytes(atClient) == [3, 4, 5] })
    #expect(driver.terminal(atClient) == nil)
    driver.ring.shutdownSending(server)
    #expect(try driver.result(of: atClient) == 0)
    try driver.close(client)
    try driver.close(server)
    #expect(driver.pendingCount == 0)
  }

  @Test(arguments: Backend.available, [CloseMode.graceful, .reset])
  func closeEndsAllElseFirst(_ backend: Backend, _ mode: CloseMode) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    _ = try driver.fill(client)
    let receive = driver.receive(client)
    var queue = driver.outgoing(RingDriver.pattern(1 << 20))
    let send = driver.send(queue, client)
    driver.pass(.milliseconds(2))
    #expect(driver.terminal(receive) == nil && driver.terminal(send) == nil)
    let close = driver.startClose(client, mode)
    #expect(try driver.result(of: close) == 0)
    #expect(driver.terminal(receive)?.result == -ECANCELED)
    // The kernel may take some bytes of a full socket when it probes the window.
    let sent = try #require(driver.terminal(send)).result
    #expect(sent == -ECANCELED || (sent > 0 && sent < queue.byteCount))
    #expect(driver.completions.last?.token == close)
    driver.pass(.milliseconds(5))
    #expect(driver.completions.last?.token == close)
    driver.store.removeAll(from: &queue)
    try driver.close(server)
  }

  @Test(arguments: Backend.available)
  func closeInTheTurnOfItsOperationsEndsThemFirst(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(client)
    var queue = driver.outgoing([1, 2, 3])
    let send = driver.send(queue, client)
    let close = driver.startClose(client, .graceful)
    #expect(try driver.result(of: close) == 0)
    #expect(driver.terminal(receive)?.result == -ECANCELED)
    let sent = driver.terminal(send)?.result
    #expect(sent == 3 || sent == -ECANCELED)
    #expect(driver.completions.last?.token == close)
    driver.store.removeAll(from: &queue)
    let end = driver.receive(server)
    #expect(try driver.result(of: end) == 0)
    #expect(driver.bytes(end) == (sent == 3 ? [1, 2, 3] : []))
  }

  @Test(arguments: Backend.available)
  func gracefulCloseDeliversWhatWasSent(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let bytes = RingDriver.pattern(100_000)
    try driver.sendAll(bytes, client)
    try driver.close(client)
    let receive = driver.receive(server)
    #expect(try driver.result(of: receive) == 0)
    #expect(driver.bytes(receive) == bytes)
  }

  @Test(arguments: Backend.available)
  func resetCloseIsSeenAsReset(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    try driver.close(server, .reset)
    driver.pass(.milliseconds(5))
    let receive = driver.receive(client)
    #expect(try driver.result(of: receive) == -ECONNRESET)
  }

  @Test(arguments: Backend.available)
  func resetIsNeverTakenForTheEndOfStream(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    _ = try driver.fill(client)
    // Both directions wait when the reset comes; whichever learns of it first.
    var queue = driver.outgoing(RingDriver.pattern(1 << 20))
    let send = driver.send(queue, client)
    let receive = driver.receive(client)
    driver.pass(.milliseconds(2))
    try driver.close(server, .reset)
    #expect(try driver.result(of: send) < 0)
    #expect(try driver.result(of: receive) == -ECONNRESET)
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func resetThatEndedASendIsToldToALaterReceive(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    _ = try driver.fill(client)
    var queue = driver.outgoing(RingDriver.pattern(1 << 20))
    let send = driver.send(queue, client)
    driver.pass(.milliseconds(2))
    try driver.close(server, .reset)
    #expect(try driver.result(of: send) < 0)
    driver.store.removeAll(from: &queue)
    #expect(try driver.result(of: driver.receive(client)) == -ECONNRESET)
  }

  @Test(arguments: Backend.available)
  func sendingToAClosedPeerFailsInTheEnd(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    try driver.close(server)
    var queue = driver.outgoing([1])
    var result: Int32 = 1
    for _ in 0..<1_000 where result > 0 {
      result = try driver.result(of: driver.send(queue, client))
      driver.pass(.microseconds(100))
    }
    #expect(result == -EPIPE || result == -ECONNRESET)
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func closeOfAReaderEndsAPendingSend(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    var queue = driver.outgoing(RingDriver.pattern(4 << 20))
    let send = driver.send(queue, client)
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive).count > 50_000 })
    // All that has arrived is read; more is on its way, and meets a closed socket.
    try driver.close(server)
    let result = try driver.result(of: send)
    #expect(result == -EPIPE || result == -ECONNRESET)
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func cancellingWhatHasEndedIsHarmless(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server)
    try driver.sendAll([1], client)
    try driver.close(client)
    #expect(try driver.result(of: receive) == 0)
    driver.ring.cancel(receive)
    driver.ring.cancel(Token(999_999))
    driver.pass(.milliseconds(2))
    #expect(driver.all(receive).filter { !$0.more }.count == 1)
  }

  @Test(arguments: Backend.available)
  func churnLeavesNothingBehind(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (listener, address) = try driver.listener()
    let accept = driver.accept(listener)
    let bytes = RingDriver.pattern(6_000)
    var highest: Int32 = 0
    var closing: [Token] = []
    for round in 0..<1_000 {
      let client = try driver.streamSocket()
      highest = max(highest, client.descriptor)
      let connect = driver.connect(client, address)
      #expect(try driver.result(of: connect) == 0)
      try #require(driver.run { driver.all(accept).count == round + 1 })
      let server = Socket(descriptor: driver.all(accept)[round].result)
      let request = driver.receive(server)
      try driver.sendAll(bytes, client)
      driver.ring.shutdownSending(client)
      #expect(try driver.result(of: request) == 0)
      #expect(driver.bytes(request) == bytes)
      let answer = driver.receive(client)
      closing.append(driver.startClose(server, round % 3 == 0 ? .reset : .graceful))
      _ = try driver.result(of: answer)
      try driver.close(client)
    }
    #expect(driver.run { closing.allSatisfy { driver.terminal($0) != nil } })
    // Descriptors are given back as we go: their numbers do not climb.
    #expect(highest < 500)
    try driver.close(listener)
    #expect(driver.pendingCount == 0)
    #expect(driver.store[RingDriver.large].usedCount == 0)
    #expect(driver.store[RingDriver.small].usedCount == 0 || backend.lendsBuffers)
  }
}

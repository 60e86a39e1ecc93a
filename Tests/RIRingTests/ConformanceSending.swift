// Contract: send in its three modes, gathered, against a full socket and a dead peer.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceSending {
  @Test(arguments: Backend.available)
  func attemptOnAFullSocketTakesNothing(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    // Goes on until the socket has refused bytes; nothing of those shows up behind what it took.
    let sent = try driver.fill(client)
    #expect(!sent.isEmpty)
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive).count >= sent.count })
    driver.pass(.milliseconds(5))
    #expect(driver.bytes(receive) == sent)
  }

  @Test(arguments: Backend.available)
  func attemptTakesWhatFits(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let bytes = RingDriver.pattern(4 << 20)
    var queue = driver.outgoing(bytes)
    let taken = try driver.result(of: driver.send(queue, client, .attempt))
    driver.store.removeAll(from: &queue)
    #expect(taken > 0 && taken < bytes.count)
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive).count >= Int(taken) })
    driver.pass(.milliseconds(5))
    #expect(driver.bytes(receive)[...] == bytes[..<Int(taken)])
  }

  @Test(arguments: Backend.available)
  func someTakesAPartOnceThereIsRoom(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let sent = try driver.fill(client)
    let bytes = RingDriver.pattern(4 << 20, seed: 5)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client, .some)
    let receive = driver.receive(server)
    let taken = Int(try driver.result(of: send))
    #expect(taken >= 1 && taken <= bytes.count)
    driver.store.removeAll(from: &queue)
    #expect(driver.run { driver.bytes(receive).count >= sent.count + taken })
    #expect(driver.bytes(receive) == sent + bytes[..<taken])
  }

  @Test(arguments: Backend.available)
  func allTakesEverythingAsTheReaderReads(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let bytes = RingDriver.pattern(3 << 20)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client, .all)
    driver.pass(.milliseconds(5))
    #expect(driver.terminal(send) == nil)
    // Buffers for all of it: how much one wait brings is the ring's choice.
    let receive = driver.receive(server, into: RingDriver.large)
    #expect(try driver.result(of: send) == Int32(bytes.count))
    driver.store.removeAll(from: &queue)
    #expect(driver.run { driver.bytes(receive).count >= bytes.count })
    #expect(driver.bytes(receive) == bytes)
    #expect(driver.all(send).count == 1)
  }

  @Test(arguments: Backend.available)
  func sixtyFourSlicesGoOutInOneSend(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    let receive = driver.receive(server)
    let bytes = RingDriver.pattern(100 * 777)
    var queue = driver.outgoing(bytes, sliceBytes: 777)
    #expect(queue.sliceCount == 100)
    let first = try driver.result(of: driver.send(queue, client))
    #expect(first == Int32(Limits.sendSlicesMax * 777))
    driver.store.dropFirst(Int(first), from: &queue)
    #expect(try driver.result(of: driver.send(queue, client)) == queue.byteCount)
    driver.store.removeAll(from: &queue)
    #expect(driver.run { driver.bytes(receive).count == bytes.count })
    #expect(driver.bytes(receive) == bytes)
  }

  @Test(arguments: Backend.available)
  func slicesAppendedMeanwhileAreNotPartOfTheSend(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection()
    // One buffer: the appended bytes grow the queue's last slice in place.
    let whole = driver.slice(RingDriver.pattern(1_000))
    var rest = whole
    let front = rest.removePrefix(600)
    driver.store.retain(rest)
    var queue = SliceQueue()
    driver.store.append(front, to: &queue)
    let send = driver.send(queue, client)
    driver.store.append(rest, to: &queue)
    #expect(queue.sliceCount == 1)
    let sent = try driver.result(of: send)
    // A ring may read the queue at the next wait, but reports what it sent.
    #expect(sent == 600 || sent == 1_000)
    let receive = driver.receive(server)
    driver.pass(.milliseconds(5))
    #expect(driver.bytes(receive) == RingDriver.pattern(1_000).prefix(Int(sent)) + [])
    driver.store.removeAll(from: &queue)
  }

  @Test(arguments: Backend.available)
  func resetOfThePeerEndsAPendingSend(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let bytes = RingDriver.pattern(4 << 20)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client, .all)
    driver.pass(.milliseconds(5))
    try driver.close(server, .reset)
    let result = try driver.result(of: send)
    #expect(result == -ECONNRESET || result == -EPIPE)
    let next = try driver.result(of: driver.send(queue, client, .all))
    #expect(next == -ECONNRESET || next == -EPIPE)
    driver.store.removeAll(from: &queue)
    try driver.close(client)
  }

  @Test(arguments: Backend.available)
  func cancelledSendTellsWhatItSent(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.narrowConnection()
    let bytes = RingDriver.pattern(4 << 20)
    var queue = driver.outgoing(bytes)
    let send = driver.send(queue, client, .all)
    driver.pass(.milliseconds(5))
    driver.ring.cancel(send)
    let count = Int(try driver.result(of: send))
    #expect(count > 0 && count < bytes.count)
    // And nothing more goes out afterwards.
    driver.store.removeAll(from: &queue)
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive).count >= count })
    driver.pass(.milliseconds(5))
    #expect(driver.bytes(receive)[...] == bytes[..<max(count, 0)])
  }

  @Test(arguments: Backend.available)
  func sendAfterShutdownFails(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, _) = try driver.connection()
    driver.ring.shutdownSending(client)
    var queue = driver.outgoing([1])
    #expect(try driver.result(of: driver.send(queue, client)) == -EPIPE)
    driver.store.removeAll(from: &queue)
  }
}

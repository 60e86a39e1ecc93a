// What the epoll ring does beyond the contract.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct EpollRingTests {
  @Test func aBusyStreamLeavesTurnsToTheOthers() throws {
    let driver = try RingDriver(.epoll, smallCount: 2_048)
    let pairs = try (0..<3).map { _ in try driver.connection() }
    for pair in pairs {
      // More than one receive takes, all of it there before the first wait.
      for i in 0..<4 {
        try driver.sendAll(RingDriver.pattern(40_000, seed: UInt64(i)), pair.client)
      }
    }
    let tokens = pairs.map { driver.receive($0.server) }
    var first: [Int] = []
    while first.count < 3 {
      for completion in driver.wait(until: driver.ring.updateNow() + .seconds(10)) {
        if let i = tokens.firstIndex(of: completion.token), !first.contains(i) { first.append(i) }
      }
      // Each gets its first bytes before any gets all of its own.
      if first.count < 3 {
        #expect(tokens.allSatisfy { driver.bytes($0).count < 160_000 })
      }
    }
    #expect(driver.run { tokens.allSatisfy { driver.bytes($0).count == 160_000 } })
  }

  @Test func oneCallFillsSeveralBuffers() throws {
    let driver = try RingDriver(.epoll)
    let (client, server) = try driver.connection()
    let bytes = RingDriver.pattern(60_000)
    try driver.sendAll(bytes, client)
    driver.releasesBuffers = false
    let receive = driver.receive(server)
    var waits = 0
    while driver.bytes(receive).count < bytes.count, waits < 15 {
      driver.wait(until: driver.ring.updateNow() + .seconds(10))
      waits += 1
    }
    #expect(driver.bytes(receive) == bytes)
    // 15 buffers of 4 KiB: 1 + 2 + 4 + 8 by doubling, and at most as many again for a slow kernel.
    #expect(waits <= 8)
    // Buffers taken for a call and not filled went back.
    #expect(driver.store[RingDriver.small].usedCount == driver.held.count)
    driver.releaseHeld()
  }

  @Test func moreSegmentsThanTheKernelTakesAreSentOneByOne() throws {
    let driver = try RingDriver(.epoll)
    driver.releasesBuffers = false
    let socket = driver.keep(
      try driver.ring.bindDatagram(to: SocketAddress(.loopbackV4, 0), reusePort: false))
    let address = try #require(driver.ring.localAddress(of: socket))
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    // udp(7): at most 64 segments a call, 128 in newer kernels.
    let bytes = RingDriver.pattern(200 * 20 + 7)
    let slice = driver.slice(bytes)
    let send = driver.token()
    driver.ring.sendDatagram(
      slice, segmentBytes: 20, on: client, to: nil, from: nil, token: send)
    #expect(try driver.result(of: send) == Int32(bytes.count))
    driver.store.release(slice)
    let receive = driver.token()
    driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: receive)
    driver.releasesBuffers = false
    var got: [UInt8] = []
    var token = receive
    while got.count < bytes.count {
      let batch = driver.wait(until: driver.ring.updateNow() + .seconds(10))
      try #require(!batch.isEmpty)
      for completion in batch {
        if let datagram = driver.ring.datagram(in: completion, of: socket) {
          got += driver.store.bytes(datagram.payload)
        }
      }
      driver.releaseHeld()
      if driver.terminal(token)?.result == -ENOBUFS {
        token = driver.token()
        driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: token)
      }
    }
    #expect(got == bytes)
  }

  @Test func descriptorsUsedAgainStartAfresh() throws {
    let driver = try RingDriver(.epoll)
    // Not in every round: tests beside this one take descriptors too.
    var reused = 0
    for round in 0..<50 {
      let (client, server) = try driver.narrowConnection()
      // Leaves the old state full, ending and listed as ready.
      _ = try driver.fill(client)
      driver.ring.shutdownSending(client)
      let receive = driver.receive(server, limit: 1)
      _ = try driver.result(of: receive)
      try driver.close(server, .reset)
      try driver.close(client)
      let fresh = try driver.connection()
      reused += Set([fresh.client, fresh.server]).intersection([client, server]).count
      let quiet = driver.receive(fresh.server)
      try driver.sendAll([UInt8(round)], fresh.client)
      #expect(driver.run { driver.bytes(quiet) == [UInt8(round)] })
      driver.pass(.microseconds(100))
      #expect(driver.terminal(quiet) == nil)
      try driver.close(fresh.client)
      #expect(try driver.result(of: quiet) == 0)
      try driver.close(fresh.server)
    }
    #expect(reused > 0)
  }
}

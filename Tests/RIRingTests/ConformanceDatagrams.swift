// Contract: UDP.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceDatagrams {
  /// Receives until `bytes` payload bytes in `count` pieces or more have come.
  private func collect(
    _ driver: RingDriver, _ socket: Socket, _ token: Token, until done: ([Datagram]) -> Bool
  ) throws -> [(datagram: Datagram, payload: [UInt8])] {
    var result: [(Datagram, [UInt8])] = []
    var read = 0
    let complete = driver.run {
      let completions = driver.all(token).filter { $0.slice != nil }
      for completion in completions[read...] {
        guard let datagram = driver.ring.datagram(in: completion, of: socket) else { continue }
        result.append((datagram, Array(driver.store.bytes(datagram.payload))))
      }
      read = completions.count
      return done(result.map(\.0))
    }
    #expect(complete)
    return result
  }

  private func receiver(
    _ driver: RingDriver, _ ip: IPAddress
  ) throws -> (Socket, SocketAddress, Token) {
    driver.releasesBuffers = false
    let socket = driver.keep(
      try driver.ring.bindDatagram(to: SocketAddress(ip, 0), reusePort: false))
    let token = driver.token()
    driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: token)
    return (socket, try #require(driver.ring.localAddress(of: socket)), token)
  }

  private func send(
    _ driver: RingDriver, _ bytes: [UInt8], segment: Int = 0, _ socket: Socket,
    to destination: SocketAddress?, from source: IPAddress? = nil, marks: UInt8 = 0
  ) throws -> Int32 {
    let slice = driver.slice(bytes)
    let token = driver.token()
    driver.ring.sendDatagram(
      slice, segmentBytes: segment, on: socket, to: destination, from: source,
      congestionMarks: marks, token: token)
    let result = try driver.result(of: token)
    driver.store.release(slice)
    return result
  }

  @Test(arguments: Backend.available, [IPAddress.loopbackV4, .loopbackV6])
  func datagramsNameSourceAndDestination(_ backend: Backend, _ ip: IPAddress) throws {
    let driver = try RingDriver(backend)
    let any = ip.family == .v4 ? IPAddress.anyV4 : .anyV6
    let (socket, bound, token) = try receiver(driver, any)
    let target = SocketAddress(ip, bound.port)
    let client = driver.keep(try driver.ring.connectDatagram(to: target))
    #expect(try send(driver, [1, 2, 3], client, to: nil) == 3)
    let got = try collect(driver, socket, token) { $0.count == 1 }
    #expect(got[0].payload == [1, 2, 3])
    #expect(got[0].datagram.source == driver.ring.localAddress(of: client))
    #expect(got[0].datagram.local == ip)

    // And back, from the address it was sent to.
    let back = driver.token()
    driver.ring.receiveDatagrams(on: client, into: RingDriver.datagrams, token: back)
    #expect(
      try send(
        driver, [4, 5], socket, to: got[0].datagram.source, from: got[0].datagram.local) == 2)
    let answer = try collect(driver, client, back) { $0.count == 1 }
    #expect(answer[0].payload == [4, 5])
    #expect(answer[0].datagram.source == target)
  }

  @Test(arguments: Backend.available)
  func sourceAddressIsChosen(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (server, address, atServer) = try receiver(driver, .loopbackV4)
    let (sender, bound, _) = try receiver(driver, .anyV4)
    let source = IPAddress(v4: 0x7F00_0009)
    #expect(try send(driver, [1], sender, to: address, from: source) == 1)
    let got = try collect(driver, server, atServer) { $0.count == 1 }
    #expect(got[0].datagram.source == SocketAddress(source, bound.port))
  }

  @Test(arguments: Backend.available, [0, 1, 1_472, Limits.udpPayloadBytesMax])
  func datagramsOfAllSizesArriveWhole(_ backend: Backend, _ size: Int) throws {
    let driver = try RingDriver(backend)
    let (socket, address, token) = try receiver(driver, .loopbackV4)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    let bytes = RingDriver.pattern(size)
    #expect(try send(driver, bytes, client, to: nil) == Int32(size))
    let got = try collect(driver, socket, token) { $0.count == 1 }
    #expect(got[0].payload == bytes)
    #expect(got[0].datagram.segmentBytes == size)
  }

  @Test(arguments: Backend.available)
  func segmentsAreDatagramsOfTheirOwn(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (socket, address, token) = try receiver(driver, .loopbackV4)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    let bytes = RingDriver.pattern(5 * 1_000 + 300)
    #expect(try send(driver, bytes, segment: 1_000, client, to: nil) == Int32(bytes.count))
    let got = try collect(driver, socket, token) {
      $0.reduce(0) { $0 + Int($1.payload.count) } >= bytes.count
    }
    var sizes: [Int] = []
    for (datagram, payload) in got {
      var left = payload.count
      while left > 0 {
        sizes.append(min(left, datagram.segmentBytes))
        left -= min(left, datagram.segmentBytes)
      }
    }
    #expect(sizes == [1_000, 1_000, 1_000, 1_000, 1_000, 300])
    #expect(got.flatMap(\.payload) == bytes)
  }

  /// Each mark arrives where it is asked for, from connected and from unconnected sockets, also on
  /// a run of datagrams.
  @Test(arguments: Backend.available, [IPAddress.loopbackV4, .loopbackV6])
  func congestionMarksArrive(_ backend: Backend, _ ip: IPAddress) throws {
    let driver = try RingDriver(backend)
    let (socket, address, token) = try receiver(driver, ip)
    driver.ring.set(.congestionMarks, on: socket)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    let (other, _, _) = try receiver(driver, ip)
    var count = 0
    for marks: UInt8 in [0, 1, 2, 3] {
      let run = RingDriver.pattern(2_500)
      #expect(try send(driver, run, segment: 1_000, client, to: nil, marks: marks) == 2_500)
      #expect(try send(driver, [1], other, to: address, from: ip, marks: marks) == 1)
      count += 2_501
      let got = try collect(driver, socket, token) {
        $0.reduce(0) { $0 + Int($1.payload.count) } >= count
      }
      #expect(got.suffix(2).allSatisfy { $0.datagram.congestionMarks == marks })
    }
  }

  /// A socket that does not ask is not told.
  @Test(arguments: Backend.available)
  func congestionMarksAreForThoseWhoAsk(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (socket, address, token) = try receiver(driver, .loopbackV4)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    #expect(try send(driver, [1], client, to: nil, marks: 2) == 1)
    #expect(try collect(driver, socket, token) { $0.count == 1 }[0].datagram.congestionMarks == 0)
  }

  /// A connected socket at an address that another one is bound to takes what comes from its peer,
  /// and leaves the rest to the other.
  @Test(arguments: Backend.available)
  func aConnectedSocketTakesItsPeersDatagrams(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    driver.releasesBuffers = false
    let shared = driver.keep(
      try driver.ring.bindDatagram(to: SocketAddress(.loopbackV4, 0), reusePort: true))
    let address = try #require(driver.ring.localAddress(of: shared))
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    let peer = try #require(driver.ring.localAddress(of: client))
    let own = driver.keep(try driver.ring.connectDatagram(to: peer, from: address))
    let (atOwn, atShared) = (driver.token(), driver.token())
    driver.ring.receiveDatagrams(on: own, into: RingDriver.datagrams, token: atOwn)
    driver.ring.receiveDatagrams(on: shared, into: RingDriver.datagrams, token: atShared)
    let other = driver.keep(try driver.ring.connectDatagram(to: address))
    #expect(try send(driver, [1], client, to: nil) == 1)
    #expect(try send(driver, [2], other, to: nil) == 1)
    #expect(try collect(driver, own, atOwn) { $0.count == 1 }.map(\.payload) == [[1]])
    #expect(try collect(driver, shared, atShared) { $0.count == 1 }.map(\.payload) == [[2]])
  }

  @Test(arguments: Backend.available)
  func bufferSizesAreWhatWasAskedFor(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (socket, _, _) = try receiver(driver, .loopbackV4)
    driver.ring.set(.receiveBufferBytes(65_536), on: socket)
    driver.ring.set(.sendBufferBytes(131_072), on: socket)
    let sizes = try #require(driver.ring.bufferBytes(of: socket))
    #expect(sizes.receive == 65_536 && sizes.send == 131_072)
  }

  /// What is longer than the device takes is refused, where it would else be cut into fragments.
  @Test(arguments: Backend.available)
  func unfragmentedDatagramsAreRefusedWhenTooLong(_ backend: Backend) throws {
    if case .simulated = backend { return }
    let driver = try RingDriver(backend)
    let (_, address, _) = try receiver(driver, .loopbackV6)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    // The loopback's packets have 65,536 bytes, of which the headers of IPv6 and UDP take 48.
    let longer = RingDriver.pattern(65_489)
    #expect(try send(driver, longer, client, to: nil) == 65_489)
    driver.ring.set(.unfragmented, on: client)
    #expect(try send(driver, longer, client, to: nil) == -EMSGSIZE)
    #expect(try send(driver, longer.dropLast(), client, to: nil) == 65_488)
  }

  /// The watch of addresses brings nothing by itself, and ends as other receives do.
  @Test(arguments: Backend.available)
  func addressesCanBeWatched(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    if case .simulated = backend {
      #expect(throws: RingError.self) { try driver.ring.watchAddresses() }
      return
    }
    let socket = driver.keep(try driver.ring.watchAddresses())
    let token = driver.token()
    driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: token)
    driver.pass(.milliseconds(1))
    try driver.close(socket)
    #expect(driver.terminal(token)?.result == -ECANCELED)
  }

  @Test(arguments: Backend.available)
  func manyDatagramsBeforeOneWait(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (socket, address, token) = try receiver(driver, .loopbackV4)
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    var sends: [(Token, Slice)] = []
    for i in 0..<20 {
      let slice = driver.slice([UInt8](repeating: UInt8(i), count: 10 + i))
      sends.append((driver.token(), slice))
      driver.ring.sendDatagram(
        slice, segmentBytes: 0, on: client, to: nil, from: nil, token: sends[i].0)
    }
    let got = try collect(driver, socket, token) {
      $0.reduce(0) { $0 + Int($1.payload.count) } == 390
    }
    #expect(Set(got.flatMap(\.payload)).count == 20)
    #expect(driver.run { sends.allSatisfy { driver.terminal($0.0) != nil } })
    for (i, (send, slice)) in sends.enumerated() {
      #expect(driver.terminal(send)?.result == Int32(10 + i))
      driver.store.release(slice)
    }
  }

  @Test(arguments: Backend.available)
  func emptyPoolEndsTheReceiveAndRearmingGoesOn(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    driver.releasesBuffers = false
    let socket = driver.keep(
      try driver.ring.bindDatagram(to: SocketAddress(.loopbackV4, 0), reusePort: false))
    let address = try #require(driver.ring.localAddress(of: socket))
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    let token = driver.token()
    driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: token)
    for i in 0..<40 { #expect(try send(driver, [UInt8(i)], client, to: nil) == 1) }
    #expect(try driver.result(of: token) == -ENOBUFS)
    let before = driver.all(token).filter { $0.slice != nil }.count
    driver.releaseHeld()
    let again = driver.token()
    driver.ring.receiveDatagrams(on: socket, into: RingDriver.datagrams, token: again)
    #expect(driver.run { before + driver.all(again).filter { $0.slice != nil }.count == 40 })
  }

  /// Nobody listens: the connected socket hears it, by its receive or by its next send.
  @Test(arguments: Backend.available)
  func aRefusedDatagramIsToldOnce(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let closed = try driver.ring.bindDatagram(
      to: SocketAddress(.loopbackV4, 0), reusePort: false)
    let address = try #require(driver.ring.localAddress(of: closed))
    try driver.close(driver.keep(closed))
    let client = driver.keep(try driver.ring.connectDatagram(to: address))
    #expect(try send(driver, [1], client, to: nil) == 1)
    let token = driver.token()
    driver.ring.receiveDatagrams(on: client, into: RingDriver.datagrams, token: token)
    #expect(try driver.result(of: token) == -ECONNREFUSED)
    let again = driver.token()
    driver.ring.receiveDatagrams(on: client, into: RingDriver.datagrams, token: again)
    driver.pass(.milliseconds(5))
    #expect(driver.terminal(again) == nil)
    driver.ring.cancel(again)
    #expect(try driver.result(of: again) == -ECANCELED)
  }

  @Test(arguments: Backend.available)
  func closeEndsThePendingReceive(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (socket, _, token) = try receiver(driver, .loopbackV4)
    driver.pass(.milliseconds(1))
    try driver.close(socket)
    #expect(driver.terminal(token)?.result == -ECANCELED)
    #expect(driver.pendingCount == 0)
  }

  @Test(arguments: Backend.available)
  func cancelEndsThePendingReceive(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (_, _, token) = try receiver(driver, .loopbackV4)
    driver.pass(.milliseconds(1))
    driver.ring.cancel(token)
    #expect(try driver.result(of: token) == -ECANCELED)
  }
}

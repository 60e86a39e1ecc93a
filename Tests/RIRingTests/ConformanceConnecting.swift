// Contract: listen, accept, connect, resolve.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct ConformanceConnecting {
  @Test(arguments: Backend.available)
  func oneAcceptBringsManyConnections(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (listener, address) = try driver.listener()
    let accept = driver.accept(listener)
    var connects: [Token] = []
    var clients: [Socket] = []
    for _ in 0..<100 {
      let client = try driver.streamSocket()
      clients.append(client)
      connects.append(driver.connect(client, address))
    }
    #expect(
      driver.run {
        driver.all(accept).count == 100 && connects.allSatisfy { driver.terminal($0) != nil }
      })
    #expect(connects.allSatisfy { driver.terminal($0)?.result == 0 })
    let accepted = driver.all(accept)
    #expect(accepted.allSatisfy { $0.more && $0.result >= 0 })
    #expect(Set(accepted.map(\.result)).count == 100)

    // Each accepted socket is the other end of one client.
    let servers = accepted.map { Socket(descriptor: $0.result) }
    let seen = Set(servers.compactMap { driver.ring.peerAddress(of: $0) })
    #expect(seen == Set(clients.compactMap { driver.ring.localAddress(of: $0) }))
    for socket in clients + servers { try driver.close(socket) }
    try driver.close(listener)
    #expect(driver.terminal(accept)?.result == -ECANCELED)
    #expect(driver.pendingCount == 0)
  }

  @Test(arguments: Backend.available)
  func connectionsThatCameBeforeTheAcceptAreThere(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (listener, address) = try driver.listener()
    let client = try driver.streamSocket()
    let connect = driver.connect(client, address)
    #expect(try driver.result(of: connect) == 0)
    let accept = driver.accept(listener)
    #expect(driver.run { driver.all(accept).count == 1 })
  }

  @Test(arguments: Backend.available)
  func refusedConnectSaysSo(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (listener, address) = try driver.listener()
    try driver.close(listener)
    let client = try driver.streamSocket()
    let connect = driver.connect(client, address)
    #expect(try driver.result(of: connect) == -ECONNREFUSED)
    try driver.close(client)
  }

  @Test(arguments: Backend.available)
  func connectOverIPv6(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (client, server) = try driver.connection(.loopbackV6)
    #expect(driver.ring.peerAddress(of: server) == driver.ring.localAddress(of: client))
    #expect(driver.ring.peerAddress(of: client)?.ip == .loopbackV6)
    try driver.sendAll([1, 2, 3], client)
    let receive = driver.receive(server)
    #expect(driver.run { driver.bytes(receive) == [1, 2, 3] })
  }

  @Test(arguments: Backend.available)
  func theMinimumRoundTripOfAConnectionIsKnown(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    #expect(driver.ring.minimumRoundTrip(of: try driver.streamSocket()) == nil)
    let (client, server) = try driver.connection()
    for _ in 0..<3 {
      try driver.sendAll([1], client)
      let receive = driver.receive(server, limit: 1)
      #expect(driver.run { driver.bytes(receive) == [1] })
    }
    let roundTrip = try #require(driver.ring.minimumRoundTrip(of: client))
    #expect(roundTrip > .zero && roundTrip < .seconds(1))
    if case .simulated = backend { #expect(roundTrip == .microseconds(20)) }
  }

  @Test(arguments: Backend.available)
  func pendingConnectIsCancelled(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    // The backlog is full, so the next connection request stays unanswered.
    let (_, address) = try driver.listener(backlog: 1)
    var pending: Token?
    for _ in 0..<8 where pending == nil {
      let connect = driver.connect(try driver.streamSocket(), address)
      driver.pass(.milliseconds(20))
      if driver.terminal(connect) == nil { pending = connect }
    }
    let connect = try #require(pending)
    driver.ring.cancel(connect)
    #expect(try driver.result(of: connect) == -ECANCELED)
    driver.ring.cancel(connect)
    driver.pass(.milliseconds(5))
    #expect(driver.all(connect).count == 1)
  }

  @Test(arguments: Backend.available)
  func closeEndsAPendingConnectFirst(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (_, address) = try driver.listener(backlog: 1)
    for _ in 0..<4 {
      let client = try driver.streamSocket()
      let connect = driver.connect(client, address)
      driver.pass(.milliseconds(2))
      #expect(try driver.close(client) == 0)
      let result = try #require(driver.terminal(connect)).result
      #expect(result == 0 || result == -ECANCELED)
    }
    #expect(driver.pendingCount == 0)
  }

  @Test(arguments: Backend.available)
  func takenPortIsRefused(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (_, address) = try driver.listener()
    let error = #expect(throws: RingError.self) {
      _ = try driver.ring.listen(on: address, reusePort: false, backlog: 1)
    }
    #expect(error?.code == EADDRINUSE)
    let shared = driver.keep(
      try driver.ring.listen(on: SocketAddress(.loopbackV4, 0), reusePort: true, backlog: 1))
    let port = try #require(driver.ring.localAddress(of: shared))
    _ = driver.keep(try driver.ring.listen(on: port, reusePort: true, backlog: 1))
  }

  @Test(arguments: Backend.available)
  func acceptIsCancelledAndArmedAgain(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let (listener, address) = try driver.listener()
    let first = driver.accept(listener)
    driver.pass(.milliseconds(1))
    driver.ring.cancel(first)
    #expect(try driver.result(of: first) == -ECANCELED)
    let second = driver.accept(listener)
    let connect = driver.connect(try driver.streamSocket(), address)
    #expect(driver.run { driver.all(second).count == 1 })
    #expect(driver.all(first).count == 1)
  }

  @Test(arguments: Backend.available, ["192.0.2.7", "2001:db8::7"])
  func addressLiteralsResolve(_ backend: Backend, _ text: String) throws {
    let driver = try RingDriver(backend)
    let token = driver.token()
    driver.ring.resolve(host: text, port: 443, token: token)
    #expect(try driver.result(of: token) == 1)
    let address = try #require(IPAddress(literal: text))
    #expect(driver.ring.takeAddresses(token) == [SocketAddress(address, 443)])
    #expect(driver.ring.takeAddresses(token).isEmpty)
  }

  @Test(arguments: Backend.available)
  func localhostResolves(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let token = driver.token()
    driver.ring.resolve(host: "localhost", port: 80, token: token)
    #expect(try driver.result(of: token) > 0)
    let addresses = driver.ring.takeAddresses(token)
    #expect(addresses.count == Int(driver.terminal(token)?.result ?? 0))
    #expect(addresses.allSatisfy { $0.port == 80 && $0.ip.isLoopback })
  }

  @Test(arguments: Backend.available)
  func namesThatDoNotExistDoNotResolve(_ backend: Backend) throws {
    let driver = try RingDriver(backend)
    let token = driver.token()
    driver.ring.resolve(host: "no such name", port: 80, token: token)
    #expect(try driver.result(of: token) == -ENOENT)
    #expect(driver.ring.takeAddresses(token).isEmpty)
  }
}

// Sockets that share a UDP port: which of them a packet goes to.

import Glibc
import RIBase
import Testing

@testable import RIRing

@Suite struct SharedPortTests {
  private let driver: RingDriver
  private let sockets: [Socket]
  private let client: Socket

  /// Three sockets of one port, and one that sends to it.
  init() throws {
    driver = try RingDriver(.epoll)
    var sockets: [Socket] = []
    var address = SocketAddress(.loopbackV4, 0)
    for _ in 0..<3 {
      sockets.append(driver.keep(try driver.ring.bindDatagram(to: address, reusePort: true)))
      address = try #require(driver.ring.localAddress(of: sockets[0]))
    }
    self.sockets = sockets
    client = driver.keep(try driver.ring.connectDatagram(to: address))
  }

  /// The place of the socket that a packet has reached.
  private func reached(by packet: [UInt8]) -> Int? {
    #expect(send(client.descriptor, packet, packet.count, 0) == packet.count)
    var bytes = [UInt8](repeating: 0, count: 64)
    return sockets.indices.first {
      recv(sockets[$0].descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT)) == packet.count
    }
  }

  @Test func aPacketGoesWhereItsConnectionIDSays() {
    driver.ring.set(.pickedByConnectionID(count: 2), on: sockets[0])
    for i: UInt8 in 0..<64 {
      let place = Int((i ^ 0x5A) % 2)
      // RFC 8999: a short header, and a long one of version 1 with an id of 8 bytes.
      #expect(reached(by: [0x40, i, 0x5A, 1, 2, 3]) == place)
      #expect(reached(by: [0xC0, 0, 0, 0, 1, 8, i, 0x5A, 0, 0, 0, 0, 0, 0]) == place)
    }
  }

  /// Too short to have an id: it may go anywhere, and nothing breaks.
  @Test func aPacketWithoutAnIDArrives() {
    driver.ring.set(.pickedByConnectionID(count: 2), on: sockets[0])
    #expect(reached(by: [0x40]) != nil)
    #expect(reached(by: [0xC0, 0, 0]) != nil)
  }

  /// Who opens the port while another process has it gets nothing before that leaves.
  @Test func aNewcomerWaits() {
    driver.ring.set(.pickedByConnectionID(count: 1), on: sockets[0])
    driver.ring.set(.pickedByConnectionID(count: 1), on: sockets[2])
    for i: UInt8 in 0..<32 { #expect(reached(by: [0x40, i, 0, 9]) == 0) }
    driver.ring.set(.pickedByAddresses, on: sockets[0])
    let places = Set(
      (0..<64).compactMap { _ in
        let other = try? driver.ring.connectDatagram(
          to: driver.ring.peerAddress(of: client) ?? SocketAddress(.loopbackV4, 0))
        guard let other else { return -1 }
        defer { Glibc.close(other.descriptor) }
        #expect(send(other.descriptor, [0x40, 1, 1, 1], 4, 0) == 4)
        var bytes = [UInt8](repeating: 0, count: 64)
        return sockets.indices.first {
          recv(sockets[$0].descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT)) == 4
        }
      })
    #expect(places == [0, 1, 2])
  }
}

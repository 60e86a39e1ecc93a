// Links against links: our record layer and OpenSSL's in every combination.

import COpenSSL
import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

struct TLSLinkTests {
  @Test(arguments: Peering.all)
  func dataOfAnySizeAndSplitArrivesBothWays(peering: Peering) throws {
    var random = SplitMix64()
    print("seed", random.seed)
    for suite in [
      "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    ] {
      let pair = try Fixture.pair(client: peering.client, server: peering.server, suites: suite)
      #expect(pair.client.link.cipherName == suite)
      #expect(pair.server.link.cipherName == suite)
      for size in [0, 1, 16, 1_000, 16_383, 16_384, 16_385, 40_000, 300_000] {
        for (from, to) in [(pair.client, pair.server), (pair.server, pair.client)] {
          let plaintext = random.bytes(size)
          let wire = from.seal(plaintext, using: &random)
          let step = [1 << 20, 16_406, 1_400, 7_777].randomElement(using: &random) ?? 1
          pair.deliver(wire, to: to, step: size <= 1_000 ? 1 : step)
          #expect(to.takeReceived() == plaintext, "\(size) bytes, \(suite)")
          #expect(to.failure == nil)
        }
      }
    }
  }

  @Test(arguments: Peering.all)
  func megabytesArriveWhole(peering: Peering) throws {
    var random = SplitMix64()
    print("seed", random.seed)
    let pair = try Fixture.pair(client: peering.client, server: peering.server)
    let plaintext = random.bytes(3_000_000)
    pair.deliver(pair.client.seal(plaintext, using: &random), to: pair.server, step: 50_000)
    #expect(pair.server.takeReceived() == plaintext)
    pair.deliver(pair.server.seal(plaintext, using: &random), to: pair.client, step: 50_000)
    #expect(pair.client.takeReceived() == plaintext)
  }

  @Test(arguments: Peering.all)
  func handshakesPassThroughAnyStepAndRoom(peering: Peering) throws {
    var random = SplitMix64()
    for (step, room) in [(1, 1), (3, 100), (500, 37), (1 << 20, 1 << 17)] {
      let pair = LinkPair(
        client: LinkEnd(client: try Fixture.client(peering.client)),
        server: LinkEnd(server: try Fixture.server(peering.server)))
      pair.exchangeControl(step: step, room: room)
      #expect(pair.client.link.isEstablished && pair.server.link.isEstablished)
      pair.deliver(pair.server.seal([1, 2, 3], using: &random), to: pair.client)
      #expect(pair.client.takeReceived() == [1, 2, 3])
      #expect(pair.client.link.peerPin == (try Fixture.identity.get().pin))
      #expect(pair.server.link.peerPin == nil)
    }
  }

  @Test func aUsualPairChoosesTheCiphersForThisCPU() throws {
    let pair = try Fixture.pair()
    #expect(
      pair.client.link.cipherName
        == (openssl_cpu_has_aes() ? "TLS_AES_128_GCM_SHA256" : "TLS_CHACHA20_POLY1305_SHA256"))
  }

  @Test(arguments: Peering.all)
  func aClientWhoseKeyShareIsRefusedTriesAgain(peering: Peering) throws {
    let clientContext = try Fixture.client(peering.client)
    // The key share is for the first group alone, which the server does not know.
    #expect(openssl_set_groups(clientContext.context, "P-521:X25519"))
    let pair = LinkPair(
      client: LinkEnd(client: clientContext),
      server: LinkEnd(server: try Fixture.server(peering.server)))
    pair.exchangeControl()
    var random = SplitMix64()
    pair.deliver(pair.client.seal([9], using: &random), to: pair.server)
    #expect(pair.server.takeReceived() == [9])
  }

  @Test(arguments: Peering.all)
  func dataRightBehindTheHandshakeIsNotLost(peering: Peering) throws {
    var random = SplitMix64()
    let pair = LinkPair(
      client: LinkEnd(client: try Fixture.client(peering.client)),
      server: LinkEnd(server: try Fixture.server(peering.server)))
    pair.deliver(pair.client.control(), to: pair.server)
    pair.deliver(pair.server.control(), to: pair.client)
    #expect(pair.client.link.isEstablished && !pair.server.link.isEstablished)
    if case .own = peering.client {
      // Its own Finished goes first.
      #expect(pair.client.seal([1], using: &random).isEmpty)
    }
    let flight = pair.client.control()
    let data = pair.client.seal(Array(repeating: 5, count: 70_000), using: &random)
    pair.deliver(flight + data, to: pair.server)
    #expect(pair.server.takeReceived() == Array(repeating: 5, count: 70_000))
  }

  @Test(arguments: Peering.all, [0, 1, 2, 5])
  func ticketsOfTheHandshakeShiftNobodysRecordNumbers(peering: Peering, tickets: Int) throws {
    var random = SplitMix64()
    let serverContext = try Fixture.server(peering.server)
    SSL_CTX_set_num_tickets(serverContext.context, tickets)
    let pair = LinkPair(
      client: LinkEnd(client: try Fixture.client(peering.client)),
      server: LinkEnd(server: serverContext))
    pair.exchangeControl()
    let before = pair.client.recordsOpened
    pair.deliver(pair.server.seal([1, 2], using: &random), to: pair.client)
    #expect(pair.client.takeReceived() == [1, 2])
    #expect(pair.client.recordsOpened == before + 1)
    pair.deliver(pair.client.seal([3], using: &random), to: pair.server)
    #expect(pair.server.takeReceived() == [3])
  }

  @Test func nothingOfOpenSSLIsHeldBeforeTheFirstRecordNorAfterTheHandshake() throws {
    let pair = LinkPair(
      client: LinkEnd(client: try Fixture.client()), server: LinkEnd(server: try Fixture.server()))
    #expect(!pair.server.link.holdsHandshake && !pair.server.link.hasControlOutput)
    let hello = pair.client.control()
    pair.deliver(Array(hello.dropLast()), to: pair.server)
    #expect(!pair.server.link.holdsHandshake)
    pair.deliver([hello.last ?? 0], to: pair.server)
    #expect(pair.server.link.holdsHandshake)
    pair.exchangeControl()
    #expect(!pair.server.link.holdsHandshake && !pair.client.link.holdsHandshake)
  }

  @Test(arguments: Peering.all)
  func smallBuffersTakeWhatTheyHaveRoomFor(peering: Peering) throws {
    var random = SplitMix64()
    print("seed", random.seed)
    let pair = try Fixture.pair(client: peering.client, server: peering.server)
    let plaintext = random.bytes(5_000)
    for room in [23, 64, 1_000, 4_096] {
      let wire = pair.client.seal(plaintext, using: &random, room: room)
      pair.deliver(wire, to: pair.server)
      #expect(pair.server.takeReceived() == plaintext, "\(room)")
    }
    #expect(pair.client.seal([1], using: &random, room: 22).isEmpty)
  }

  @Test func sealedBytesIsAnUpperBound() throws {
    var random = SplitMix64()
    let pair = try Fixture.pair()
    for size in [1, 100, 16_384, 16_385, 60_000, LinkEnd.batchBytes] {
      let wire = pair.client.seal(random.bytes(size), using: &random)
      #expect(wire.count <= TLSLink.sealedBytes(plaintext: size))
      #expect(wire.count > size)
    }
  }

  // MARK: Closing

  @Test(arguments: Peering.all)
  func closeNotifyEndsOneDirectionOnly(peering: Peering) throws {
    var random = SplitMix64()
    let pair = try Fixture.pair(client: peering.client, server: peering.server)
    let last = pair.client.seal([1], using: &random)
    pair.client.link.close()
    pair.client.link.close()
    #expect(pair.client.seal([2], using: &random).isEmpty)
    pair.deliver(last + pair.client.control(), to: pair.server)
    #expect(pair.server.takeReceived() == [1])
    #expect(pair.server.isAtEnd && pair.server.failure == nil)
    #expect(!pair.client.link.hasControlOutput)
    pair.deliver(pair.server.seal([3, 4], using: &random), to: pair.client)
    #expect(pair.client.takeReceived() == [3, 4])
    pair.server.link.close()
    pair.deliver(pair.server.control(), to: pair.client)
    #expect(pair.client.isAtEnd)
  }

  @Test func closingBeforeTheHandshakeIsDoneSaysNothing() throws {
    let end = LinkEnd(server: try Fixture.server())
    end.link.close()
    #expect(!end.link.hasControlOutput)
  }

  // MARK: KeyUpdate

  @Test(arguments: Peering.all)
  func keysChangeBeforeTheirRecordsAreUsedUp(peering: Peering) throws {
    var random = SplitMix64()
    print("seed", random.seed)
    let pair = try Fixture.pair(client: peering.client, server: peering.server)
    for recordsMax in [1, 2, 5] as [UInt64] {
      pair.client.link.recordsPerKeyMax = recordsMax
      pair.server.link.recordsPerKeyMax = recordsMax
      for (from, to) in [(pair.client, pair.server), (pair.server, pair.client)] {
        let plaintext = random.bytes(200_000)
        let before = to.recordsOpened
        pair.deliver(from.seal(plaintext, using: &random), to: to, step: 9_999)
        #expect(to.takeReceived() == plaintext)
        let data = 200_000 / 16_384
        #expect(to.recordsOpened - before >= data + data / Int(recordsMax))
      }
    }
  }

  @Test(arguments: Peering.all)
  func aRekeyWaitsForRoom(peering: Peering) throws {
    var random = SplitMix64()
    let pair = try Fixture.pair(client: peering.client, server: peering.server)
    pair.client.link.recordsPerKeyMax = 1
    let plaintext = random.bytes(300)
    pair.deliver(pair.client.seal(plaintext, using: &random, room: 50), to: pair.server)
    #expect(pair.server.takeReceived() == plaintext)
  }

  @Test(arguments: [RecordImplementation.own, .openSSL])
  func aRequestedKeyUpdateIsAnsweredOnce(records: RecordImplementation) throws {
    var random = SplitMix64()
    let peer = try RawPeer(server: Fixture.server(records))
    let wire =
      peer.record(22, [24, 0, 0, 1, 1], updating: true)
      + peer.record(22, [24, 0, 0, 1, 1], updating: true)
      + peer.record(22, [24, 0, 0, 1, 0], updating: true) + peer.record(23, [7])
    peer.end.receive(wire)
    #expect(peer.end.takeReceived() == [7])
    #expect(peer.end.link.hasControlOutput)
    let answers = peer.open(peer.end.control())
    #expect(answers.first?.type == 22 && answers.first?.content == [24, 0, 0, 1, 0])
    if case .own = records { #expect(answers.count == 1) }
    let data = peer.open(peer.end.seal([1, 2], using: &random))
    #expect(data.map(\.content) == [[1, 2]])
    #expect(peer.end.failure == nil)
  }
}

// What a peer may and may not send after the handshake: RFC 8446 4.6, 5 and 6, for our record layer
// and, where it holds the same view, for OpenSSL's.

import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

struct RecordRulesTests {
  enum Side: CaseIterable { case client, server }

  private func peer(_ side: Side, _ records: RecordImplementation = .own) throws -> RawPeer {
    switch side {
    case .client: try RawPeer(client: Fixture.client(records))
    case .server: try RawPeer(server: Fixture.server(records))
    }
  }

  /// Sends what `make` makes; the link must fail so, and tell the peer by this alert.
  private func expect(
    _ error: TLSError, alert: UInt8?, _ sides: [Side] = Side.allCases, oracle: Bool = true,
    _ make: (RawPeer) -> [UInt8]
  ) throws {
    for side in sides {
      let own = try peer(side)
      own.end.receive(make(own))
      #expect(own.end.failure == error, "\(side)")
      #expect(own.open(own.end.control()).map(\.content) == alert.map { [[2, $0]] } ?? [])
      #expect(!own.end.link.hasControlOutput)
      var random = SplitMix64()
      #expect(own.end.seal([1], using: &random).isEmpty)
      guard oracle else { continue }
      let other = try peer(side, .openSSL)
      other.end.receive(make(other))
      #expect(other.end.failure != nil, "oracle, \(side)")
      #expect(
        other.open(other.end.control()).map(\.content) == alert.map { [[2, $0]] } ?? [],
        "oracle, \(side), \(String(describing: other.end.failure))")
    }
  }

  // MARK: Records

  @Test func aChangedByteIsABadRecordMAC() throws {
    for position in [1, 2, 5, 8, 25] {
      try expect(.badRecordMAC, alert: 20, oracle: position >= 5) {
        var record = $0.record(23, [1, 2, 3, 4, 5])
        record[position] ^= 1
        return record
      }
    }
  }

  @Test func aRecordTwiceIsABadRecordMAC() throws {
    try expect(.badRecordMAC, alert: 20) {
      let record = $0.record(23, [1])
      return record + record
    }
  }

  @Test func aCorruptedStreamGivesATruePrefixAndFails() throws {
    var random = SplitMix64()
    print("seed", random.seed)
    for _ in 0..<200 {
      let peer = try peer(.server)
      let plaintext = random.bytes(3_000)
      var wire: [UInt8] = []
      for start in stride(from: 0, to: 3_000, by: 300) {
        wire += peer.record(23, Array(plaintext[start..<start + 300]), padding: start % 7)
      }
      // Not the length of the last record: it may come to promise more than ever arrives.
      let position = Int.random(in: 0..<wire.count - 330, using: &random)
      wire[position] ^= UInt8.random(in: 1...255, using: &random)
      peer.end.receive(wire + [UInt8](repeating: 0, count: 70_000))
      let received = peer.end.takeReceived()
      #expect(received == Array(plaintext.prefix(received.count)) && received.count < 3_000)
      #expect(peer.end.failure != nil)
    }
  }

  @Test func aRecordWithoutRoomForATagIsABadRecordMAC() throws {
    for count in [0, 1, 15] {
      try expect(.badRecordMAC, alert: 20, oracle: false) { _ in
        [23, 3, 3, 0, UInt8(count)] + [UInt8](repeating: 9, count: count)
      }
    }
  }

  @Test func aRecordLongerThanTheLimitIsAnOverflowBeforeItHasArrived() throws {
    for count in [16_641, 20_000, 65_535] {
      try expect(.recordOverflow, alert: 22) { _ in
        [23, 3, 3, UInt8(count >> 8), UInt8(count & 0xFF)]
      }
    }
  }

  @Test func tooMuchPlaintextIsAnOverflow() throws {
    try expect(.recordOverflow, alert: 22) {
      $0.record(23, [UInt8](repeating: 1, count: 16_385))
    }
    try expect(.recordOverflow, alert: 22, oracle: false) {
      $0.record(23, [UInt8](repeating: 1, count: 16_384), padding: 1)
    }
  }

  @Test func aFullRecordPasses() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.server, records)
      let content = [UInt8](repeating: 7, count: 16_384)
      peer.end.receive(peer.record(23, content))
      #expect(peer.end.takeReceived() == content)
    }
  }

  @Test func paddingIsTakenOff() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.client, records)
      for padding in [0, 1, 2, 100, 16_000] {
        peer.end.receive(peer.record(23, [0, 5, 0, 0], padding: padding))
        #expect(peer.end.takeReceived() == [0, 5, 0, 0])
      }
      #expect(peer.end.failure == nil)
    }
  }

  @Test func aRecordOfPaddingAloneIsUnexpected() throws {
    for padding in [1, 2, 1_000, 16_385] {
      try expect(.unexpectedMessage, alert: 10) { $0.record(nil, [], padding: padding) }
    }
    try expect(.unexpectedMessage, alert: 10, oracle: false) { $0.record(nil, []) }
  }

  @Test func unprotectedRecordsAreUnexpected() throws {
    try expect(.unexpectedMessage, alert: 10) { _ in [20, 3, 3, 0, 1, 1] }
    try expect(.unexpectedMessage, alert: 10) { _ in [22, 3, 3, 0, 5, 24, 0, 0, 1, 0] }
    try expect(.unexpectedMessage, alert: 10, oracle: false) { _ in [21, 3, 3, 0, 2, 1, 0] }
    try expect(.unexpectedMessage, alert: 10) { $0.record(23, [1], outerType: 99) }
  }

  @Test func unknownContentIsUnexpected() throws {
    try expect(.unexpectedMessage, alert: 10) { $0.record(20, [1]) }
    try expect(.unexpectedMessage, alert: 10) { $0.record(24, [1, 0]) }
    try expect(.unexpectedMessage, alert: 10) { $0.record(200, [1]) }
  }

  @Test func emptyRecordsAreBoundedInARow() throws {
    let peer = try peer(.server)
    for _ in 0..<10 {
      for _ in 0..<Limits.tlsRecordsWithoutDataMax { peer.end.receive(peer.record(23, [])) }
      peer.end.receive(peer.record(23, [1]))
    }
    #expect(peer.end.takeReceived() == [UInt8](repeating: 1, count: 10))
    try expect(.tooManyEmptyRecords, alert: 10) { peer in
      (0...Limits.tlsRecordsWithoutDataMax).flatMap { _ in peer.record(23, []) }
    }
  }

  @Test func keyUpdatesAreBoundedInARow() throws {
    try expect(.tooManyEmptyRecords, alert: 10, oracle: false) { peer in
      (0...Limits.tlsRecordsWithoutDataMax).flatMap { _ in
        peer.record(22, [24, 0, 0, 1, 0], updating: true)
      }
    }
  }

  // MARK: Alerts

  @Test func anAlertOfThePeerEndsTheLinkWithItsName() throws {
    for code: UInt8 in [10, 20, 40, 80] {
      try expect(.peerAlert(code), alert: nil) { $0.record(21, [2, code]) }
    }
    #expect(TLSError.peerAlert(48).description.contains("unknown CA"))
  }

  @Test func userCanceledOnlyAnnouncesTheEnd() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.client, records)
      peer.end.receive(peer.record(21, [1, 90]) + peer.record(23, [1]))
      #expect(peer.end.takeReceived() == [1])
      #expect(!peer.end.isAtEnd && peer.end.failure == nil)
      peer.end.receive(peer.record(21, [1, 0]))
      #expect(peer.end.isAtEnd)
    }
  }

  @Test func anAlertOfTheWrongLengthIsMalformed() throws {
    for alert: [UInt8] in [[], [2], [1, 0, 0], [1, 0, 1, 0]] {
      try expect(.malformedMessage, alert: 50, oracle: false) { $0.record(21, alert) }
    }
  }

  @Test func nothingIsReadBehindCloseNotify() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.server, records)
      let wire = peer.record(23, [1]) + peer.record(21, [1, 0]) + peer.record(23, [2])
      peer.end.receive(wire)
      #expect(peer.end.takeReceived() == [1])
      #expect(peer.end.isAtEnd)
      peer.end.receive([1, 2, 3])
      #expect(peer.end.failure == nil)
    }
  }

  // MARK: Messages

  /// A NewSessionTicket with a ticket of `count` bytes.
  private func ticket(_ count: Int) -> [UInt8] {
    let body: [UInt8] =
      [0, 0, 0, 9, 1, 2, 3, 4, 1, 5, UInt8(count >> 8), UInt8(count & 0xFF)]
      + [UInt8](repeating: 24, count: count) + [0, 0]
    return [4, 0, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
  }

  @Test func ticketsAreSkippedInAnySplit() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.client, records)
      let messages = ticket(200) + ticket(1) + ticket(3_000)
      for step in [1_600, 3_500] {
        for start in stride(from: 0, to: messages.count, by: step) {
          let part = Array(messages[start..<min(start + step, messages.count)])
          peer.end.receive(peer.record(22, part, padding: start % 3))
        }
        peer.end.receive(peer.record(23, [1]))
      }
      #expect(peer.end.failure == nil)
      #expect(peer.end.takeReceived() == [1, 1])
    }
  }

  @Test func aKeyUpdateMayComeInPiecesAndBehindATicket() throws {
    for records in [RecordImplementation.own, .openSSL] {
      let peer = try peer(.client, records)
      for (i, byte) in [UInt8]([24, 0, 0, 1, 0]).enumerated() {
        peer.end.receive(peer.record(22, [byte], updating: i == 4))
      }
      peer.end.receive(peer.record(23, [1]))
      peer.end.receive(peer.record(22, ticket(50) + [24, 0, 0, 1, 0], updating: true))
      peer.end.receive(peer.record(23, [2]))
      #expect(peer.end.failure == nil)
      #expect(peer.end.takeReceived() == [1, 2])
    }
  }

  @Test func nothingFollowsAKeyUpdateInItsRecord() throws {
    try expect(.unexpectedMessage, alert: 10) {
      $0.record(22, [24, 0, 0, 1, 0, 24, 0, 0, 1, 0], updating: true)
    }
    try expect(.unexpectedMessage, alert: 10) {
      $0.record(22, [24, 0, 0, 1, 0, 4], updating: true)
    }
  }

  @Test func nothingComesBetweenThePartsOfAMessage() throws {
    try expect(.unexpectedMessage, alert: 10) {
      $0.record(22, [24, 0, 0]) + $0.record(23, [1])
    }
    try expect(.unexpectedMessage, alert: 10, oracle: false) {
      $0.record(22, [24, 0, 0, 1]) + $0.record(21, [1, 0])
    }
  }

  @Test func badKeyUpdatesGiveTheNamedError() throws {
    try expect(.illegalParameter, alert: 47) { $0.record(22, [24, 0, 0, 1, 2]) }
    try expect(.malformedMessage, alert: 50, oracle: false) { $0.record(22, [24, 0, 0, 0]) }
    try expect(.malformedMessage, alert: 50, oracle: false) { $0.record(22, [24, 0, 0, 2, 0, 0]) }
  }

  @Test func messagesThatHaveNoPlaceAreUnexpected() throws {
    for type: UInt8 in [0, 1, 2, 5, 8, 11, 13, 20, 254] {
      try expect(.unexpectedMessage, alert: 10) { $0.record(22, [type, 0, 0, 4, 1, 2, 3, 4]) }
    }
    try expect(.unexpectedMessage, alert: 10, [.server]) { $0.record(22, self.ticket(9)) }
    try expect(.unexpectedMessage, alert: 10) { $0.record(22, []) }
  }

  @Test func aTicketThatCannotBeIsMalformed() throws {
    try expect(.malformedMessage, alert: 50, [.client], oracle: false) {
      $0.record(22, [4, 0, 0, 0])
    }
    try expect(.malformedMessage, alert: 50, [.client], oracle: false) {
      $0.record(22, [4, 0x10, 0, 0])
    }
  }
}

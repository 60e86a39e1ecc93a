// A peer that can send any record: OpenSSL's handshake, then the bare keys.

import COpenSSL
import RIBase
import RICrypto
import Testing

@testable import RITLS

/// The other end of a link under test, without a record layer of its own.
final class RawPeer {
  struct Content {
    let type: UInt8
    let content: [UInt8]
  }

  let end: LinkEnd
  // SAFETY: contexts that the connection refers to stay alive with it.
  private let keepAlive: AnyObject
  private var writing: RecordProtection
  private var reading: RecordProtection

  /// A client's peer or a server's: hands over an established link.
  init(server context: TLSServerContext) throws {
    end = LinkEnd(server: context)
    let client = try Fixture.client()
    keepAlive = client
    let connection = try #require(client.makeConnection(serverName: nil))
    (writing, reading) = try Self.shakeHands(connection, with: end)
  }

  init(client context: TLSClientContext) throws {
    end = LinkEnd(client: context)
    let server = try Fixture.server()
    keepAlive = server
    let connection = try #require(OpenSSLConnection(server.context, isServer: true))
    (writing, reading) = try Self.shakeHands(connection, with: end)
  }

  private static func shakeHands(
    _ connection: OpenSSLConnection, with end: LinkEnd
  ) throws -> (RecordProtection, RecordProtection) {
    let wire = BufferStore([BufferPoolShape(count: 1, bytes: 1 << 16)])
    _ = connection.step(UnsafeRawBufferPointer(start: nil, count: 0))
    for _ in 0..<4 {
      if connection.outputBytes > 0, let buffer = wire[PoolID(0)].take() {
        var writer = BufferWriter(buffer, in: wire)
        connection.writeOutput(to: &writer)
        end.receive(Array(wire.bytes(writer.slice)))
        wire.release(buffer)
      }
      var flight = end.control()[...]
      while flight.count >= 5 {
        let size =
          5 + Int(flight[flight.startIndex + 3]) << 8
          + Int(flight[flight.startIndex + 4])
        Array(flight.prefix(size)).withUnsafeBytes { _ = connection.step($0) }
        flight = flight.dropFirst(size)
      }
    }
    #expect(end.link.isEstablished)
    let suite = try #require(connection.suite)
    let client = RecordProtection(
      suite, secret: try #require(connection.clientSecret), recordNumber: 0)
    let server = RecordProtection(
      suite, secret: try #require(connection.serverSecret), recordNumber: 0)
    return connection.isServer ? (server, client) : (client, server)
  }

  /// A record with this content, inner type and padding, however wrong.
  func record(
    _ type: UInt8?, _ content: [UInt8], padding: Int = 0, outerType: UInt8 = 23,
    updating: Bool = false
  ) -> [UInt8] {
    let inner = content + (type.map { [$0] } ?? []) + [UInt8](repeating: 0, count: padding)
    let count = inner.count + 16
    var record = [outerType, 3, 3, UInt8(count >> 8), UInt8(count & 0xFF)] + inner
    record += [UInt8](repeating: 0, count: 16)
    let nonce = writing.nextNonce()
    record.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      writing.key.startSeal(
        nonce: nonce, authenticated: UnsafeRawBufferPointer(start: start, count: 5))
      inner.withUnsafeBytes { writing.key.updateSeal(to: start + 5, from: $0) }
      writing.key.finishSeal(tag: start + 5 + inner.count)
    }
    if updating { writing.update() }
    return record
  }

  /// What the link has sent, following its KeyUpdates.
  func open(_ wire: [UInt8]) -> [Content] {
    var contents: [Content] = []
    var rest = wire[...]
    while rest.count >= 5 {
      let size = 5 + Int(rest[rest.startIndex + 3]) << 8 + Int(rest[rest.startIndex + 4])
      var record = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      let nonce = reading.nextNonce()
      let isGenuine = record.withUnsafeMutableBytes { bytes in
        reading.key.open(
          UnsafeMutableRawBufferPointer(rebasing: bytes[5...]), nonce: nonce,
          authenticated: UnsafeRawBufferPointer(rebasing: bytes[0..<5]))
      }
      #expect(isGenuine)
      guard isGenuine, let end = record.dropLast(16).lastIndex(where: { $0 != 0 }) else { break }
      contents.append(Content(type: record[end], content: Array(record[5..<end])))
      if record[end] == 22, record[5] == 24 { reading.update() }
    }
    return contents
  }
}

// One end of a link as an engine would hold it: unread ciphertext in front of new bytes, plaintext
// in batches, everything through pooled buffers.

import COpenSSL
import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

final class LinkEnd {
  static let bufferBytes = 128 * 1024
  static let batchBytes = 96 * 1024

  let store: BufferStore
  let link: TLSLink
  let batch: PlaintextBatch
  private(set) var received: [UInt8] = []
  private(set) var isAtEnd = false
  private(set) var failure: TLSError?
  private(set) var recordsOpened = 0
  private var unread: [UInt8] = []

  init(server: TLSServerContext) {
    store = BufferStore([BufferPoolShape(count: 16, bytes: Self.bufferBytes)])
    link = TLSLink(server: server, store: store)
    batch = PlaintextBatch(store: store, capacity: Self.batchBytes)
  }

  init(client: TLSClientContext, serverName: String? = nil) {
    store = BufferStore([BufferPoolShape(count: 16, bytes: Self.bufferBytes)])
    link = TLSLink(client: client, serverName: serverName, store: store)
    batch = PlaintextBatch(store: store, capacity: Self.batchBytes)
  }

  /// Plaintext received so far, which is forgotten.
  func takeReceived() -> [UInt8] {
    defer { received = [] }
    return received
  }

  /// Takes ciphertext, at most 64 KiB at a time.
  func receive(_ bytes: some Collection<UInt8>) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty, failure == nil, !isAtEnd {
      let part = rest.prefix(64 * 1024)
      rest = rest.dropFirst(part.count)
      unread += part
      openUnread()
    }
  }

  private func openUnread() {
    guard let buffer = store[PoolID(0)].take() else { return }
    defer { store.release(buffer) }
    var input = Slice(buffer: buffer, offset: 0, count: unread.count)
    store.mutableBytes(input).copyBytes(from: unread)
    loop: while true {
      switch link.open(&input) {
      case .plaintext(let slice):
        recordsOpened += 1
        received += store.bytes(slice)
      case .progress:
        recordsOpened += 1
      case .needsMore:
        break loop
      case .endOfStream:
        isAtEnd = true
        break loop
      case .failed(let error):
        failure = error
        break loop
      }
    }
    unread = Array(store.bytes(input))
    if failure == nil { #expect(unread.count <= 5 + 16_384 + 256) }
  }

  /// Handshake flights and alerts, written through buffers of `room` bytes.
  func control(room: Int = LinkEnd.bufferBytes) -> [UInt8] {
    var output: [UInt8] = []
    while link.hasControlOutput {
      let before = output.count
      output += write(room: room) { link.writeControl(to: &$0) }
      if output.count == before { break }
    }
    return output
  }

  /// Seals plaintext that is cut into random pieces, some copied and some pooled.
  func seal(
    _ plaintext: [UInt8], using random: inout SplitMix64, room: Int = LinkEnd.bufferBytes
  ) -> [UInt8] {
    var output: [UInt8] = []
    var start = 0
    while start < plaintext.count {
      fill(plaintext, &start, &random)
      var offset = 0
      while offset < batch.byteCount {
        var sealed = 0
        output += write(room: room) { sealed = link.seal(batch, from: offset, into: &$0) }
        if sealed == 0 { return output }
        offset += sealed
      }
      batch.clear()
    }
    return output
  }

  private func fill(_ plaintext: [UInt8], _ start: inout Int, _ random: inout SplitMix64) {
    batch.clear()
    while start < plaintext.count, batch.roomBytes > 0 {
      let most = [9, 600, 20_000, Self.batchBytes].randomElement(using: &random) ?? 9
      let count = min(
        Int.random(in: 1...most, using: &random), batch.roomBytes, plaintext.count - start)
      let piece = plaintext[start..<start + count]
      start += count
      if Bool.random(using: &random), let buffer = store[PoolID(0)].take() {
        let slice = Slice(buffer: buffer, offset: 0, count: count)
        store.mutableBytes(slice).copyBytes(from: piece)
        batch.append(slice)
      } else {
        piece.withUnsafeBytes { batch.append(copying: $0) }
      }
    }
  }

  /// What `body` writes into a buffer of `room` bytes.
  private func write(room: Int, _ body: (inout BufferWriter) -> Void) -> [UInt8] {
    let wire = BufferStore([BufferPoolShape(count: 1, bytes: room)])
    guard let buffer = wire[PoolID(0)].take() else { return [] }
    var writer = BufferWriter(buffer, in: wire)
    body(&writer)
    return Array(wire.bytes(writer.slice))
  }
}

/// Two ends and the wire between them.
struct LinkPair {
  let client: LinkEnd
  let server: LinkEnd

  /// Moves control output both ways until there is none, in steps of `step` bytes.
  func exchangeControl(step: Int = 1 << 20, room: Int = LinkEnd.bufferBytes) {
    while true {
      let up = client.control(room: room)
      deliver(up, to: server, step: step)
      let down = server.control(room: room)
      deliver(down, to: client, step: step)
      if up.isEmpty && down.isEmpty { return }
    }
  }

  func deliver(_ bytes: [UInt8], to end: LinkEnd, step: Int = 1 << 20) {
    var rest = bytes[...]
    while !rest.isEmpty {
      end.receive(rest.prefix(step))
      rest = rest.dropFirst(step)
    }
  }
}

/// Identities and contexts that tests share.
enum Fixture {
  static let identity = Result { try TLSIdentity.selfSigned(commonName: "hub.test") }

  static func server(_ records: RecordImplementation = .own) throws -> TLSServerContext {
    try TLSServerContext(identity: identity.get(), records: records)
  }

  static func client(
    _ records: RecordImplementation = .own, trust: HubTrust? = nil
  ) throws -> TLSClientContext {
    try TLSClientContext(trust: trust ?? .pin(identity.get().pin), records: records)
  }

  /// An established pair.
  static func pair(
    client: RecordImplementation = .own, server: RecordImplementation = .own,
    suites: String? = nil
  ) throws -> LinkPair {
    let clientContext = try Fixture.client(client)
    if let suites { SSL_CTX_set_ciphersuites(clientContext.context, suites) }
    let pair = LinkPair(
      client: LinkEnd(client: clientContext), server: LinkEnd(server: try Fixture.server(server)))
    pair.exchangeControl()
    #expect(pair.client.link.isEstablished && pair.server.link.isEstablished)
    return pair
  }
}

/// Who makes the records at each end of a pair.
struct Peering: CustomTestStringConvertible, Sendable {
  let client: RecordImplementation
  let server: RecordImplementation
  var testDescription: String { "\(client) to \(server)" }

  static let all = [
    Peering(client: .own, server: .own), Peering(client: .own, server: .openSSL),
    Peering(client: .openSSL, server: .own), Peering(client: .openSSL, server: .openSSL),
  ]
}

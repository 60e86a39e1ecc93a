// TLS records in any split, and changed on their way: what comes out is what went in, from the
// front and without a gap, or the link has failed.

import RIBase
import RITLS

/// The first byte says what is done: bytes of a stranger into a new link, or a conversation of two
/// links whose wire the input cuts, damages and repeats.
func fuzzRecords(_ bytes: UnsafeRawBufferPointer) {
  var input = FuzzInput(bytes)
  let isServer = input.flag()
  if input.choice(4) == 0 {
    let end = RecordEnd(isServer: isServer)
    let seed = input.word()
    for piece in split(input.rest(), seed: seed) { end.receive(piece) }
    must(!end.link.isEstablished, "a stranger's bytes are no handshake")
    must(end.received.isEmpty, "plaintext without keys")
    end.check()
    return
  }
  let (sender, receiver) = (RecordEnd(isServer: isServer), RecordEnd(isServer: !isServer))
  for _ in 0..<8 {
    receiver.receive(sender.control()[...])
    sender.receive(receiver.control()[...])
  }
  must(sender.link.isEstablished && receiver.link.isEstablished, "no handshake")
  converse(sender, receiver, &input)
  sender.check()
  receiver.check()
}

private func converse(_ sender: RecordEnd, _ receiver: RecordEnd, _ input: inout FuzzInput) {
  var said: [UInt8] = []
  var wire: [UInt8] = []
  var isDamaged = false
  for _ in 0..<64 where !input.isAtEnd {
    switch input.choice(8) {
    case 0...2:
      let count = input.flag() ? Int(input.word() % 40_000) : input.choice(256)
      let plain = (0..<count).map { UInt8(truncatingIfNeeded: said.count + $0) }
      said += plain
      wire += sender.seal(plain)
    case 3: wire += sender.control()
    case 4, 5:
      for piece in split(wire, seed: input.word()) { receiver.receive(piece) }
      wire = []
      // What the receiver answers (key updates, alerts) is not lost.
      sender.receive(receiver.control()[...])
    case 6:
      guard !wire.isEmpty else { continue }
      isDamaged = true
      wire[Int(input.word()) % wire.count] ^= max(1, input.byte())
    default:
      guard input.flag(), !wire.isEmpty else { continue }
      isDamaged = true
      let at = Int(input.word()) % wire.count
      wire.insert(contentsOf: input.take(8), at: at)
    }
  }
  receiver.receive(wire[...])
  must(said.starts(with: receiver.received), "other plaintext than was sealed")
  if !isDamaged {
    must(!receiver.hasFailed, "records that nobody touched are refused")
    must(receiver.received.count == said.count, "plaintext is missing")
  }
}

/// One end of a link with its unread ciphertext.
final class RecordEnd {
  private static let bufferBytes = 128 * 1024
  let link: TLSLink
  private let store = BufferStore([BufferPoolShape(count: 4, bytes: RecordEnd.bufferBytes)])
  private let batch: PlaintextBatch
  private var unread: [UInt8] = []
  private(set) var received: [UInt8] = []
  private(set) var hasFailed = false
  private var isAtEnd = false

  init(isServer: Bool) {
    link =
      isServer
      ? TLSLink(server: FuzzTLS.server, store: store)
      : TLSLink(client: FuzzTLS.client, serverName: nil, store: store)
    batch = PlaintextBatch(store: store, capacity: 64 * 1024)
  }

  func receive(_ bytes: ArraySlice<UInt8>) {
    var rest = bytes
    while !rest.isEmpty, !hasFailed, !isAtEnd {
      unread += rest.prefix(64 * 1024)
      rest = rest.dropFirst(64 * 1024)
      open()
    }
  }

  private func open() {
    guard let buffer = store[PoolID(0)].take() else { return must(false, "no buffer") }
    defer { store.release(buffer) }
    var input = Slice(buffer: buffer, offset: 0, count: unread.count)
    store.mutableBytes(input).copyBytes(from: unread)
    loop: while true {
      let before = input.count
      switch link.open(&input) {
      case .plaintext(let slice): received += store.bytes(slice)
      case .progress: must(input.count < before, "progress without progress")
      case .needsMore: break loop
      case .endOfStream:
        isAtEnd = true
        break loop
      case .failed:
        hasFailed = true
        break loop
      }
    }
    unread = Array(store.bytes(input))
    if !hasFailed { must(unread.count <= 5 + 16_384 + 256, "more kept than a record") }
  }

  func control() -> [UInt8] {
    var output: [UInt8] = []
    while link.hasControlOutput {
      let before = output.count
      output += written { link.writeControl(to: &$0) }
      if output.count == before { break }
    }
    return output
  }

  func seal(_ plain: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    var rest = plain[...]
    while !rest.isEmpty, !hasFailed {
      Array(rest.prefix(500)).withUnsafeBytes { batch.append(copying: $0) }
      rest = rest.dropFirst(500)
      if batch.roomBytes < 500 || rest.isEmpty { output += sealBatch() }
    }
    return output
  }

  private func sealBatch() -> [UInt8] {
    var output: [UInt8] = []
    var offset = 0
    while offset < batch.byteCount {
      var sealed = 0
      output += written { sealed = link.seal(batch, from: offset, into: &$0) }
      if sealed == 0 { break }
      offset += sealed
    }
    batch.clear()
    return output
  }

  private func written(_ body: (inout BufferWriter) -> Void) -> [UInt8] {
    guard let buffer = store[PoolID(0)].take() else { return [] }
    defer { store.release(buffer) }
    var writer = BufferWriter(buffer, in: store)
    body(&writer)
    return Array(store.bytes(writer.slice))
  }

  func check() { must(store[PoolID(0)].usedCount == 0, "buffers are left behind a link") }
}

// An established link allocates nothing for its records.

import CMallocCount
import COpenSSL
import RIBase
import RICrypto
import Testing

@testable import RITLS

struct AllocationTests {
  @Test(arguments: ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
  func sealingAndOpeningAllocateNothing(suite: String) throws {
    let store = BufferStore([BufferPoolShape(count: 16, bytes: 128 * 1024)])
    // Both links work on one store, so that records are opened where they were sealed.
    let receiver = TLSLink(server: try Fixture.server(), store: store)
    let clientContext = try Fixture.client()
    SSL_CTX_set_ciphersuites(clientContext.context, suite)
    let sender = TLSLink(client: clientContext, serverName: nil, store: store)
    try shakeHands(sender, receiver, store)

    let batch = PlaintextBatch(store: store, capacity: 64 * 1024)
    let header = [UInt8](repeating: 1, count: 9)
    for _ in 0..<8 {
      header.withUnsafeBytes { batch.append(copying: $0) }
      let payload = try #require(store[PoolID(0)].take())
      batch.append(Slice(buffer: payload, offset: 0, count: 8_000))
    }
    let wire = try #require(store[PoolID(0)].take())
    func round() -> Int {
      var writer = BufferWriter(wire, in: store)
      guard sender.seal(batch, from: 0, into: &writer) == batch.byteCount else { return -1 }
      var input = writer.slice
      var opened = 0
      while true {
        switch receiver.open(&input) {
        case .plaintext(let slice): opened += Int(slice.count)
        case .needsMore: return opened
        default: return -1
        }
      }
    }
    #expect(round() == batch.byteCount)
    let before = malloc_count()
    var opened = 0
    for _ in 0..<100 { opened += round() }
    let allocations = malloc_count() - before
    #expect(opened == 100 * batch.byteCount)
    #expect(allocations == 0)
    batch.clear()
    store.release(wire)
  }

  @Test func theCounterCounts() {
    let before = malloc_count()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 100, alignment: 16)
    memory.deallocate()
    #expect(malloc_count() > before)
  }

  private func shakeHands(_ a: TLSLink, _ b: TLSLink, _ store: BufferStore) throws {
    for _ in 0..<4 {
      for (from, to) in [(a, b), (b, a)] {
        let buffer = try #require(store[PoolID(0)].take())
        var writer = BufferWriter(buffer, in: store)
        from.writeControl(to: &writer)
        var input = writer.slice
        while input.count > 0, case .progress = to.open(&input) {}
        store.release(buffer)
      }
    }
    try #require(a.isEstablished && b.isEstablished)
  }
}

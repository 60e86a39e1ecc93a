// Micro cases of encryption: the AEADs alone, and records through a pair of TLS links.

import RIBase
import RICrypto
import RITLS

extension MicroCase {
  static var sealing: MicroCase {
    let implementations: [(String, AEADImplementation)] =
      [("EVP", .openSSL), ("ipsec-mb", .ipsecMB)].filter {
        AEADKey.supports($0.1, for: .aes128GCM)
      }
    let aeads = implementations.flatMap { name, implementation in
      [64, 1_200, 16_384].map {
        seal("AES-128-GCM \(name) seal \($0) B", implementation, bytes: $0)
      }
    }
    return MicroCase(
      name: "sealing", about: "AES-128-GCM by each library, and TLS records through two links",
      operations: aeads + [TLSRoundTrip.operation].compactMap { $0 })
  }

  private static func seal(
    _ name: String, _ implementation: AEADImplementation, bytes: Int
  ) -> MicroOperation {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * bytes + 64, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 7)
    let source = UnsafeRawBufferPointer(rebasing: memory[0..<bytes])
    let target = UnsafeMutableRawBufferPointer(rebasing: memory[bytes...])
    let key = AEADKey(
      .aes128GCM, key: UnsafeRawBufferPointer(rebasing: memory[0..<16]),
      implementation: implementation)
    let nonce = AEADNonce(UnsafeRawBufferPointer(rebasing: memory[0..<AEADNonce.byteCount]))
    let header = UnsafeRawBufferPointer(rebasing: memory[0..<5])
    return MicroOperation(name: name, bytes: bytes) { count in
      guard let start = target.baseAddress else { return }
      for i in 0..<count {
        key.startSeal(nonce: nonce.record(UInt64(i)), authenticated: header)
        key.updateSeal(to: start, from: source)
        key.finishSeal(tag: start + bytes)
      }
    }
  }
}

/// Two established TLS links in one thread.
private final class TLSRoundTrip {
  static let plaintextBytes = 64 * 1024

  private let store = BufferStore([BufferPoolShape(count: 8, bytes: 128 * 1024)])
  private let client: TLSLink
  private let server: TLSLink
  private let batch: PlaintextBatch

  /// Seals 64 KiB at one end and opens them at the other; nil when the links cannot be made.
  static var operation: MicroOperation? {
    guard let pair = try? TLSRoundTrip() else { return nil }
    return MicroOperation(name: "TLS link: seal and open 64 KiB", bytes: plaintextBytes) { count in
      for _ in 0..<count { pair.goRound() }
    }
  }

  private init() throws {
    let identity = try TLSIdentity.selfSigned(commonName: "ri-bench")
    server = TLSLink(server: try TLSServerContext(identity: identity), store: store)
    client = TLSLink(
      client: try TLSClientContext(trust: .pin(identity.pin)), serverName: nil, store: store)
    batch = PlaintextBatch(store: store, capacity: Self.plaintextBytes)
    let plaintext = [UInt8](repeating: 7, count: Self.plaintextBytes)
    plaintext.withUnsafeBytes { batch.append(copying: $0) }
    while !client.isEstablished || !server.isEstablished || client.hasControlOutput {
      passControl(from: client, to: server)
      passControl(from: server, to: client)
    }
  }

  private func passControl(from sender: TLSLink, to receiver: TLSLink) {
    pass(to: receiver) { sender.writeControl(to: &$0) }
  }

  private func goRound() {
    pass(to: server) { writer in
      let sealed = client.seal(batch, from: 0, into: &writer)
      precondition(sealed == Self.plaintextBytes, "not all was sealed")
    }
  }

  /// What is written into a buffer is opened by the receiver.
  private func pass(to receiver: TLSLink, _ write: (inout BufferWriter) -> Void) {
    guard let buffer = store[PoolID(0)].take() else { preconditionFailure("an empty pool") }
    var writer = BufferWriter(buffer, in: store)
    write(&writer)
    var input = writer.slice
    while input.count > 0 {
      if case .failed(let error) = receiver.open(&input) { preconditionFailure("\(error)") }
    }
    store.release(buffer)
  }
}

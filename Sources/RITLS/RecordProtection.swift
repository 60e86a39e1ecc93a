// The protection of one direction of a link: traffic secret, key, and the number of the next
// record.

import RICrypto

/// One direction's keys (RFC 8446 7.3).
struct RecordProtection {
  let suite: CipherSuite
  private(set) var key: AEADKey
  /// Records protected under this key so far.
  private(set) var recordNumber: UInt64
  private var iv: AEADNonce
  private var secret: TrafficSecret

  /// Starts with record `number` of the secret's key.
  init(_ suite: CipherSuite, secret: TrafficSecret, recordNumber: UInt64) {
    self.suite = suite
    self.secret = secret
    self.recordNumber = recordNumber
    (key, iv) = Self.keys(suite, secret)
  }

  /// The nonce of the next record. Never twice the same under one key.
  mutating func nextNonce() -> AEADNonce {
    defer { recordNumber += 1 }
    return iv.record(recordNumber)
  }

  /// Goes on with the keys of the next generation (RFC 8446 7.2).
  mutating func update() {
    secret = secret.updated()
    (key, iv) = Self.keys(suite, secret)
    recordNumber = 0
  }

  private static func keys(
    _ suite: CipherSuite, _ secret: TrafficSecret
  ) -> (AEADKey, AEADNonce) {
    let algorithm = suite.algorithm
    return (
      secret.expand("key", count: algorithm.keyBytes) { AEADKey(algorithm, key: $0) },
      secret.expand("iv", count: AEADNonce.byteCount) { AEADNonce($0) }
    )
  }
}

// What the links of a hub or of an edge have in common: certificates, trust, tickets, secrets.

import CNGTCP2
import Glibc
import RIBase
import RICrypto

/// What a hub's links share, on all its shards. Immutable but for the store against replays, which
/// has a lock; safe from any thread.
public final class QUICServerContext: @unchecked Sendable {
  public let settings: QUICSettings
  // SAFETY: made in init, freed in deinit, read only in between; GnuTLS reads credentials from any
  // thread. Its callback's argument is `replays`, which lives as long.
  let credentials: OpaquePointer
  let replays = AntiReplayStore()
  /// Keys of stateless resets and of address tokens, 32 bytes each.
  let resetSecret: [UInt8]
  let tokenSecret: [UInt8]

  /// `secret` is at least 32 random bytes that survive a restart (the state directory's): the keys
  /// of stateless resets, of address tokens and of session tickets are derived from it.
  public init(
    identity: TLSIdentity, secret: [UInt8], settings: QUICSettings = QUICSettings()
  ) throws(TLSError) {
    precondition(secret.count >= 32, "a secret has 32 bytes at least")
    self.settings = settings
    let root = secret.withUnsafeBytes {
      TrafficSecret(.sha256, bytes: UnsafeRawBufferPointer(rebasing: $0[..<32]))
    }
    guard let root else { preconditionFailure("32 bytes make a secret") }
    func derived(_ label: StaticString) -> [UInt8] { root.expand(label, count: 32) { Array($0) } }
    resetSecret = derived("ri reset")
    tokenSecret = derived("ri token")
    let ticketKey = derived("ri ticket 1") + derived("ri ticket 2")
    var (certificate, key) = identity.pem()
    let store = Unmanaged.passUnretained(replays).toOpaque()
    // SAFETY: texts and key are read during the call; the store is handed back to the callback.
    let made = certificate.withUTF8 { certificate in
      key.withUTF8 { key in
        quic_server_credentials(
          quic_bytes(start: certificate.baseAddress, count: certificate.count),
          quic_bytes(start: key.baseAddress, count: key.count), ticketKey,
          settings.allowsEarlyData,
          { store, hello, count, expires in
            guard let store, let hello else { return true }
            let replays = Unmanaged<AntiReplayStore>.fromOpaque(store).takeUnretainedValue()
            return replays.isReplayed(
              Array(UnsafeBufferPointer(start: hello, count: count)), expires: expires,
              now: Int64(time(nil)))
          }, store)
      }
    }
    guard let made else { throw .badPrivateKeyPEM }
    credentials = made
  }

  deinit { quic_credentials_free(credentials) }
}

/// What an edge's links share. Immutable; safe from any thread.
public final class QUICClientContext: @unchecked Sendable {
  public let settings: QUICSettings
  public let trust: HubTrust
  // SAFETY: as in `QUICServerContext`.
  let credentials: OpaquePointer
  let anchors: TrustAnchors

  public init(trust: HubTrust, settings: QUICSettings = QUICSettings()) throws(TLSError) {
    self.settings = settings
    self.trust = trust
    anchors = try TrustAnchors(trust)
    guard let made = quic_client_credentials() else { throw .library(0) }
    credentials = made
  }

  deinit { quic_credentials_free(credentials) }
}

/// What an edge keeps of a link to open the next one in 0-RTT: a session ticket, the hub's
/// transport parameters, an address token. Holds secrets; worth nothing for another hub.
public struct QUICResumption: Equatable, Sendable {
  /// Opaque; may be stored. Three parts, each behind its length in two bytes.
  public let bytes: [UInt8]

  public init(bytes: [UInt8]) { self.bytes = bytes }

  /// Nil when a part is too long to be kept.
  init?(session: [UInt8], parameters: [UInt8], token: [UInt8]) {
    var bytes: [UInt8] = []
    for part in [session, parameters, token] {
      guard part.count <= Int(UInt16.max) else { return nil }
      bytes.append(UInt8(part.count >> 8))
      bytes.append(UInt8(part.count & 0xFF))
      bytes += part
    }
    self.bytes = bytes
  }

  /// The parts; all empty when the bytes are none of ours.
  var parts: (session: [UInt8], parameters: [UInt8], token: [UInt8]) {
    var parts: [[UInt8]] = []
    var rest = bytes[...]
    while rest.count >= 2 {
      let count = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
      rest = rest.dropFirst(2)
      guard rest.count >= count else { break }
      parts.append(Array(rest.prefix(count)))
      rest = rest.dropFirst(count)
    }
    guard parts.count == 3, rest.isEmpty else { return ([], [], []) }
    return (parts[0], parts[1], parts[2])
  }
}

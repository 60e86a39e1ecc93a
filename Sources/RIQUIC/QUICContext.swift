// What the links of a hub or of an edge have in common: certificates, trust, tickets, secrets.

import RIBase
import RICrypto

/// What a hub's links share, on all its shards. Immutable but for the store against replays, which
/// has a lock; safe from any thread.
public final class QUICServerContext: Sendable {
  public let settings: QUICSettings

  /// `secret` is at least 32 random bytes that survive a restart (the state directory's): the keys of
  /// stateless resets, of address tokens and of session tickets are derived from it.
  public init(
    identity: TLSIdentity, secret: [UInt8], settings: QUICSettings = QUICSettings()
  ) throws(TLSError) {
    precondition(secret.count >= 32)
    self.settings = settings
  }
}

/// What an edge's links share. Immutable; safe from any thread.
public final class QUICClientContext: Sendable {
  public let settings: QUICSettings
  public let trust: HubTrust

  public init(trust: HubTrust, settings: QUICSettings = QUICSettings()) throws(TLSError) {
    self.settings = settings
    self.trust = trust
  }
}

/// What an edge keeps of a link to open the next one in 0-RTT: a session ticket, the hub's
/// transport parameters, an address token. Holds secrets; worth nothing for another hub.
public struct QUICResumption: Sendable {
  /// Opaque; may be stored.
  public let bytes: [UInt8]

  public init(bytes: [UInt8]) { self.bytes = bytes }
}

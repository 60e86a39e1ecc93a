// How an edge decides whether a hub is the one that it means, whatever carries the handshake.

/// By what an edge knows its hub.
public enum HubTrust: Sendable {
  /// The public key has this hash.
  case pin(CertificatePin)
  /// A certificate for `hostName` (or IP address) from these authorities; nil: the system's.
  case authorities(caFile: String?, hostName: String)
  /// The key seen first, or any when there was none: the caller remembers the link's `peerPin`.
  case firstUse(known: CertificatePin?)
  /// Anything.
  case insecure
}

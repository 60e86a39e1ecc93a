// Who may ask what: the bearer token, and the Host header where there is none.

import RIBase
import RIWire
import RemoteIngress

/// What a request is for.
enum AdminResource: Equatable {
  /// The page's own files, and whether the process lives and is ready: nothing about anyone.
  case open
  case reading
  case changing
}

/// Decides about requests by their headers.
struct AdminAccess: Sendable {
  enum Verdict: Equatable {
    case granted
    /// 401: there is no token in the request, or a wrong one.
    case unauthorized
    /// 403: it could never be granted.
    case forbidden(String)
  }

  let token: Secret?
  /// Only this machine can reach us: then a name in the Host header that is not its own was made to
  /// point here by a page of somebody else's (DNS rebinding).
  let isLoopback: Bool

  func verdict(
    for resource: AdminResource, host: String?, authorization: String?
  ) -> Verdict {
    if isLoopback, token == nil, !Self.isLocal(host) {
      return .forbidden("this host name is not served here; ask for 127.0.0.1 or localhost")
    }
    switch (resource, token) {
    case (.open, _), (.reading, nil): return .granted
    case (.changing, nil):
      return .forbidden("changes need a bearer token, and admin.token is not configured")
    case (.reading, let token?), (.changing, let token?):
      return Self.isBearer(authorization, token) ? .granted : .unauthorized
    }
  }

  /// Whether the header holds the token. Takes a time that depends on what was sent alone.
  static func isBearer(_ authorization: String?, _ token: Secret) -> Bool {
    guard let authorization,
      authorization.prefix(7).lowercased() == "bearer ",
      let sent = try? Secret(authorization.dropFirst(7).trimmed.utf8)
    else { return false }
    return token.isEqual(to: sent)
  }

  /// Whether a Host header, with or without a port, means this machine itself.
  static func isLocal(_ host: String?) -> Bool {
    guard var name = host?[...] else { return false }
    if name.hasPrefix("[") {
      guard let end = name.firstIndex(of: "]") else { return false }
      let rest = name[name.index(after: end)...]
      guard rest.isEmpty || isPort(rest) else { return false }
      name = name[name.index(after: name.startIndex)..<end]
      return IPAddress(parsing: String(name)) == .loopbackV6
    }
    if let colon = name.lastIndex(of: ":") {
      guard isPort(name[colon...]) else { return false }
      name = name[..<colon]
    }
    if name.lowercased() == "localhost" { return true }
    guard let address = IPAddress(parsing: String(name)) else { return false }
    return address.family == .v4 && address.v4 >> 24 == 127
  }

  private static func isPort(_ text: Substring) -> Bool {
    text.first == ":" && text.count <= 6 && text.dropFirst().allSatisfy { $0.isWholeNumber }
  }
}

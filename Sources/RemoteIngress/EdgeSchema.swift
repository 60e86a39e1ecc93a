// The keys of an edge's configuration.

import FoundationEssentials
import RIBase
import RIControl
import RIWire

extension EdgeConfiguration: ReadableConfiguration {
  static var schema: Schema<EdgeConfiguration> {
    Schema(
      tokenFields + [
        Field("hubHost", \.hubHost, .host, "name or address of the hub"),
        Field("hubPort", \.hubPort, .port, "its tunnel port; default 8443"),
        Field("edgeId", \.edgeID, .edgeID, "name of this edge"),
        Field(
          "secret", \.secret, ValueKind.secret.map { .text($0.revealed) },
          excludes: ["secretFile"], "what it proves itself with; better a file"),
        Field("secretFile", \.secret, .file, "file that holds the secret"),
        Field("bindAddress", \.bindAddress, .address, "address for clients; default all"),
        Field("transportMode", \.transportMode, .choice, "default tcpTls"),
        Field("hubPin", \.hubPin, .pin, "fingerprint of the hub's key"),
        Field("hubCaFile", \.hubCaFile, .path, "authorities for the hub as PEM, or system"),
        Field("insecure", \.insecure, .bool, "do not check the hub's certificate"),
        Field(
          "stunServer", \.stunServer, .endpoint, "STUN server; default Cloudflare's"),
      ] + commonFields)
  }

  /// A token replaces what an earlier source said with single keys.
  private static var tokenFields: [Field<EdgeConfiguration>] {
    let store = { (configuration: inout EdgeConfiguration, token: TextSource) in
      configuration.token = token
      configuration.hubHost = nil
      configuration.hubPort = nil
      configuration.edgeID = nil
      configuration.secret = nil
      configuration.hubPin = nil
    }
    let singleKeys = ["hubHost", "hubPort", "edgeId", "secret", "secretFile"]
    return [
      Field(
        "token", .connectionToken, shownBy: \.token, excludes: ["tokenFile"] + singleKeys,
        help: "all about the hub in one text; better a file", store: store),
      Field(
        "tokenFile", .file, shownBy: \.token, excludes: singleKeys,
        help: "file that holds the token", store: store),
    ]
  }
}

extension ValueKind where Value == TextSource {
  fileprivate static var connectionToken: ValueKind {
    ValueKind(name: "TOKEN", isSecret: true) { node, place throws(ConfigurationError) in
      let text = try node.text(place, "a connection token")
      do throws(TokenError) {
        _ = try ConnectionToken(decoding: text)
      } catch {
        throw place.error(error.description, at: node.origin)
      }
      return .text(text)
    }
  }
}

extension ValueKind where Value == String {
  fileprivate static var pin: ValueKind {
    .scalar("PIN", pinRule) { pinBytes($0) == nil ? nil : $0 }
  }
}

/// Completes "it must be …".
package let pinRule = "sha256/ and the base64 of 32 bytes, or 64 hex digits"

/// The 32 bytes of a certificate pin (SPEC 4.5).
package func pinBytes(_ text: String) -> [UInt8]? {
  if text.hasPrefix("sha256/") {
    guard let data = Data(base64Encoded: String(text.dropFirst(7))), data.count == 32 else {
      return nil
    }
    return Array(data)
  }
  guard text.utf8.count == 64 else { return nil }
  let digits = text.compactMap(\.hexDigitValue)
  guard digits.count == 64, text.allSatisfy(\.isASCII) else { return nil }
  return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

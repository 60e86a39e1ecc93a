// The self-signed identity that a hub keeps in its state directory, so that its pin survives a
// restart.

import COpenSSL
import Glibc

extension TLSIdentity {
  private static let fileName = "hub.pem"
  /// A key and a chain; nobody's is larger.
  private static let fileBytesMax = 256 * 1024

  /// The identity kept in `stateDirectory`; made and stored there (mode 0600, directories 0700)
  /// when there is none. When two processes do this at once, both get the one stored first.
  public static func loadOrCreate(
    stateDirectory: String, commonName: String = "remoteingress-hub"
  ) throws(TLSError) -> TLSIdentity {
    let file = try StateFile(fileName, in: stateDirectory, bytesMax: fileBytesMax)
    if let kept = try read(file) { return kept }
    let identity = try selfSigned(commonName: commonName)
    let (certificate, key) = identity.pem()
    if try file.store(Array((certificate + key).utf8)) { return identity }
    guard let kept = try read(file) else { throw .stateFile(ENOENT) }
    return kept
  }

  /// Nil when there is no such file.
  private static func read(_ file: StateFile) throws(TLSError) -> TLSIdentity? {
    guard var text = try file.read() else { return nil }
    defer { text.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) } }
    let pem = String(decoding: text, as: UTF8.self)
    return try load(certificatePEM: pem, keyPEM: pem)
  }
}

// The certificate of fuzzed hubs, and TLS contexts that are made once.

import RICrypto
import RIQUIC
import RITLS

enum FuzzTLS {
  /// A key that protects nothing. Ed25519, as its signatures all have the same length: what an
  /// input does should not differ from run to run.
  private static let identityPEM = """
    -----BEGIN PRIVATE KEY-----
    MC4CAQAwBQYDK2VwBCIEIF4LnyG3k5vU2pd0QJKgzDzbvZ8WWQiId1tmA4BFLIsQ
    -----END PRIVATE KEY-----
    -----BEGIN CERTIFICATE-----
    MIIBHzCB0qADAgECAgEBMAUGAytlcDAOMQwwCgYDVQQDDANodWIwIBcNMjYxMTI2
    MDYzNzE0WhgPMjEyNjExMDIwNjM3MTRaMA4xDDAKBgNVBAMMA2h1YjAqMAUGAytl
    cAMhAFXEXbLOOg7g2uohR/ozCmG+TJ8LzrKlec3arzKPcj2so1MwUTAdBgNVHQ4E
    FgQUkqwkAvK0YXK8p4S7+JHMMIkMqNkwHwYDVR0jBBgwFoAUkqwkAvK0YXK8p4S7
    +JHMMIkMqNkwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQCVwaXnO0oL1dRN2Ewi
    vvQ2paAkGXUYk+nP7r8xUnoccsq4600cm+Xb3FmbRlSrGkZdP4N38GR672UvTQ0g
    hGoD
    -----END CERTIFICATE-----
    """

  static let server: TLSServerContext = {
    do {
      return try TLSServerContext(
        identity: TLSIdentity.load(certificatePEM: identityPEM, keyPEM: identityPEM))
    } catch { fatalError("fuzz: no server context: \(error)") }
  }()

  static let quicServer: QUICServerContext = {
    do {
      return try QUICServerContext(
        identity: TLSIdentity.load(certificatePEM: identityPEM, keyPEM: identityPEM),
        secret: [UInt8](repeating: 1, count: 32))
    } catch { fatalError("fuzz: no QUIC server context: \(error)") }
  }()

  static let quicClient: QUICClientContext = {
    do { return try QUICClientContext(trust: .insecure) } catch {
      fatalError("fuzz: no QUIC client context: \(error)")
    }
  }()

  static let client: TLSClientContext = {
    do { return try TLSClientContext(trust: .insecure) } catch {
      fatalError("fuzz: no client context: \(error)")
    }
  }()
}

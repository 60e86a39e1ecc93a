// Whom an edge takes for its hub, and how handshakes fail.

import COpenSSL
import Foundation
import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

struct TrustTests {
  /// Runs the handshake of a client with this trust against a hub.
  private func handshake(
    _ trust: HubTrust, hub: TLSIdentity, records: RecordImplementation = .own,
    serverName: String? = nil
  ) throws -> LinkPair {
    let pair = LinkPair(
      client: LinkEnd(
        client: try TLSClientContext(trust: trust, records: records), serverName: serverName),
      server: LinkEnd(server: try TLSServerContext(identity: hub, records: records)))
    pair.exchangeControl()
    return pair
  }

  private func isTrusted(_ pair: LinkPair) -> Bool {
    pair.client.link.isEstablished && pair.server.link.isEstablished
      && pair.client.failure == nil && pair.server.failure == nil
  }

  @Test(arguments: [RecordImplementation.own, .openSSL])
  func aPinAdmitsItsKeyAlone(records: RecordImplementation) throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.test")
    let other = try TLSIdentity.selfSigned(commonName: "hub.test")
    let good = try handshake(.pin(hub.pin), hub: hub, records: records)
    #expect(isTrusted(good))
    #expect(good.client.link.peerPin == hub.pin)
    let bad = try handshake(.pin(other.pin), hub: hub, records: records)
    #expect(bad.client.failure == .pinMismatch(expected: other.pin, got: hub.pin))
    #expect(!bad.client.link.isEstablished)
    // bad_certificate
    #expect(bad.server.failure == .peerAlert(42))
    #expect(!bad.server.link.isEstablished)
  }

  @Test func firstUseAdmitsAnyKeyOnceAndThatKeyLater() throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.test")
    let other = try TLSIdentity.selfSigned(commonName: "hub.test")
    let first = try handshake(.firstUse(known: nil), hub: hub)
    #expect(isTrusted(first))
    let known = try #require(first.client.link.peerPin)
    #expect(isTrusted(try handshake(.firstUse(known: known), hub: hub)))
    #expect(
      try handshake(.firstUse(known: known), hub: other).client.failure
        == .pinMismatch(expected: hub.pin, got: other.pin))
  }

  @Test func insecureAdmitsAnything() throws {
    let pair = try handshake(.insecure, hub: .selfSigned(commonName: "whoever"))
    #expect(isTrusted(pair))
    #expect(pair.client.link.peerPin != nil)
  }

  @Test func authoritiesAdmitTheRightNameAlone() throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.test")
    let file = try temporaryFile(hub.pem().certificate)
    defer { try? FileManager.default.removeItem(atPath: file) }
    let good = try handshake(
      .authorities(caFile: file, hostName: "hub.test"), hub: hub, serverName: "hub.test")
    #expect(isTrusted(good))
    let wrongName = try handshake(.authorities(caFile: file, hostName: "hub.other"), hub: hub)
    #expect(wrongName.client.failure == .certificateRejected(Int(X509_V_ERR_HOSTNAME_MISMATCH)))
    let wrongAddress = try handshake(.authorities(caFile: file, hostName: "10.0.0.1"), hub: hub)
    #expect(
      wrongAddress.client.failure == .certificateRejected(Int(X509_V_ERR_IP_ADDRESS_MISMATCH)))
  }

  @Test(arguments: ["10.1.2.3", "2001:db8::1"])
  func authoritiesAdmitTheRightAddressAlone(address: String) throws {
    let hub = try TLSIdentity.selfSigned(commonName: address)
    let file = try temporaryFile(hub.pem().certificate)
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(
      isTrusted(
        try handshake(
          .authorities(caFile: file, hostName: address), hub: hub, serverName: address)))
    let wrong = try handshake(.authorities(caFile: file, hostName: "10.1.2.4"), hub: hub)
    #expect(wrong.client.failure == .certificateRejected(Int(X509_V_ERR_IP_ADDRESS_MISMATCH)))
  }

  @Test func authoritiesRefuseStrangers() throws {
    let hub = try TLSIdentity.selfSigned(commonName: "hub.test")
    let file = try temporaryFile(try TLSIdentity.selfSigned(commonName: "other").pem().certificate)
    defer { try? FileManager.default.removeItem(atPath: file) }
    for caFile in [file, nil] {
      let pair = try handshake(.authorities(caFile: caFile, hostName: "hub.test"), hub: hub)
      #expect(
        pair.client.failure
          == .certificateRejected(Int(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)))
      // unknown_ca
      #expect(pair.server.failure == .peerAlert(48))
    }
  }

  @Test func authoritiesThatCannotBeReadAreAnError() throws {
    #expect(throws: TLSError.badAuthorities) {
      try TLSClientContext(trust: .authorities(caFile: "/nonexistent", hostName: "a"))
    }
    let file = try temporaryFile("not pem")
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(throws: TLSError.badAuthorities) {
      try TLSClientContext(trust: .authorities(caFile: file, hostName: "a"))
    }
  }

  @Test func aChainUpToItsAuthorityIsSentAndTrusted() throws {
    let chain = try TestAuthority.makeChain(name: "hub.chain")
    let hub = try TLSIdentity.load(certificatePEM: chain.certificates, keyPEM: chain.key)
    let file = try temporaryFile(chain.authority)
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(isTrusted(try handshake(.authorities(caFile: file, hostName: "hub.chain"), hub: hub)))
    #expect(isTrusted(try handshake(.pin(hub.pin), hub: hub)))
  }

  // MARK: Handshakes that fail

  @Test func whatIsNotTLSCostsNoHandshake() throws {
    for text in ["GET / HTTP/1.1\r\n\r\n", "EDGE edge secret\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
      let end = LinkEnd(server: try Fixture.server())
      end.receive(Array(text.utf8) + [UInt8](repeating: 0, count: 30_000))
      #expect(end.failure == .notTLS || end.failure == .recordOverflow)
      #expect(!end.link.isEstablished)
    }
    let end = LinkEnd(server: try Fixture.server())
    end.receive([23, 3, 3, 0, 2, 1, 2])
    #expect(end.failure == .notTLS)
    #expect(!end.link.holdsHandshake)
  }

  @Test func handshakesAreBoundedInBytes() throws {
    let server = LinkEnd(server: try Fixture.server())
    // A ClientHello of 100,000 bytes in many records.
    let start: [UInt8] =
      [22, 3, 1, 0x10, 0x04, 1, 1, 0x86, 0xA0] + .init(repeating: 0, count: 4_096)
    server.receive(start)
    for _ in 0..<7 { server.receive([22, 3, 3, 0x10, 0] + [UInt8](repeating: 0, count: 4_096)) }
    #expect(server.failure != nil)
    #expect(!server.link.isEstablished)

    // change_cipher_spec is dropped by OpenSSL while a handshake lasts, but not for ever.
    let pair = LinkPair(
      client: LinkEnd(client: try Fixture.client()), server: LinkEnd(server: try Fixture.server()))
    pair.deliver(pair.client.control(), to: pair.server)
    for _ in 0..<6_000 { pair.server.receive([20, 3, 3, 0, 1, 1]) }
    #expect(pair.server.failure != nil)
  }

  @Test func randomBytesNeverEstablishALink() throws {
    var random = SplitMix64()
    print("seed", random.seed)
    for _ in 0..<300 {
      let end = LinkEnd(server: try Fixture.server())
      let pair = LinkPair(client: LinkEnd(client: try Fixture.client()), server: end)
      var bytes = pair.client.control()
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let i = Int.random(in: 0..<bytes.count, using: &random)
        bytes[i] = UInt8.random(in: 0...255, using: &random)
      }
      pair.deliver(bytes, to: end, step: 100)
      #expect(!end.link.isEstablished)
      _ = end.control()
    }
  }

  @Test func anOldVersionIsRefusedWithAnAlert() throws {
    let old = try Fixture.client()
    #expect(openssl_set_versions(old.context, TLS1_2_VERSION, TLS1_2_VERSION))
    let pair = LinkPair(
      client: LinkEnd(client: old), server: LinkEnd(server: try Fixture.server()))
    pair.exchangeControl()
    guard case .handshakeFailed = pair.server.failure else {
      Issue.record("\(String(describing: pair.server.failure))")
      return
    }
    #expect("\(pair.server.failure.map(\.description) ?? "")".contains("unsupported protocol"))
    // protocol_version
    #expect(pair.client.failure == .peerAlert(70))
  }

  @Test func aHandshakeWithoutACommonCipherIsRefusedWithAnAlert() throws {
    let client = try Fixture.client()
    SSL_CTX_set_ciphersuites(client.context, "TLS_AES_128_CCM_SHA256")
    let pair = LinkPair(
      client: LinkEnd(client: client), server: LinkEnd(server: try Fixture.server()))
    pair.exchangeControl()
    #expect(pair.server.failure?.description.contains("no shared cipher") == true)
    #expect(pair.client.failure == .peerAlert(40))
  }

  @Test func aFailureStays() throws {
    let end = LinkEnd(server: try Fixture.server())
    let buffer = try #require(end.store[PoolID(0)].take())
    defer { end.store.release(buffer) }
    var input = Slice(buffer: buffer, offset: 0, count: 20)
    for _ in 0..<3 {
      guard case .failed(.notTLS) = end.link.open(&input) else {
        Issue.record("not failed")
        return
      }
    }
  }

  @Test func theErrorsWordsNameBothPins() {
    let a = [UInt8](repeating: 1, count: 32).withUnsafeBytes { CertificatePin($0) }
    let b = [UInt8](repeating: 2, count: 32).withUnsafeBytes { CertificatePin($0) }
    let words = TLSError.pinMismatch(expected: a, got: b).description
    #expect(words.contains(a.description) && words.contains(b.description))
  }
}

func temporaryFile(_ text: String) throws -> String {
  let path = FileManager.default.temporaryDirectory.path + "/ri-\(UUID().uuidString).pem"
  try text.write(toFile: path, atomically: true, encoding: .utf8)
  return path
}

/// An authority and a leaf below an intermediate, made by the command line of OpenSSL.
enum TestAuthority {
  struct Chain {
    let authority, certificates, key: String
  }

  static func makeChain(name: String) throws -> Chain {
    let directory = FileManager.default.temporaryDirectory.path + "/ri-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let script = """
      set -e
      new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
      printf 'basicConstraints=critical,CA:TRUE\\n' > ca.ext
      printf 'subjectAltName=DNS:\(name)\\n' > leaf.ext
      $new -x509 -keyout root.key -out root.pem -subj /CN=root -days 9
      $new -keyout middle.key -out middle.csr -subj /CN=middle
      openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial \
        -out middle.pem -extfile ca.ext -days 9
      $new -keyout leaf.key -out leaf.csr -subj /CN=leaf
      openssl x509 -req -in leaf.csr -CA middle.pem -CAkey middle.key -CAcreateserial \
        -out leaf.pem -extfile leaf.ext -days 9
      cat leaf.pem middle.pem > chain.pem
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardError = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    func read(_ file: String) throws -> String {
      try String(contentsOfFile: directory + "/" + file, encoding: .utf8)
    }
    return Chain(
      authority: try read("root.pem"), certificates: try read("chain.pem"),
      key: try read("leaf.key"))
  }
}

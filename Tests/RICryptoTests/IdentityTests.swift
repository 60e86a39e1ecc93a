// Pins, PEM, self-signed certificates and the state directory.

import Foundation
import Testing

@testable import RICrypto

struct CertificatePinTests {
  @Test func bothTextsOfAPinAreRead() throws {
    let bytes = [UInt8](0..<32)
    let pin = bytes.withUnsafeBytes { CertificatePin($0) }
    #expect(pin.description == "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    #expect(CertificatePin(parsing: pin.description) == pin)
    let digits = bytes.map { String(format: "%02x", $0) }.joined()
    #expect(CertificatePin(parsing: digits) == pin)
    #expect(CertificatePin(parsing: digits.uppercased()) == pin)
    #expect(pin.withBytes { Array($0) } == bytes)
  }

  @Test(arguments: [
    "", "sha256/", "sha1/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
    "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh== ",
    "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH===",
    "sha256/AAEC*wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
    "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
  ])
  func otherTextsAreNoPins(text: String) {
    #expect(CertificatePin(parsing: text) == nil)
  }
}

struct TLSIdentityTests {
  @Test func aSelfSignedIdentitySurvivesPEM() throws {
    let identity = try TLSIdentity.selfSigned(commonName: "hub.example")
    let pem = identity.pem()
    let again = try TLSIdentity.load(certificatePEM: pem.certificate, keyPEM: pem.key)
    #expect(again.pin == identity.pin)
    #expect(try TLSIdentity.selfSigned(commonName: "hub.example").pin != identity.pin)
    let both = pem.certificate + pem.key
    #expect(try TLSIdentity.load(certificatePEM: both, keyPEM: both).pin == identity.pin)
  }

  @Test func opensslReadsTheCertificateAndAgreesOnThePin() throws {
    let identity = try TLSIdentity.selfSigned(commonName: "10.1.2.3")
    let text = try shell(
      "openssl x509 -noout -text -checkip 10.1.2.3", input: identity.pem().certificate)
    #expect(text.contains("CN = 10.1.2.3"))
    #expect(text.contains("IP Address:10.1.2.3"))
    #expect(text.contains("NIST CURVE: P-256"))
    #expect(text.contains("does match certificate"))
    let pin = try shell(
      """
      openssl x509 -noout -pubkey | openssl pkey -pubin -outform der | \
      openssl dgst -sha256 -binary | openssl base64
      """, input: identity.pem().certificate)
    #expect(
      "sha256/" + pin.trimmingCharacters(in: .whitespacesAndNewlines)
        == identity.pin.description)
    let days = try shell(
      "openssl x509 -noout -checkend \(86_400 * 3_650)", input: identity.pem().certificate)
    #expect(days.contains("will not expire"))
  }

  @Test func namesThatACertificateCannotCarryAreRefused() {
    for name in ["", "a b", "a,DNS:b", "a\n", "a/b", String(repeating: "a", count: 65), "é"] {
      #expect(throws: TLSError.badCommonName) { try TLSIdentity.selfSigned(commonName: name) }
    }
  }

  @Test func brokenPEMGivesTheNamedError() throws {
    let one = try TLSIdentity.selfSigned(commonName: "one").pem()
    let two = try TLSIdentity.selfSigned(commonName: "two").pem()
    #expect(throws: TLSError.badCertificatePEM) {
      try TLSIdentity.load(certificatePEM: "", keyPEM: one.key)
    }
    #expect(throws: TLSError.badCertificatePEM) {
      try TLSIdentity.load(certificatePEM: one.key, keyPEM: one.key)
    }
    #expect(throws: TLSError.badPrivateKeyPEM) {
      try TLSIdentity.load(certificatePEM: one.certificate, keyPEM: one.certificate)
    }
    #expect(throws: TLSError.keyDoesNotFitCertificate) {
      try TLSIdentity.load(certificatePEM: one.certificate, keyPEM: two.key)
    }
    let locked = try shell("openssl pkey -aes128 -passout pass:x", input: one.key)
    #expect(locked.contains("ENCRYPTED"))
    #expect(throws: TLSError.badPrivateKeyPEM) {
      try TLSIdentity.load(certificatePEM: one.certificate, keyPEM: locked)
    }
  }

  @Test func theStateDirectoryKeepsOneIdentityForItsOwnerAlone() throws {
    let root = FileManager.default.temporaryDirectory.path + "/ri-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: root) }
    let directory = root + "/state/hub"
    let first = try TLSIdentity.loadOrCreate(stateDirectory: directory)
    #expect(try TLSIdentity.loadOrCreate(stateDirectory: directory).pin == first.pin)
    #expect(try mode(directory) == 0o700)
    #expect(try mode(directory + "/hub.pem") == 0o600)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["hub.pem"])

    chmod(directory + "/hub.pem", 0o644)
    #expect(try TLSIdentity.loadOrCreate(stateDirectory: directory).pin == first.pin)
    #expect(try mode(directory + "/hub.pem") == 0o600)
  }

  @Test func aBrokenOrForeignStateFileIsAnErrorAndStays() throws {
    let directory = FileManager.default.temporaryDirectory.path + "/ri-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: false)
    let path = directory + "/hub.pem"
    try "not pem".write(toFile: path, atomically: false, encoding: .utf8)
    #expect(throws: TLSError.badCertificatePEM) {
      try TLSIdentity.loadOrCreate(stateDirectory: directory)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "not pem")
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/null")
    #expect(throws: TLSError.stateFile(ELOOP)) {
      try TLSIdentity.loadOrCreate(stateDirectory: directory)
    }
  }

  @Test func startsAtTheSameTimeEndWithOneIdentity() async throws {
    let directory = FileManager.default.temporaryDirectory.path + "/ri-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let pins = try await withThrowingTaskGroup(of: CertificatePin.self) { group in
      for _ in 0..<8 {
        group.addTask { try TLSIdentity.loadOrCreate(stateDirectory: directory).pin }
      }
      return try await group.reduce(into: Set()) { $0.insert($1) }
    }
    #expect(pins.count == 1)
  }

  private func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? Int) ?? -1
  }

  /// What a shell command prints, given `input`.
  private func shell(_ command: String, input: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command]
    let (source, sink) = (Pipe(), Pipe())
    process.standardInput = source
    process.standardOutput = sink
    process.standardError = FileHandle.nullDevice
    try process.run()
    try source.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    try source.fileHandleForWriting.close()
    let output = try sink.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
  }
}

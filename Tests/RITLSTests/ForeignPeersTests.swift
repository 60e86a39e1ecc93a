// Links against other people's TLS over TCP: Python's ssl module and OpenSSL's command line.

import Foundation
import RIBase
import RICrypto
import TestRandom
import Testing

@testable import RITLS

@Suite(.serialized, .timeLimit(.minutes(2)))
struct ForeignPeersTests {
  /// Certificate and key of the shared identity in files, for the time of `body`.
  private func withFiles(_ body: (_ certificate: String, _ key: String) throws -> Void) throws {
    let pem = try Fixture.identity.get().pem()
    let certificate = try temporaryFile(pem.certificate)
    let key = try temporaryFile(pem.key)
    defer {
      try? FileManager.default.removeItem(atPath: certificate)
      try? FileManager.default.removeItem(atPath: key)
    }
    try body(certificate, key)
  }

  static let echoServer = """
    import socket, ssl, sys
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    context.num_tickets = int(sys.argv[3])
    listener = socket.create_server(("127.0.0.1", 0))
    print("port", listener.getsockname()[1], flush=True)
    plain, _ = listener.accept()
    tls = context.wrap_socket(plain, server_side=True)
    while data := tls.recv(65536):
        tls.sendall(data)
    tls.unwrap()
    """

  @Test(arguments: [RecordImplementation.own, .openSSL], [0, 2, 7])
  func aPythonServerEchoesAll(records: RecordImplementation, tickets: Int) throws {
    try withFiles { certificate, key in
      let python = try ForeignProgram([
        "python3", "-c", Self.echoServer, certificate, key, "\(tickets)",
      ])
      let end = LinkEnd(client: try Fixture.client(records), serverName: "hub.test")
      let driver = SocketDriver(
        end, socket: try Loopback.connect(python.readPort(after: "port ")))
      try driver.pump { end.link.isEstablished }
      var random = SplitMix64()
      print("seed", random.seed)
      end.link.recordsPerKeyMax = 50
      for size in [1, 16_384, 100_000, 2_000_000] {
        let plaintext = random.bytes(size)
        driver.send(plaintext)
        var received: [UInt8] = []
        try driver.pump {
          received += end.takeReceived()
          return received.count >= size
        }
        #expect(received == plaintext)
      }
      driver.finish()
      try driver.pump { end.isAtEnd }
      #expect(end.failure == nil)
    }
  }

  static let checkingClient = """
    import random, socket, ssl, sys, threading
    context = ssl.create_default_context(cafile=sys.argv[1])
    plain = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    tls = context.wrap_socket(plain, server_hostname="hub.test")
    sent = random.randbytes(3_000_000)
    def send():
        start = 0
        while start < len(sent):
            count = random.choice([1, 100, 16384, 200000])
            tls.sendall(sent[start:start + count])
            start += count
    sender = threading.Thread(target=send)
    sender.start()
    received = b""
    while len(received) < len(sent):
        received += tls.recv(65536)
    sender.join()
    print("equal" if received == sent else "different", tls.version(), tls.cipher()[0], flush=True)
    tls.unwrap()
    print("closed", flush=True)
    """

  @Test(arguments: [RecordImplementation.own, .openSSL])
  func aPythonClientGetsItsBytesBack(records: RecordImplementation) throws {
    try withFiles { certificate, _ in
      let (listener, port) = try Loopback.listen()
      defer { close(listener) }
      let python = try ForeignProgram([
        "python3", "-c", Self.checkingClient, certificate, "\(port)",
      ])
      let end = LinkEnd(server: try Fixture.server(records))
      let driver = SocketDriver(end, socket: accept(listener, nil, nil))
      try driver.pump {
        let received = end.takeReceived()
        if !received.isEmpty { driver.send(received) }
        return end.isAtEnd
      }
      driver.finish()
      try driver.pump { true }
      try python.read { $0.contains("closed") }
      #expect(python.text.contains("equal TLSv1.3 \(end.link.cipherName)"))
    }
  }

  @Test(arguments: [RecordImplementation.own, .openSSL])
  func keyUpdatesOfAForeignServerAreFollowed(records: RecordImplementation) throws {
    try withFiles { certificate, key in
      let openssl = try ForeignProgram([
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key,
        "-tls1_3", "-num_tickets", "0",
      ])
      let port = try openssl.readPort(after: "ACCEPT 127.0.0.1:")
      let end = LinkEnd(client: try Fixture.client(records))
      let driver = SocketDriver(end, socket: try Loopback.connect(port))
      try driver.pump { end.link.isEstablished }
      try converse(openssl, driver)
      driver.finish()
      try driver.pump { true }
    }
  }

  @Test(arguments: [RecordImplementation.own, .openSSL])
  func keyUpdatesOfAForeignClientAreFollowed(records: RecordImplementation) throws {
    let (listener, port) = try Loopback.listen()
    defer { close(listener) }
    let openssl = try ForeignProgram([
      "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-servername", "hub.test",
    ])
    let end = LinkEnd(server: try Fixture.server(records))
    let driver = SocketDriver(end, socket: accept(listener, nil, nil))
    try driver.pump { end.link.isEstablished }
    try converse(openssl, driver)
    try openssl.write("Q")
    try driver.pump { end.isAtEnd }
  }

  /// Lines both ways, with key updates that ask for an answer (K) and that do not (k). A command is
  /// a line that is read alone, so the next line waits for the record that the command sends.
  private func converse(_ openssl: ForeignProgram, _ driver: SocketDriver) throws {
    let end = driver.end
    for (round, command) in ["k", "K", "K", "k"].enumerated() {
      let before = end.recordsOpened
      try openssl.write(command)
      try driver.pump { end.recordsOpened > before }
      try openssl.write("line \(round)")
      try driver.pump {
        String(decoding: end.takeReceived(), as: UTF8.self).contains("line \(round)\n")
      }
      driver.send(Array("answer \(round)\n".utf8))
      try driver.pump { true }
      try openssl.read { $0.contains("answer \(round)\n") }
    }
    end.link.recordsPerKeyMax = 1
    for round in 0..<5 {
      driver.send(Array("rekeyed \(round)\n".utf8))
      try driver.pump { true }
      try openssl.read { $0.contains("rekeyed \(round)\n") }
    }
    #expect(end.failure == nil)
  }
}

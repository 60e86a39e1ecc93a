// Against aioquic: an edge of another make at our hub, and our edge at a hub of another make.

import Foundation
import RIBase
import RICrypto
import RIQUIC
import RITunnel
import RIWire
import Testing

/// A script of `peers`, run by the interpreter that `ci/setup` has made.
final class Peer {
  private let process = Process()
  private let output = Pipe()
  private let input = Pipe()
  private var text = ""

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  static let python = folder.deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent(".build/peers/bin/python")

  static var isThere: Bool { FileManager.default.isExecutableFile(atPath: python.path) }

  init(_ script: String, _ arguments: [String]) throws {
    process.executableURL = Self.python
    process.arguments =
      ["-u", Self.folder.appendingPathComponent("peers/\(script)").path] + arguments
    process.standardOutput = output
    process.standardError = output
    process.standardInput = input
    try process.run()
    let descriptor = output.fileHandleForReading.fileDescriptor
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
  }

  deinit {
    // It ends with its input as well; Foundation reaps it.
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  /// Everything it has printed so far.
  var said: String {
    var bytes = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = read(output.fileHandleForReading.fileDescriptor, &bytes, bytes.count)
      guard count > 0 else { return text }
      text += String(decoding: bytes[..<count], as: UTF8.self)
    }
  }

  var lines: [Substring] { said.split(separator: "\n") }
}

@Suite(.enabled(if: Peer.isThere, "ci/setup has not installed aioquic"))
struct PeerTests {
  /// A hub that answers everything by itself.
  func echo(_ driver: SocketDriver) {
    let end = driver.end
    end.handler = { tunnel, event in
      switch event {
      case .tunnel(.opened(let stream)), .tunnel(.sessionOpened(let stream)):
        tunnel.accept(stream, owner: SlotID(index: 1, generation: 1))
      case .tunnel(.data(let stream, let slice)):
        for slice in end.slices(Array(end.store.bytes(slice))) { tunnel.send(slice, on: stream) }
      case .tunnel(.finished(let stream)): tunnel.finish(stream)
      case .tunnel(.datagram(let session)):
        for slice in end.slices(Array(tunnel.payload)) { tunnel.sendDatagram(slice, on: session) }
      case .tunnel(.pong): tunnel.sendPing(tunnel.payload)
      default: break
      }
    }
  }

  @Test(arguments: [true, false])
  func anEdgeOfAnotherMake(ownProtection: Bool) throws {
    var settings = QUICSettings()
    settings.usesOwnProtection = ownProtection
    let context = try QUICServerContext(
      identity: hubIdentity, secret: hubSecret, settings: settings)
    let driver = try SocketDriver {
      QUICEndpoint(
        server: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 64 << 20))
    }
    echo(driver)
    let peer = try Peer("edge.py", ["\(driver.port)"])
    let isDone = driver.run(seconds: 60) {
      let said = peer.said
      return said.contains("done") || said.contains("Error")
    }
    let steps = ["line", "streams", "datagrams", "reset", "keys", "messages"]
    let expected = steps + ["first whole"] + steps + ["second early", "done"]
    #expect(isDone && peer.lines.map(String.init) == expected, "\(peer.said)")
    #expect(driver.end.endpoint.counters.earlyDataAccepted == 1)
  }

  @Test func aHubOfAnotherMake() throws {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("ri-quic-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let pem = hubIdentity.pem()
    let certificate = folder.appendingPathComponent("hub.pem")
    let key = folder.appendingPathComponent("hub.key")
    try pem.certificate.write(to: certificate, atomically: true, encoding: .utf8)
    try pem.key.write(to: key, atomically: true, encoding: .utf8)
    let peer = try Peer("hub.py", [certificate.path, key.path])

    let context = try QUICClientContext(trust: .pin(hubIdentity.pin))
    let driver = try SocketDriver {
      QUICEndpoint(
        client: context, store: $0, pools: End.pools, budget: MemoryBudget(bytes: 64 << 20))
    }
    #expect(driver.run(seconds: 20) { peer.lines.first.flatMap { UInt16($0) } != nil })
    let port = try #require(peer.lines.first.flatMap { UInt16($0) })
    let tunnel = try #require(
      driver.end.endpoint.connect(
        to: SocketAddress(.loopbackV4, port), from: driver.local, serverName: "hub.example",
        now: SocketDriver.now))
    driver.end.tunnel = tunnel
    tunnel.sendControl(LinkPair.line)
    let ping = End.Happening.ping(Array("ping".utf8))
    #expect(driver.run(seconds: 10) { driver.end.happenings.contains(ping) }, "\(peer.said)")
    Array("ping".utf8).withUnsafeBytes { tunnel.sendPong($0) }
    #expect(
      driver.end.happenings.contains(.config(Array("{\"listenPorts\":[80]}".utf8))))

    let header = Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n".utf8)
    func open() throws -> StreamRef {
      try #require(
        header.withUnsafeBytes { tunnel.open(header: $0, owner: .none, now: SocketDriver.now) })
    }
    let stream = try open()
    let bytes = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    driver.end.send(bytes, on: stream)
    tunnel.finish(stream)
    #expect(driver.run(seconds: 20) { driver.end.happenings.contains(.finished(stream)) })
    #expect(driver.end.received[stream] == bytes)

    let session = try #require(
      SessionTests.header.withUnsafeBytes {
        tunnel.openSession(header: $0, owner: .none, now: SocketDriver.now)
      })
    for slice in driver.end.slices([1, 2, 3]) { tunnel.sendDatagram(slice, on: session) }
    #expect(
      driver.run(seconds: 10) { driver.end.happenings.contains(.datagram(session, [1, 2, 3])) })

    tunnel.reset(try open())
    tunnel.updateKeys(now: SocketDriver.now)
    let last = try open()
    tunnel.finish(last)
    #expect(driver.run(seconds: 10) { driver.end.happenings.contains(.finished(last)) })
    tunnel.end()
    #expect(driver.run(seconds: 10) { peer.said.contains("ended 0") })
    for said in ["EDGE e s", "message 8 ping", "session 1", "reset 1"] {
      #expect(peer.said.contains(said), "\(said) not in \(peer.said)")
    }
  }
}

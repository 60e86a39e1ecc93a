// A program with a whole tunnel in it: a hub, an edge, their events, a change while they run, and
// an orderly end. In earnest the two stand on two machines; only the token travels between them.
//
//   swift build
//   .build/debug/embedded-tunnel 8080 80    # from port 8080 to 127.0.0.1:80
//
// The target reads the PROXY protocol (nginx: `listen 80 proxy_protocol`). Lines that are typed:
// `status`, a port number (one more port on the public side), or the end of input.

import Foundation
import RemoteIngress

@main
enum EmbeddedTunnel {
  static func main() async throws {
    let ports = CommandLine.arguments.dropFirst().compactMap { UInt16($0) }
    guard ports.count == 2 else {
      FileHandle.standardError.write(Data("usage: embedded-tunnel PORT TARGET_PORT\n".utf8))
      exit(2)
    }
    let secret = try Secret(randomSecret())
    var allowed = AllowedEdge(
      id: "edge-1", secret: secret, listenPorts: [ports[0]], stunIntervalSecs: 0)

    // The private side: accepts the edge, forwards to the target.
    let hub = RemoteIngressHub { say("hub", $0.message) }
    var configuration = HubConfiguration()
    configuration.tunnelPort = 0  // A free one; 8443 is the default.
    configuration.bindAddress = .loopbackV4
    configuration.allowedEdges = [allowed]
    configuration.targets = [TargetRule(port: ports[0], targetPort: ports[1])]
    try await hub.start(configuration)

    // All that an edge needs to find and trust the hub, as one string.
    let status = await hub.status()
    let token = try ConnectionToken(
      host: "127.0.0.1", port: status.tunnelPort ?? 0, edgeID: allowed.id, secret: secret,
      hubPin: status.pin
    ).encoded()

    // The public side. Whoever wants all events asks for them before the start.
    let edge = RemoteIngressEdge { say("edge", $0.message) }
    let (hubEvents, edgeEvents) = (hub.events, edge.events)
    Task { for await event in hubEvents { say("hub event", "\(event.name) \(event.data)") } }
    Task { for await event in edgeEvents { say("edge event", "\(event.name) \(event.data)") } }
    try await edge.start(token: token)

    for await line in typedLines() {
      if line == "status" {
        say("hub", await hub.status().json)
        say("edge", await edge.status().json)
      } else if let port = UInt16(line), port > 0 {
        allowed.listenPorts.append(port)
        do {
          // Pushed to the edge at once; whoever is connected notices nothing.
          try await hub.updateAllowedEdges([allowed])
        } catch {
          say("hub", "refused: \(error)")
        }
      }
    }

    // Live streams get five seconds; with none it ends at once.
    await edge.stop(drain: .seconds(5))
    await hub.stop()
  }

  /// What is typed. Reading blocks, so it has a thread: tasks have none to spare.
  private static func typedLines() -> AsyncStream<String> {
    let (lines, typed) = AsyncStream.makeStream(of: String.self)
    Thread.detachNewThread {
      while let line = readLine() { typed.yield(line) }
      typed.finish()
    }
    return lines
  }

  private static func randomSecret() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<4).map { _ in String(generator.next() as UInt64, radix: 16) }.joined()
  }

  /// Whole lines, from any thread.
  private static func say(_ who: String, _ what: String) {
    FileHandle.standardOutput.write(Data("\(who): \(what)\n".utf8))
  }
}

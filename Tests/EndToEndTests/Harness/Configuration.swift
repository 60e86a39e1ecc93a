// The configuration files of a testbed: hub, edge, nginx. And the ports that they use.

import Foundation

extension Testbed {
  func hubConfiguration() -> String {
    let tcp = extraRoutes.filter { $0.transport == .tcp }.map { ", \($0.edge)" }.joined()
    let udp = extraRoutes.filter { $0.transport == .udp }.map { "\($0.edge)" }
      .joined(separator: ", ")
    let rules = extraRoutes.map {
      "\n  - {port: \($0.edge), protocol: \($0.transport), host: 127.0.0.1, "
        + "targetPort: \($0.target), \($0.rule)}"
    }.joined()
    return """
      tunnelPort: \(tunnelPort)
      bindAddress: 127.0.0.1
      targetHost: 127.0.0.1
      stateDir: \(directory)/hub
      drainSeconds: \(drainSeconds)
      allowedEdges:
        - id: \(edgeID)
          secret: \(secret)
          listenPorts: [\(web.edge), \(peer.edge)\(tcp)]
          listenPortsUdp: [\(udp)]
          stunIntervalSecs: \(stunIntervalSeconds)
        - {id: \(crookedID), secret: \(secret), listenPorts: [\(peer.edge)], stunIntervalSecs: 0}
        - {id: \(spareID), secret: \(secret), listenPorts: [], stunIntervalSecs: 0}
      \(crowd)
      targets:
        - {port: \(web.edge), protocol: tcp, host: 127.0.0.1, targetPort: \(web.target)}
        - {port: \(peer.edge), protocol: tcp, host: 127.0.0.1, targetPort: \(peer.target)}\(rules)
      \(hubLines)
      """
  }

  private var crowd: String {
    (0..<crowdCount).map { "  - {id: crowd-\($0), secret: \(secret)}" }.joined(separator: "\n")
  }

  /// `trust` is the line that says how the edge checks the hub.
  func edgeConfiguration(
    id: String, secretFile: String = "secret", trust: String = "insecure: true"
  ) -> String {
    """
    hubHost: 127.0.0.1
    hubPort: \(tunnelPort)
    edgeId: \(id)
    secretFile: \(directory)/\(secretFile)
    stateDir: \(directory)/edge
    drainSeconds: \(drainSeconds)
    transportMode: \(transportMode)
    stunServer: "\(stunServer)"
    \(trust)
    \(edgeLines)
    """
  }

  /// nginx, reading the PROXY protocol: it serves `www`, stores what is PUT below `/uploads/`, and
  /// logs whom it takes for the client.
  func startNginx() throws {
    try write(
      """
      daemon off;
      master_process off;
      pid nginx.pid;
      error_log stderr;
      events { worker_connections 8192; }
      http {
        log_format client '$proxy_protocol_addr $proxy_protocol_port $request_method $uri $status';
        access_log access.log client;
        client_max_body_size 0;
        client_body_temp_path body;
        keepalive_requests 1000000;
        sendfile on;
        server {
          listen 127.0.0.1:\(web.target) proxy_protocol backlog=8192;
          root www;
          location = /small { default_type text/plain; return 200 "small\\n"; }
          location /uploads/ { root .; dav_methods PUT; }
        }
      }
      """, to: "nginx.conf")
    _ = try start("nginx", ["nginx", "-p", directory, "-c", "nginx.conf", "-e", "stderr"])
    try wait(within: 10, for: "nginx to listen on \(web.target)") {
      FreePort.isTaken(web.target)
    }
  }

  /// The lines of nginx's access log: `address port method uri status`.
  func accessLog() -> [[String]] {
    let data = FileManager.default.contents(atPath: "\(directory)/access.log") ?? Data()
    return String(decoding: data, as: UTF8.self).split(separator: "\n")
      .map { $0.split(separator: " ").map(String.init) }
  }
}

/// Ports below the kernel's ephemeral range, so that no outgoing connection is in the way.
enum FreePort {
  nonisolated(unsafe) private static var next = Int.random(in: 12_000..<26_000)

  static func take() -> Int {
    repeat { next += 1 } while isTaken(next) || isTaken(next, .udp)
    return next
  }

  /// Whether something listens there.
  static func isTaken(_ port: Int, _ transport: ExtraRoute.Transport = .tcp) -> Bool {
    let kind = transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
    let probe = socket(AF_INET, Int32(kind.rawValue), 0)
    defer { close(probe) }
    // A connection in TIME_WAIT does not hold a port; two UDP sockets could share one by this.
    var on: Int32 = transport == .tcp ? 1 : 0
    setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port).bigEndian)
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) != 0
      }
    }
  }
}

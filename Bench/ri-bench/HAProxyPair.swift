// A pair of HAProxy processes as a tunnel: plain in and TLS 1.3 out at the edge, TLS in and plain
// out with a PROXY line at the hub. One thread each, the defaults otherwise (buffers of 16 KiB, no
// splicing), and a connection between the two for each client.

import FoundationEssentials
import Glibc
import LoadKit

/// Configurations and key of a pair, in a directory of their own that is gone once both run.
struct HAProxyPair {
  let edge: ChildProcess
  let hub: ChildProcess

  /// Where Debian has it; its directory is not on everyone's path.
  static let program: String? = {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    let directories = path.split(separator: ":").map(String.init) + ["/usr/sbin"]
    return directories.map { "\($0)/haproxy" }.first { access($0, X_OK) == 0 }
  }()

  /// Starts both; they accept connections when this returns.
  static func start(edgePort: UInt16, hubPort: UInt16, targetPort: UInt16) throws -> HAProxyPair {
    guard let program else { throw LoadError("haproxy is not installed") }
    var template = Array("/tmp/ri-bench-haproxy-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw LoadError("mkdtemp failed") }
    let directory = template.withUnsafeBytes {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    defer {
      for file in ["key.pem", "hub.pem", "hub.cfg", "edge.cfg"] { unlink("\(directory)/\(file)") }
      rmdir(directory)
    }
    try makeCertificate(in: directory)
    let hub = try start(
      program, "\(directory)/hub.cfg", port: hubPort,
      """
      listen hub
        bind 127.0.0.1:\(hubPort) ssl crt \(directory)/hub.pem
        server target 127.0.0.1:\(targetPort) send-proxy
      """)
    let edge = try start(
      program, "\(directory)/edge.cfg", port: edgePort,
      """
      listen edge
        bind 127.0.0.1:\(edgePort)
        server hub 127.0.0.1:\(hubPort) ssl verify none
      """)
    return HAProxyPair(edge: edge, hub: hub)
  }

  private static func start(
    _ program: String, _ file: String, port: UInt16, _ proxy: String
  ) throws -> ChildProcess {
    let configuration = """
      global
        nbthread 1
        maxconn 4096
        ssl-default-bind-options ssl-min-ver TLSv1.3
        ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
        ssl-default-server-options ssl-min-ver TLSv1.3
        ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
      defaults
        mode tcp
        timeout connect 10s
        timeout client 10m
        timeout server 10m
      \(proxy)

      """
    try Data(configuration.utf8).write(to: URL(filePath: file))
    let child = try ChildProcess.program(program, ["-q", "-db", "-f", file])
    try awaitListener(port, of: child)
    return child
  }

  private static func makeCertificate(in directory: String) throws {
    let words =
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench "
      + "-keyout \(directory)/key.pem -out \(directory)/hub.pem"
    guard ChildProcess.output(of: "openssl", words.split(separator: " ").map(String.init)) != nil,
      let key = readSmallFile("\(directory)/key.pem"),
      let certificate = readSmallFile("\(directory)/hub.pem")
    else { throw LoadError("openssl made no certificate") }
    try Data((certificate + key).utf8).write(to: URL(filePath: "\(directory)/hub.pem"))
  }

  private static func awaitListener(_ port: UInt16, of child: ChildProcess) throws {
    let deadline = clockNanoseconds() + 10_000_000_000
    while clockNanoseconds() < deadline, !child.hasEnded() {
      if isListening(port) { return }
      usleep(10_000)
    }
    throw LoadError("haproxy did not start")
  }

  private static func isListening(_ port: UInt16) -> Bool {
    guard let socket = try? connectToLoopback(port) else { return false }
    defer { close(socket) }
    var wanted = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
    return poll(&wanted, 1, 1_000) == 1 && wanted.revents & Int16(POLLERR | POLLHUP) == 0
  }
}

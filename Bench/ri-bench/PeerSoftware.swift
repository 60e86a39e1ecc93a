// The software that we are compared with, and how each is set up: TLS 1.3 with AES-128-GCM (ssh:
// the same cipher), one process an end, its defaults otherwise.

import FoundationEssentials
import Glibc
import LoadKit

enum PeerSoftware: String, CaseIterable {
  /// TLS at both ends, a connection between the two for each client.
  case haproxy, stunnel, nginx
  /// One connection for all clients: `ssh -L`.
  case ssh

  /// The command lines of both ends.
  struct Orders {
    var edge, hub: [String]
  }

  /// Whether the hub writes a PROXY v1 line to the target, as ours does.
  var writesProxyLine: Bool { self == .haproxy || self == .nginx }

  private static let nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

  /// Why it cannot run here, in words; nil when it can.
  func missing() -> String? {
    let programs = self == .ssh ? ["ssh", "sshd", "ssh-keygen"] : [rawValue, "openssl"]
    if let absent = programs.first(where: { Self.path(of: $0) == nil }) {
      return "\(absent) is not installed (Debian: apt-get install \(package))"
    }
    guard self != .nginx || access(Self.nginxModule, R_OK) == 0 else {
      return "nginx has no stream module (Debian: apt-get install \(package))"
    }
    return nil
  }

  private var package: String {
    switch self {
    case .haproxy: "haproxy"
    case .stunnel: "stunnel4"
    case .nginx: "libnginx-mod-stream"
    case .ssh: "openssh-client openssh-server"
    }
  }

  /// Writes configurations and keys.
  func prepare(_ ports: PeerPorts, in directory: String) throws -> Orders {
    let program = try Self.require(self == .ssh ? "sshd" : rawValue)
    switch self {
    case .haproxy: return try haproxy(program, ports, directory)
    case .stunnel: return try stunnel(program, ports, directory)
    case .nginx: return try nginx(program, ports, directory)
    case .ssh: return try ssh(program, ports, directory)
    }
  }

  private func haproxy(
    _ program: String, _ ports: PeerPorts, _ directory: String
  ) throws -> Orders {
    try makeCertificate(in: directory)
    // It does not start with more than its descriptors carry, two a connection.
    let connectionsMax = min(17_000, (descriptorLimit() - 100) / 2)
    func order(_ name: String, _ proxy: String) throws -> [String] {
      let file = try write(
        """
        global
          nbthread 1
          maxconn \(connectionsMax)
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

        """, to: "\(directory)/\(name).cfg")
      return [program, "-db", "-f", file]
    }
    return Orders(
      edge: try order(
        "edge",
        """
        listen edge
          bind 127.0.0.1:\(ports.edge)
          server hub 127.0.0.1:\(ports.hub) ssl verify none
        """),
      hub: try order(
        "hub",
        """
        listen hub
          bind 127.0.0.1:\(ports.hub) ssl crt \(directory)/hub.pem
          server target 127.0.0.1:\(ports.target) send-proxy
        """))
  }

  private func stunnel(
    _ program: String, _ ports: PeerPorts, _ directory: String
  ) throws -> Orders {
    try makeCertificate(in: directory)
    func order(_ name: String, _ service: String) throws -> [String] {
      let file = try write(
        """
        foreground = yes
        pid =
        syslog = no
        debug = err
        sslVersion = TLSv1.3
        ciphersuites = TLS_AES_128_GCM_SHA256
        \(service)

        """, to: "\(directory)/\(name).conf")
      return [program, file]
    }
    return Orders(
      edge: try order(
        "edge",
        """
        [edge]
        client = yes
        accept = 127.0.0.1:\(ports.edge)
        connect = 127.0.0.1:\(ports.hub)
        """),
      hub: try order(
        "hub",
        """
        [hub]
        cert = \(directory)/hub.pem
        accept = 127.0.0.1:\(ports.hub)
        connect = 127.0.0.1:\(ports.target)
        """))
  }

  private func nginx(_ program: String, _ ports: PeerPorts, _ directory: String) throws -> Orders {
    try makeCertificate(in: directory)
    func order(_ name: String, _ server: String) throws -> [String] {
      let file = try write(
        """
        load_module \(Self.nginxModule);
        daemon off;
        master_process off;
        pid \(directory)/\(name).pid;
        error_log stderr error;
        events { worker_connections 40000; }
        stream {
          server {
        \(server)
          }
        }

        """, to: "\(directory)/\(name).conf")
      return [program, "-p", directory, "-e", "stderr", "-c", file]
    }
    return Orders(
      edge: try order(
        "edge",
        """
            listen 127.0.0.1:\(ports.edge);
            proxy_pass 127.0.0.1:\(ports.hub);
            proxy_ssl on;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        """),
      hub: try order(
        "hub",
        """
            listen 127.0.0.1:\(ports.hub) ssl;
            ssl_certificate \(directory)/hub.pem;
            ssl_certificate_key \(directory)/key.pem;
            ssl_protocols TLSv1.3;
            ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
            proxy_pass 127.0.0.1:\(ports.target);
            proxy_protocol on;
        """))
  }

  private func ssh(_ program: String, _ ports: PeerPorts, _ directory: String) throws -> Orders {
    let keygen = try Self.require("ssh-keygen")
    for name in ["host", "user"] {
      let words = ["-q", "-t", "ed25519", "-N", "", "-f", "\(directory)/\(name)"]
      guard ChildProcess.output(of: keygen, words) != nil else {
        throw LoadError("ssh-keygen made no key")
      }
    }
    guard let entry = getpwuid(geteuid()), let name = entry.pointee.pw_name else {
      throw LoadError("this user has no name")
    }
    let file = try write(
      """
      ListenAddress 127.0.0.1
      Port \(ports.hub)
      HostKey \(directory)/host
      AuthorizedKeysFile \(directory)/user.pub
      PidFile none
      StrictModes no
      UsePAM no
      PasswordAuthentication no
      KbdInteractiveAuthentication no
      PermitRootLogin yes
      AllowTcpForwarding local
      PermitOpen 127.0.0.1:\(ports.target)

      """, to: "\(directory)/sshd.conf")
    let options = [
      "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
      "ExitOnForwardFailure=yes", "IdentitiesOnly=yes", "LogLevel=ERROR",
    ]
    return Orders(
      edge: [
        try Self.require("ssh"), "-N", "-F", "none", "-i", "\(directory)/user", "-p",
        "\(ports.hub)", "-c", "aes128-gcm@openssh.com", "-L",
        "127.0.0.1:\(ports.edge):127.0.0.1:\(ports.target)",
      ] + options.flatMap { ["-o", $0] } + ["\(String(cString: name))@127.0.0.1"],
      hub: [program, "-D", "-e", "-f", file])
  }

  // MARK: Files

  /// Where Debian has it; its directory is not on everyone's path.
  private static func path(of program: String) -> String? {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    let directories = path.split(separator: ":").map(String.init) + ["/usr/sbin"]
    return directories.map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
  }

  private static func require(_ program: String) throws(LoadError) -> String {
    guard let path = path(of: program) else { throw LoadError("\(program) is not installed") }
    return path
  }

  private func write(_ text: String, to file: String) throws -> String {
    try Data(text.utf8).write(to: URL(filePath: file))
    return file
  }

  /// `key.pem`, and `hub.pem` with certificate and key.
  private func makeCertificate(in directory: String) throws {
    let words =
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench "
      + "-keyout \(directory)/key.pem -out \(directory)/hub.pem"
    guard ChildProcess.output(of: "openssl", words.split(separator: " ").map(String.init)) != nil,
      let key = readSmallFile("\(directory)/key.pem"),
      let certificate = readSmallFile("\(directory)/hub.pem")
    else { throw LoadError("openssl made no certificate") }
    _ = try write(certificate + key, to: "\(directory)/hub.pem")
  }
}

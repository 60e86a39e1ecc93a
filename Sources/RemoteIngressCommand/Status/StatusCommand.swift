// `status`: how a hub or an edge on this machine stands, asked of its admin interface.

import ArgumentParser
import FoundationEssentials
import Glibc
import RIWire
import RemoteIngress

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show how a hub or an edge stands.",
    discussion: """
      It asks the admin interface of a running hub (127.0.0.1:9180) or, where none answers, edge \
      (127.0.0.1:9181). A bearer token comes from --token-file or REMOTEINGRESS_ADMIN_TOKEN.
      """)

  @Option(help: ArgumentHelp("Where the admin interface is.", valueName: "host:port"))
  var admin: String?

  @Option(help: ArgumentHelp("File that holds the bearer token.", valueName: "file"))
  var tokenFile: String?

  @Flag(help: "Print the status as it came, as JSON.")
  var json = false

  @Flag(help: "Show it again every second, with what moves.")
  var watch = false

  func run() throws {
    let clients = try places.map { AdminClient(try endpoint($0), token: try token()) }
    var client = try firstThatAnswers(clients)
    guard watch else { return print(try show(client.status(), before: nil)) }
    var before: StatusSample?
    // A terminal is drawn anew; what else gets one status after the other.
    let prefix = isatty(STDOUT_FILENO) == 1 && !json ? "\u{1B}[H\u{1B}[2J" : ""
    while true {
      do throws(AdminClient.Failure) {
        let sample = try client.status()
        write(prefix + show(sample, before: before) + "\n")
        before = sample
      } catch {
        write(prefix + "\(error)\n")
        client = clients.first { (try? $0.status()) != nil } ?? client
      }
      sleep(1)
    }
  }

  private var places: [String] { admin.map { [$0] } ?? ["127.0.0.1:9180", "127.0.0.1:9181"] }

  private func endpoint(_ text: String) throws -> Endpoint {
    guard let endpoint = Endpoint(text) else {
      throw ConfigurationError(
        origin: .flag("--admin"), key: "", reason: "must be a host and a port, as in host:9180")
    }
    return endpoint
  }

  private func token() throws -> String? {
    guard let tokenFile else { return environmentVariables()["REMOTEINGRESS_ADMIN_TOKEN"] }
    do throws(TextFileError) {
      return String(try TextFile.read(tokenFile).trimmed)
    } catch {
      throw ConfigurationError(origin: .flag("--token-file"), key: "", reason: error.description)
    }
  }

  private func firstThatAnswers(_ clients: [AdminClient]) throws -> AdminClient {
    var failures: [String] = []
    for client in clients {
      do throws(AdminClient.Failure) {
        _ = try client.status()
        return client
      } catch {
        failures.append("\(error)")
      }
    }
    throw CommandFailure(reason: failures.joined(separator: "; "))
  }

  private func show(_ sample: StatusSample, before: StatusSample?) -> String {
    if json { return String(decoding: sample.body, as: UTF8.self) }
    let columns = isatty(STDOUT_FILENO) == 1 ? terminalColumns() : nil
    return sample.report(since: before, columns: columns)
  }

  private func write(_ text: String) {
    let bytes = Array(text.utf8)
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
      }
      if count < 0, errno == EINTR { continue }
      // Whoever read it has gone.
      guard count > 0 else { _exit(0) }
      sent += count
    }
  }

  private func terminalColumns() -> Int? {
    environmentVariables()["COLUMNS"].flatMap { Int($0) }
  }
}

/// A status that was asked for, and when.
struct StatusSample {
  enum Content {
    case hub(HubStatus)
    case edge(EdgeStatus)
    /// Of a version that says it otherwise.
    case unknown
  }

  var body: [UInt8]
  var content: Content
  var time: SuspendingClock.Instant

  init(_ body: [UInt8], at time: SuspendingClock.Instant = SuspendingClock.now) {
    self.body = body
    self.time = time
    let decoder = JSONDecoder()
    let data = Data(body)
    if let hub = try? decoder.decode(HubStatus.self, from: data) {
      content = .hub(hub)
    } else if let edge = try? decoder.decode(EdgeStatus.self, from: data) {
      content = .edge(edge)
    } else {
      content = .unknown
    }
  }
}

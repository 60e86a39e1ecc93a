// The command line: its entry, its exit codes, and the list of what it can do.

import ArgumentParser
import Dispatch
import Glibc
import RemoteIngress
import Synchronization

struct RemoteIngressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remoteingress",
    abstract: "An ingress tunnel: traffic from the Internet reaches a private cluster.",
    discussion: "Exit codes: 0 fine, 1 failed, 2 bad usage or configuration.",
    version: remoteIngressVersion,
    subcommands: [
      HubCommand.self, EdgeCommand.self, TokenCommand.self, DemoCommand.self,
      StatusCommand.self, DoctorCommand.self, VersionCommand.self, EngineCommand.self,
    ])
}

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Print the version.")

  func run() { print(remoteIngressVersion) }
}

/// A command failed in what it set out to do (exit code 1): one line.
struct CommandFailure: Error {
  var reason: String
}

@main
enum Entry {
  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    wipeSecretArguments()
    do {
      var command = try RemoteIngressCommand.parseAsRoot(arguments)
      if let daemon = command as? any DaemonCommand {
        let signals = SignalThread.block()
        try waitFor { try await daemon.run(signals) }
      } else {
        try command.run()
      }
    } catch let error as ConfigurationError {
      end(2, "remoteingress: \(error)")
    } catch let error as CommandFailure {
      end(1, "remoteingress: \(error.reason)")
    } catch {
      let message = RemoteIngressCommand.fullMessage(for: error)
      switch RemoteIngressCommand.exitCode(for: error) {
      case .success:
        print(message)
      case .validationFailure: end(2, message)
      case let code: end(code.rawValue, message)
      }
    }
  }

  /// Runs `body` on other threads while this one waits. An asynchronous `main` would have the first
  /// thread take signals again that were blocked.
  private static func waitFor(_ body: @escaping @Sendable () async throws -> Void) throws {
    let outcome = Mutex<Result<Void, any Error>>(.success(()))
    let done = DispatchSemaphore(value: 0)
    Task {
      do {
        try await body()
      } catch {
        outcome.withLock { $0 = .failure(error) }
      }
      done.signal()
    }
    done.wait()
    try outcome.withLock { $0 }.get()
  }

  private static func end(_ code: Int32, _ message: String) -> Never {
    if !message.isEmpty { StandardError.write(message + "\n") }
    exit(code)
  }
}

/// Whole lines to standard error, each by one call where the kernel takes it.
enum StandardError {
  static func write(_ text: String) {
    let bytes = Array(text.utf8)
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      sent += count
    }
  }
}

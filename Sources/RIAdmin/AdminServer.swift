// The admin HTTP of a hub or an edge (SPEC 8): a page, status, metrics, events, and for a hub the
// list of its edges.

import Glibc
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import RIBase
import RemoteIngress
import Synchronization

/// Why the admin HTTP did not start.
public struct AdminServerError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String
}

/// Serves one hub or edge, on a thread of its own.
///
/// The page itself, `/healthz` and `/readyz` answer anyone who can connect; all else asks for the
/// token if there is one. Changes always do. Without a token only names of this machine are served.
public final class AdminServer: Sendable {
  private typealias HTTPServer = Server<HTTP1Channel>

  private struct Running {
    var server: HTTPServer
    var task: Task<Void, Never>
    var threads: MultiThreadedEventLoopGroup
  }

  private let source: any AdminSource
  private let settings: AdminSettings
  private let limits: AdminLimits
  private let running = Mutex<Running?>(nil)

  /// Nothing happens before `start`.
  public init(
    _ source: any AdminSource, _ settings: AdminSettings, limits: AdminLimits = AdminLimits()
  ) {
    self.source = source
    self.settings = settings
    self.limits = limits
  }

  /// Starts to listen, and returns the port. To be called once.
  @discardableResult
  public func start() async throws(AdminServerError) -> Port {
    guard settings.isLoopback || settings.token != nil else {
      throw AdminServerError(description: "\(settings.host) is not loopback: it needs a token")
    }
    let threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let (outcomes, outcome) = AsyncStream.makeStream(of: Result<Port, AdminServerError>.self)
    let server = server(on: threads) { channel in
      outcome.yield(.success(Port(channel.localAddress?.port ?? 0)))
    }
    let address = settings.address
    let task = Task {
      do {
        try await server.run()
      } catch {
        let why = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
        outcome.yield(
          .failure(AdminServerError(description: "cannot listen on \(address): \(why)")))
      }
      outcome.finish()
    }
    running.withLock { $0 = Running(server: server, task: task, threads: threads) }
    for await result in outcomes {
      if case .failure = result { await stop() }
      return try result.get()
    }
    throw AdminServerError(description: "stopped")
  }

  /// Ends all connections, and returns when nothing is left.
  public func stop() async {
    let ended = running.withLock { running in
      defer { running = nil }
      return running
    }
    guard let ended else { return }
    // Streams of events end at once, other answers have a moment. Not by cancelling alone: what was
    // just accepted has to be taken by somebody.
    let closing = Task { try? await ended.server.shutdownGracefully() }
    let limit = Task {
      try await Task.sleep(for: .seconds(limits.stopSeconds))
      ended.task.cancel()
    }
    await ended.task.value
    limit.cancel()
    await closing.value
    try? await ended.threads.shutdownGracefully()
  }

  private func server(
    on threads: MultiThreadedEventLoopGroup,
    whenListening: @escaping @Sendable (any Channel) -> Void
  ) -> HTTPServer {
    // What clients do wrong is told to them, and not to the log.
    let logger = Logger(label: "admin") { _ in SwiftLogNoOpLogHandler() }
    let responder = AdminResponder(
      source, AdminAccess(token: settings.token, isLoopback: settings.isLoopback), limits)
    let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
      maxHeaderFieldSize: limits.headerBytesMax, maxHeaderListSize: limits.headerBytesMax,
      maxHeaderFieldCount: limits.headersMax)
    let limits = limits
    let channel = HTTP1Channel(
      responder: { request, writer, channel in
        let response = await responder.respond(to: request, on: channel)
        try await writer.write(response: response.head, body: response.body)
      },
      configuration: HTTP1Channel.Configuration(
        additionalChannelHandlers: [ConnectionDeadlines(limits)], idleTimeout: nil,
        httpDecoderConfiguration: decoder))
    // The name might mean another address here.
    let host = settings.host == "localhost" ? "127.0.0.1" : settings.host
    return Server(
      childChannelSetup: channel,
      configuration: ServerConfiguration(
        address: .hostname(host, port: Int(settings.port)), backlog: limits.connectionsMax,
        availableConnectionsDelegate: MaximumAvailableConnections(
          limits.connectionsMax, logger: logger)),
      onServerRunning: { whenListening($0) }, eventLoopGroup: threads, logger: logger)
  }
}

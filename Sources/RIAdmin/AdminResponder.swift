// What each path answers (SPEC 8).

import HTTPTypes
import HummingbirdCore
import NIOCore
import RIBase
import RIWire
import RemoteIngress

/// Answers requests. Every path asks `access` before it does anything.
struct AdminResponder: Sendable {
  let source: any AdminSource
  let cache: StatusCache
  let access: AdminAccess
  let limits: AdminLimits
  let seats: EventSeats

  init(_ source: any AdminSource, _ access: AdminAccess, _ limits: AdminLimits) {
    self.source = source
    self.access = access
    self.limits = limits
    cache = StatusCache(source, maxAge: .milliseconds(limits.statusMaxAgeMilliseconds))
    seats = EventSeats(limits.eventStreamsMax)
  }

  func respond(to request: Request, on channel: any Channel) async -> Response {
    guard let route = AdminRoute(path: request.uri.path) else {
      return AdminAnswer.error(.notFound, "there is nothing at this path")
    }
    switch access.verdict(
      for: route.resource, host: request.head.authority,
      authorization: request.headers[.authorization])
    {
    case .granted: break
    case .unauthorized:
      return AdminAnswer.error(
        .unauthorized, "a bearer token is needed",
        [.wwwAuthenticate: #"Bearer realm="remoteingress""#])
    case .forbidden(let why): return AdminAnswer.error(.forbidden, why)
    }
    let method = request.method == .head ? .get : request.method
    guard method == route.method else {
      return AdminAnswer.error(
        .methodNotAllowed, "this path takes \(route.method.rawValue)",
        [.allow: route.method == .get ? "GET, HEAD" : route.method.rawValue])
    }
    let response = await answer(route, request, channel)
    return request.method == .head ? response.createHeadResponse() : response
  }

  private func answer(
    _ route: AdminRoute, _ request: Request, _ channel: any Channel
  ) async -> Response {
    switch route {
    case .file(let file): return AdminAnswer.bytes(file.bytes, file.type)
    case .health: return AdminAnswer.text("ok\n")
    case .readiness:
      return await cache.snapshot().isReady
        ? AdminAnswer.text("ready\n")
        : AdminAnswer.text("not ready\n", status: .serviceUnavailable)
    case .status: return AdminAnswer.json(await cache.snapshot().json)
    case .metrics:
      let text = Metrics(of: await cache.snapshot(), limits: limits).text
      return AdminAnswer.text(text, "text/plain; version=0.0.4; charset=utf-8")
    case .events: return events(request, channel)
    case .edges: return await replaceEdges(request)
    }
  }

  /// `?streams=0` leaves out the events of single streams.
  private func events(_ request: Request, _ channel: any Channel) -> Response {
    guard let seat = seats.take() else {
      return AdminAnswer.error(
        .serviceUnavailable, "\(limits.eventStreamsMax) listen to events already")
    }
    let wantsStreams = request.uri.queryParameters["streams"].map { $0 != "0" } ?? true
    let subscription = source.subscribe(withStreams: wantsStreams)
    let stream = EventStream(limits: limits)
    return Response(
      status: .ok, headers: AdminAnswer.head("text/event-stream"),
      body: ResponseBody { writer in
        defer { withExtendedLifetime(seat) {} }
        try await stream.run(subscription, on: channel, to: &writer)
      })
  }

  private func replaceEdges(_ request: Request) async -> Response {
    let body: ByteBuffer
    do {
      body = try await request.body.collect(upTo: limits.bodyBytesMax)
    } catch is NIOTooManyBytesError {
      return AdminAnswer.error(
        .contentTooLarge, "the list may have \(limits.bodyBytesMax >> 20) MiB")
    } catch {
      return AdminAnswer.error(.badRequest, "the list did not come to its end")
    }
    do throws(AllowedEdgesError) {
      let edges = try AllowedEdge.list(json: body.readableBytesView)
      return await replaceEdges(edges)
    } catch {
      return AdminAnswer.json(error.json, status: .badRequest)
    }
  }

  private func replaceEdges(_ edges: [AllowedEdge]) async -> Response {
    do throws(AdminRefusal) {
      try await source.replaceAllowedEdges(edges)
      return AdminAnswer.json(.object(["edges": .integer(edges.count)]))
    } catch {
      switch error {
      case .wrong(let reason): return AdminAnswer.error(.badRequest, reason)
      case .unavailable(let reason): return AdminAnswer.error(.serviceUnavailable, reason)
      case .noHub: return AdminAnswer.error(.notFound, "an edge has no list of edges")
      }
    }
  }
}

/// What there is.
enum AdminRoute {
  /// A file of the page.
  case file(PageFile)
  case health, readiness, status, metrics, events, edges

  init?(path: String) {
    switch path {
    case "/healthz": self = .health
    case "/readyz": self = .readiness
    case "/status": self = .status
    case "/metrics": self = .metrics
    case "/events": self = .events
    case "/edges": self = .edges
    default:
      guard let file = PageFile.all[path] else { return nil }
      self = .file(file)
    }
  }

  var resource: AdminResource {
    switch self {
    case .file, .health, .readiness: .open
    case .status, .metrics, .events: .reading
    case .edges: .changing
    }
  }

  var method: HTTPRequest.Method {
    if case .edges = self { .put } else { .get }
  }
}

extension AllowedEdgesError {
  /// With the parts, for whoever wrote the list by a program.
  fileprivate var json: JSONValue {
    .object([
      "error": .string(description), "edge": edge.map { .string($0) } ?? .null,
      "entry": .string(entry), "reason": .string(reason),
    ])
  }
}

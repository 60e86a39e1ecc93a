// What the admin HTTP takes and holds at most, each with its reason.

/// Bounds of the admin HTTP.
public struct AdminLimits: Sendable {
  /// A scraper, a few browsers with a few connections each. More wait in the kernel's backlog.
  public var connectionsMax = 64
  /// Of those, how many may listen to events: the others stay free for questions.
  public var eventStreamsMax = 16
  /// A list of tens of thousands of edges.
  public var bodyBytesMax = 5 << 20
  /// A browser's headers take 2 KiB.
  public var headerBytesMax = 16 << 10
  public var headersMax = 100
  /// From a connection or the end of an answer to the end of the next request.
  public var requestSeconds: Int64 = 30
  /// An answer of which nothing is read for so long has no reader.
  public var unreadSeconds: Int64 = 60
  /// Answers that are under way have so long when the server stops.
  public var stopSeconds: Int64 = 2
  /// Proxies give up silent connections after 30 s or more.
  public var heartbeatSeconds: Int64 = 15
  /// Events that wait for a slow reader; then the oldest go.
  public var eventsQueuedMax = 256
  /// Bytes in the kernel for a reader that does not read.
  public var sendBufferBytes = 256 << 10
  /// Several questions at once are answered from one look.
  public var statusMaxAgeMilliseconds = 250
  /// Edges that have series of their own in the metrics.
  public var edgesListedMax = 500

  public init() {}
}

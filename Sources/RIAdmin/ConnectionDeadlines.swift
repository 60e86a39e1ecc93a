// Ends connections that take too long to ask, or do not read their answer.

import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Watches one connection's requests and answers.
///
/// A request must be whole `requestSeconds` after the connection came or the former answer ended,
/// however the bytes drip in. Of an answer something must be taken every `unreadSeconds`. A stream
/// of events, which has no end of its own, ends when its listener has closed its side or the server
/// stops.
final class ConnectionDeadlines: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let limits: AdminLimits
  private var requestDeadline: Scheduled<Void>?
  private var readCheck: RepeatedTask?
  /// Parts of answers that the socket has not taken yet, and since when none was.
  private var writesPending = 0
  private var stillSince = NIODeadline.now()
  /// The answer under way is a stream of events.
  private var isEventStream = false

  init(_ limits: AdminLimits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { begin(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    begin(context)
    context.fireChannelActive()
  }

  private func begin(_ context: ChannelHandlerContext) {
    guard readCheck == nil else { return }
    context.channel.setOption(.socketOption(.so_sndbuf), value: numericCast(limits.sendBufferBytes))
      .whenFailure { _ in }
    awaitRequest(context)
    let channel = context.channel
    let interval = TimeAmount.seconds(max(1, limits.unreadSeconds / 4))
    let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
    readCheck = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
      _ in
      if handler.value.isUnread { channel.close(promise: nil) }
    }
  }

  private var isUnread: Bool {
    writesPending > 0 && NIODeadline.now() - stillSince > .seconds(limits.unreadSeconds)
  }

  private func awaitRequest(_ context: ChannelHandlerContext) {
    let channel = context.channel
    requestDeadline?.cancel()
    requestDeadline = context.eventLoop.scheduleTask(in: .seconds(limits.requestSeconds)) {
      channel.close(promise: nil)
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .end = unwrapInboundIn(data) {
      requestDeadline?.cancel()
      requestDeadline = nil
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head): isEventStream = head.headerFields[.contentType] == "text/event-stream"
    case .body: break
    case .end:
      isEventStream = false
      awaitRequest(context)
    }
    if writesPending == 0 { stillSince = .now() }
    writesPending += 1
    let written = promise ?? context.eventLoop.makePromise()
    let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
    written.futureResult.whenComplete { _ in
      handler.value.writesPending -= 1
      handler.value.stillSince = .now()
    }
    context.write(data, promise: written)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    let isLast = event is ChannelShouldQuiesceEvent || event as? ChannelEvent == .inputClosed
    if isLast, isEventStream { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) { end() }

  private func end() {
    requestDeadline?.cancel()
    readCheck?.cancel()
    requestDeadline = nil
    readCheck = nil
  }
}

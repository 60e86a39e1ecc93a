// One client address and port that talks to one UDP port, as edge and hub know it.

import RIBase
import RITunnel
import RIWire

/// A UDP session. Trivial: it lives in the slab of its `UDPSessions`.
public struct UDPSession {
  /// The tunnel and its session.
  public var link: SlotID
  public var stream: StreamRef
  /// The client, and the address of the edge that it speaks to.
  public let client: SocketAddress
  public let destination: SocketAddress
  /// Edge: the listener that the client speaks to.
  public var listener = SlotID.none
  /// Hub: the descriptor of the socket towards the target; -1 until the target's address is known.
  public var socket: Int32 = -1
  /// Hub: which datagrams to the target carry a header.
  public var proxyHeader = UDPProxyHeader.none
  /// Hub: the header that goes in front of the first datagram is yet to be sent.
  public internal(set) var isHeaderDue = false
  /// Hub: the target's port.
  public var targetPort: Port = 0
  /// The last datagram, either way.
  public internal(set) var lastActive: Instant

  /// Whether anything came back: whoever is answered is no forged address.
  public internal(set) var isAnswered = false
  /// When its place in the lists was last renewed; the lists are kept by the second.
  var listedAt: Instant
  var source = SlotID.none
  var hash: UInt32 = 0
  /// Whether its place is one of those that the shards share.
  var isShared = false
  /// Places among all sessions and among those of its source.
  var all = SessionLink()
  var own = SessionLink()

  public init(
    link: SlotID, stream: StreamRef, client: SocketAddress, destination: SocketAddress, now: Instant
  ) {
    self.link = link
    self.stream = stream
    self.client = client
    self.destination = destination
    lastActive = now
    listedAt = now
  }
}

/// A session's place in a list.
struct SessionLink {
  var next = SlotID.none
  var previous = SlotID.none
}

/// Sessions in the order of their last activity, the longest idle first. O(1) for every operation.
struct SessionList {
  /// Which of a session's links it runs through.
  let isOwn: Bool
  private(set) var first = SlotID.none
  private var last = SlotID.none

  init(isOwn: Bool) { self.isOwn = isOwn }

  mutating func append(_ id: SlotID, in sessions: Slab<UDPSession>) {
    sessions[id][link: isOwn] = SessionLink(next: .none, previous: last)
    if last == .none { first = id } else { sessions[last][link: isOwn].next = id }
    last = id
  }

  /// The session is in this list.
  mutating func remove(_ id: SlotID, in sessions: Slab<UDPSession>) {
    let link = sessions[id][link: isOwn]
    if link.previous == .none {
      first = link.next
    } else {
      sessions[link.previous][link: isOwn].next = link.next
    }
    if link.next == .none {
      last = link.previous
    } else {
      sessions[link.next][link: isOwn].previous = link.previous
    }
  }
}

extension UDPSession {
  /// What a target is told.
  public var header: ProxyHeader { ProxyHeader(source: client, destination: destination) }

  fileprivate subscript(link isOwn: Bool) -> SessionLink {
    @inline(__always)
    get { isOwn ? own : all }
    @inline(__always)
    set { if isOwn { own = newValue } else { all = newValue } }
  }
}

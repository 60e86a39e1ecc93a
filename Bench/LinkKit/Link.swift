// A link that programs can use: two network namespaces, a TUN device in each, and the emulator
// between them.
//
//   namespace a                        this process                        namespace b
//   10.77.0.1, fd77::1 ── TUN link0 ── delay, rate, loss … ── TUN link0 ── 10.77.0.2, fd77::2

import CLinkIO
import Glibc
import LoadKit

/// What a link is made of. In JSON absent keys have their defaults.
public struct LinkSetup: Codable, Equatable, Sendable {
  public var conditions = LinkConditions()
  /// Bytes of an IP packet, 1,280 (what IPv6 needs) to 65,521.
  public var mtu = 1500
  /// Congestion control of the routes over the link; nil leaves the system's.
  public var congestion: CongestionControl?
  /// How far TCP's own tuning may take its buffers: 1 MiB to 1 GiB.
  public var tcpBufferBytes = 64 << 20
  /// Whether TCP may hand over up to 64 KiB as one packet, as it does to a network card. Loss and
  /// order then go by those.
  public var isOffloaded = false

  public init() {}

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    func take<Value: Decodable>(_ key: CodingKeys, _ value: inout Value) throws {
      if let found = try values.decodeIfPresent(Value.self, forKey: key) { value = found }
    }
    try take(.conditions, &conditions)
    try take(.mtu, &mtu)
    congestion = try values.decodeIfPresent(CongestionControl.self, forKey: .congestion)
    try take(.tcpBufferBytes, &tcpBufferBytes)
    try take(.isOffloaded, &isOffloaded)
  }

  /// Throws what is out of range.
  public func check() throws(LinkError) {
    try conditions.check()
    guard (1280...65_521).contains(mtu) else { throw LinkError("mtu: 1280 to 65521") }
    guard (1 << 20...1 << 30).contains(tcpBufferBytes) else {
      throw LinkError("tcp buffers: 1 MB to 1024 MB")
    }
    // The name becomes a word of an `ip` command.
    guard congestion?.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) ?? true else {
      throw LinkError("congestion: the name of a congestion control")
    }
  }
}

/// Where the ends of a link are.
public struct LinkDescription: Codable, Equatable, Sendable {
  public struct End: Codable, Equatable, Sendable {
    public var namespace: String
    public var address4: String
    public var address6: String
  }
  public var a: End
  public var b: End
}

/// What a link has done when it ends.
public struct LinkSummary: Codable, Equatable, Sendable {
  public var aToB: LinkCounters
  public var bToA: LinkCounters
  /// Of the process that carried it: a measure of what the emulation itself takes.
  public var cpuSeconds: Double
}

/// A link. Needs root, /dev/net/tun and iproute2. Its namespaces go with it.
public final class Link {
  private static let device = "link0"
  /// Packets that a device may hold before this process takes them: what a burst of 24 MB needs.
  private static let devicePackets = 16_384
  /// virtio_net_hdr.
  private static let offloadPrefixBytes = 10

  public let description: LinkDescription
  private let setup: LinkSetup
  private let namespaces: (a: NetworkNamespace, b: NetworkNamespace)
  private let devices: (a: Int32, b: Int32)

  public init(_ setup: LinkSetup) throws {
    try setup.check()
    self.setup = setup
    guard geteuid() == 0 else { throw LinkError("a link needs root") }
    namespaces = (try NetworkNamespace(end: "a"), try NetworkNamespace(end: "b"))
    description = LinkDescription(
      a: .init(namespace: namespaces.a.name, address4: "10.77.0.1", address6: "fd77::1"),
      b: .init(namespace: namespaces.b.name, address4: "10.77.0.2", address6: "fd77::2"))
    let a = try Self.prepare(namespaces.a, own: description.a, other: description.b, setup)
    do {
      devices = (a, try Self.prepare(namespaces.b, own: description.b, other: description.a, setup))
    } catch {
      close(a)
      throw error
    }
  }

  deinit {
    close(devices.a)
    close(devices.b)
  }

  /// Carries packets on this thread until `isOver` says so, which is asked whenever the descriptor
  /// `stop` is readable.
  public func carry(stop: Int32, until isOver: () -> Bool) -> LinkSummary {
    let prefixBytes = setup.isOffloaded ? Self.offloadPrefixBytes : 0
    var emulator = LinkEmulator(
      a: devices.a, b: devices.b, stop: stop, setup.conditions,
      packetBytesMax: (setup.isOffloaded ? 65_535 : setup.mtu) + prefixBytes,
      prefixBytes: prefixBytes)
    // A network is not slowed down by the load of the machines at its ends. The kernel leaves the
    // rest of the machine a twentieth of the core (sched(7)); where it refuses, this one waits its
    // turn and counts what is overdue.
    var priority = sched_param(sched_priority: 1)
    sched_setscheduler(0, SCHED_RR, &priority)
    emulator.run(until: isOver)
    let (aToB, bToA) = emulator.counters
    let time = processCPUNanoseconds(getpid()) ?? 0
    return LinkSummary(aToB: aToB, bToA: bToA, cpuSeconds: Double(time) / 1e9)
  }

  /// The namespace's TUN device, addressed and up.
  private static func prepare(
    _ namespace: NetworkNamespace, own: LinkDescription.End, other: LinkDescription.End,
    _ setup: LinkSetup
  ) throws -> Int32 {
    let descriptor = try namespace.within {
      try raiseBuffers(setup.tcpBufferBytes)
      let descriptor = link_open_tun(device, setup.isOffloaded ? 1 : 0)
      guard descriptor >= 0 else { throw LinkError.system("TUN device") }
      return descriptor
    }
    let congestion = setup.congestion.map { " congctl \($0)" } ?? ""
    do {
      try namespace.configure([
        "link set lo up",
        "link set \(device) mtu \(setup.mtu) txqueuelen \(devicePackets) up",
        "address add \(own.address4)/32 dev \(device)",
        "address add \(own.address6)/128 dev \(device) nodad",
        "route add \(other.address4)/32 dev \(device) src \(own.address4)\(congestion)",
        "route add \(other.address6)/128 dev \(device) src \(own.address6)\(congestion)",
      ])
    } catch {
      close(descriptor)
      throw error
    }
    // Local connections at either end are not what is measured, and bbr would pace them. A kernel
    // without cubic keeps its default.
    try? namespace.configure(
      ["127.0.0.0/8", "127.0.0.1"].map {
        "route replace local \($0) dev lo table local proto kernel scope host src 127.0.0.1 "
          + "congctl cubic"
      })
    return descriptor
  }

  /// In the calling thread's namespace: buffers as large as a long fat path needs, and nothing
  /// remembered from one connection to the next.
  private static func raiseBuffers(_ bytes: Int) throws(LinkError) {
    try write("4096 131072 \(bytes)", to: "tcp_rmem")
    try write("4096 16384 \(bytes)", to: "tcp_wmem")
    try write("1", to: "tcp_no_metrics_save")
  }

  private static func write(_ text: String, to setting: String) throws(LinkError) {
    let file = open("/proc/sys/net/ipv4/\(setting)", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw .system(setting) }
    defer { close(file) }
    guard Glibc.write(file, text, text.utf8.count) == text.utf8.count else {
      throw .system(setting)
    }
  }
}

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
    /// The kernel thread that receives here: that does what a network card's interrupt does, TCP
    /// included. Nil where the kernel has none; then the link's process does it.
    public var receiver: Int32?
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

  public private(set) var description: LinkDescription
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
    let a = try Self.openDevice(namespaces.a, setup)
    do {
      devices = (a, try Self.openDevice(namespaces.b, setup))
    } catch {
      close(a)
      throw error
    }
    description.a.receiver = namespaces.a.startReceiver()
    description.b.receiver = namespaces.b.startReceiver()
    try configure(namespaces.a, own: description.a, other: description.b)
    try configure(namespaces.b, own: description.b, other: description.a)
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
    // A network is not slowed down by the load of the machines at its ends, so this thread goes
    // before everything else, and what is due leaves before TCP looks at what has arrived. One core
    // for both: the receivers then find whole batches, and the rest of the machine keeps the
    // other cores. Where the kernel refuses, this thread waits its turn and counts what is overdue.
    let core = link_current_core()
    link_schedule(0, 2, core)
    for receiver in [description.a.receiver, description.b.receiver].compactMap(\.self) {
      link_schedule(receiver, 1, core)
    }
    emulator.run(until: isOver)
    let (aToB, bToA) = emulator.counters
    let time = processCPUNanoseconds(getpid()) ?? 0
    return LinkSummary(aToB: aToB, bToA: bToA, cpuSeconds: Double(time) / 1e9)
  }

  /// A TUN device in the namespace, which still has its first name.
  private static func openDevice(
    _ namespace: NetworkNamespace, _ setup: LinkSetup
  ) throws -> Int32 {
    try namespace.within {
      try raiseBuffers(setup.tcpBufferBytes)
      let descriptor = link_open_tun(namespace.deviceName, setup.isOffloaded ? 1 : 0)
      guard descriptor >= 0 else { throw LinkError.system("TUN device") }
      return descriptor
    }
  }

  private func configure(
    _ namespace: NetworkNamespace, own: LinkDescription.End, other: LinkDescription.End
  ) throws {
    let device = Self.device
    let congestion = setup.congestion.map { " congctl \($0)" } ?? ""
    try namespace.configure([
      "link set lo up",
      "link set \(namespace.deviceName) name \(device) addrgenmode none",
      "link set \(device) mtu \(setup.mtu) txqueuelen \(Self.devicePackets) up",
      "address add \(own.address4)/32 dev \(device)",
      "address add \(own.address6)/128 dev \(device) nodad",
      "route add \(other.address4)/32 dev \(device) src \(own.address4)\(congestion)",
      "route add \(other.address6)/128 dev \(device) src \(own.address6)\(congestion)",
    ])
    // Local connections at either end are not what is measured, and bbr would pace them. A kernel
    // without cubic keeps its default.
    try? namespace.configure(
      ["127.0.0.0/8", "127.0.0.1"].map {
        "route replace local \($0) dev lo table local proto kernel scope host src 127.0.0.1 "
          + "congctl cubic"
      })
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

// What `doctor` looks at: the kernel's interfaces, the process's rights and limits, the network's
// settings. Nothing is changed.

import Glibc
import RIBase
import RIFirewall
import RIRing
import RIWire
import RemoteIngress

enum Examination {
  static func all() -> [Finding] {
    [machine(), ring(), firewall()] + capabilities() + [descriptors(), lockedMemory()]
      + socketBuffers() + [backlog(), congestionControl(), ipv6(), stateDirectory()]
  }

  private static func machine() -> Finding {
    let release = setting("kernel/osrelease") ?? "of unknown version"
    return Finding(.fine, "machine", "Linux \(release), \(onlineProcessors()) processors")
  }

  private static func ring() -> Finding {
    let subject = "io_uring"
    let preference: RingPreference
    do throws(RingError) {
      preference = try .fromEnvironment()
    } catch {
      return Finding(.missing, subject, "REMOTEINGRESS_RING names no ring: auto, uring or epoll")
    }
    if preference == .epoll {
      return Finding(.warning, subject, "not used: REMOTEINGRESS_RING=epoll")
    }
    switch UringFeatures.probed {
    case .success(let features):
      let missing = UringFeatures.all.filter { !features[keyPath: $0.path] }.map(\.name)
        .filter { $0 != "cooperative task run" || !features.deferredTaskRun }
      let text =
        missing.isEmpty
        ? "all that is used" : "works; without \(missing.joined(separator: ", ")) (newer kernels)"
      return Finding(.fine, subject, text)
    case .failure(let error):
      let verdict: Finding.Verdict = preference == .uring ? .missing : .warning
      return Finding(verdict, subject, "\(error); epoll takes its place, at more CPU for each byte")
    }
  }

  private static func firewall() -> Finding {
    do throws(NFTablesError) {
      try FirewallSession().probe()
      return Finding(.fine, "nftables", "an edge can apply its hub's firewall")
    } catch {
      return Finding(.warning, "nftables", "an edge runs without a firewall: \(error)")
    }
  }

  // MARK: Rights

  private static func capabilities() -> [Finding] {
    let text = (try? TextFile.read("/proc/self/status")) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("CapEff:") } ?? ""
    let mask = line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
    // Numbers of capabilities(7).
    let firstFree = setting("net/ipv4/ip_unprivileged_port_start").flatMap { Int($0) } ?? 1_024
    let bindsLow = mask >> 10 & 1 == 1 || firstFree <= 1
    let filters = mask >> 12 & 1 == 1
    return [
      bindsLow
        ? Finding(.fine, "low ports", "can be listened on")
        : Finding(
          .warning, "low ports",
          "those below \(firstFree) cannot be listened on: CAP_NET_BIND_SERVICE is missing"),
      filters
        ? Finding(.fine, "network administration", "allowed (CAP_NET_ADMIN)")
        : Finding(
          .warning, "network administration",
          "CAP_NET_ADMIN is missing: an edge has no firewall, socket buffers keep to the limits"),
    ]
  }

  private static func descriptors() -> Finding {
    let (soft, hard) = limit(RLIMIT_NOFILE)
    // The engine raises its own to the hard limit. A stream takes one at each end.
    let text = "\(hard) open files at most (\(soft) before it is raised)"
    if hard < 1_024 { return Finding(.missing, "open files", text + ": too few to run") }
    if hard < 65_536 {
      return Finding(.warning, "open files", text + ": as many streams, less some")
    }
    return Finding(.fine, "open files", text)
  }

  private static func lockedMemory() -> Finding {
    let (_, hard) = limit(__RLIMIT_MEMLOCK)
    let amount = hard == UInt64.max ? "without limit" : "up to \(bytes(hard))"
    // Kernels before 5.12 count rings against it.
    return Finding(
      hard < 8 << 20 ? .warning : .fine, "locked memory",
      amount + (hard < 8 << 20 ? ": io_uring may not start on old kernels" : ""))
  }

  private static func limit(_ resource: __rlimit_resource) -> (soft: UInt64, hard: UInt64) {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(resource.rawValue), &limit)
    return (UInt64(limit.rlim_cur), UInt64(limit.rlim_max))
  }

  // MARK: Network

  private static func socketBuffers() -> [Finding] {
    ["rmem_max", "wmem_max"].map { name in
      let wanted = Limits.datagramPortBufferBytes
      guard let value = setting("net/core/\(name)").flatMap({ Int($0) }) else {
        return Finding(.warning, "net.core.\(name)", "cannot be read")
      }
      return value >= wanted
        ? Finding(.fine, "net.core.\(name)", "\(value)")
        : Finding(
          .warning, "net.core.\(name)",
          "\(value): UDP ports would have \(wanted), to lose less in bursts")
    }
  }

  private static func backlog() -> Finding {
    let value = setting("net/core/somaxconn").flatMap { Int($0) } ?? 0
    return value >= Limits.listenBacklog
      ? Finding(.fine, "net.core.somaxconn", "\(value)")
      : Finding(
        .warning, "net.core.somaxconn",
        "\(value): \(Limits.listenBacklog) clients would find room at once")
  }

  private static func congestionControl() -> Finding {
    let subject = "congestion control"
    let current = setting("net/ipv4/tcp_congestion_control") ?? "unknown"
    let known = setting("net/ipv4/tcp_available_congestion_control") ?? ""
    if current == "bbr" { return Finding(.fine, subject, current) }
    let advice =
      known.split(separator: " ").contains("bbr") ? "bbr is there" : "bbr can be loaded (tcp_bbr)"
    return Finding(
      .fine, subject, "\(current); \(advice), which does better on long paths with loss")
  }

  private static func ipv6() -> Finding {
    let isOff = setting("net/ipv6/conf/all/disable_ipv6") != "0"
    return Finding(.fine, "IPv6", isOff ? "is off: IPv4 only" : "is on")
  }

  // MARK: Files

  private static func stateDirectory() -> Finding {
    let subject = "state directory"
    guard
      let path = ConfigurationSource(environment: environmentVariables()).defaultStateDirectory
    else { return Finding(.warning, subject, "there is none: name one by stateDir") }
    // It is made at the first start.
    var place = path[...]
    while access(String(place), F_OK) != 0, let slash = place.lastIndex(of: "/"), !place.isEmpty {
      place = slash == place.startIndex ? "/" : place[..<slash]
    }
    return access(String(place), W_OK) == 0
      ? Finding(.fine, subject, path)
      : Finding(
        .warning, subject,
        "\(quoted(path)) cannot be written: a hub's certificate would be another at each start")
  }

  /// A line of a file below /proc/sys.
  private static func setting(_ path: String) -> String? {
    (try? TextFile.read("/proc/sys/\(path)")).map { String($0.trimmed) }
  }
}

// The cases: workloads from Profiles/load run through tunnels and rings, and micro cases.

import Glibc
import LoadKit

/// A workload and the systems that it compares.
struct LoadCase {
  var name: String
  var workload: Workload
  /// What runs unless systems are named.
  var systems: [System]
  /// What may be named.
  var systemsAllowed: [System]
}

enum BenchCase {
  case load(LoadCase)
  case flow(FlowCase)
  case datagram(DatagramCase)
  case micro(MicroCase)
  case link(LinkCase)

  var name: String {
    switch self {
    case .load(let load): load.name
    case .flow(let flow): flow.name
    case .datagram(let item): item.name
    case .micro(let micro): micro.name
    case .link(let link): link.name
    }
  }

  /// The file that it comes from, where that holds several cases.
  var family: String? {
    switch self {
    case .load(let load): load.workload.family
    case .flow(let flow): flow.workload.family
    case .datagram, .micro, .link: nil
    }
  }

  var about: String {
    switch self {
    case .load(let load): "\(load.workload.about): \(names(load.systems))"
    case .flow(let flow): "\(flow.workload.about): \(names(flow.systems))"
    case .datagram(let item): "\(item.workload.about): \(names(System.datagrams))"
    case .micro(let micro): micro.about
    case .link(let link): "\(link.workload.about): \(names(System.links))"
    }
  }

  private func names(_ systems: [System]) -> String {
    systems.map(\.rawValue).joined(separator: ", ")
  }

  /// How many runs a round has; none for what is over at once.
  func systemCount(_ plan: RoundPlan, _ links: LinkPlan) -> Int {
    switch self {
    case .load(let load): plan.systems(for: load).count
    case .flow(let flow): plan.systems(for: flow).count
    case .datagram(let item): plan.systems(for: item).count
    case .micro: 0
    case .link: links.systemsTakingPart.count
    }
  }
}

/// All cases, in the groups `tunnel`, `ring`, `flow`, `scale`, `udp`, `micro` and `link`.
struct Catalogue {
  /// Workloads that are also run over a relay in the clear, ring against ring.
  static let ringWorkloads = ["bulk-down-1", "bulk-down-16", "rr-64", "crr-32"]

  /// Groups that run only when they are named: they need root, or much time.
  static let groupsOnRequest = ["scale", "link"]

  private var groups: [(name: String, cases: [BenchCase])]

  /// The package's directory: the nearest one above the binary, or above the working directory,
  /// that holds `Profiles/load`.
  static let root: String? = {
    for start in [realPath("/proc/self/exe"), realPath(".")] {
      var path = start ?? ""
      while !path.isEmpty {
        if access("\(path)/Profiles/load", R_OK) == 0 { return path }
        path = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
      }
    }
    return nil
  }()

  static func load() throws(LoadError) -> Catalogue {
    guard let root else {
      throw LoadError("no Profiles/load above the binary or the working directory")
    }
    let workloads = try readWorkloads("\(root)/Profiles/load").flatMap(\.members)
    func loads(_ prefix: String, _ systems: [System], _ allowed: [System], _ chosen: [Workload])
      -> [BenchCase]
    {
      chosen.map {
        .load(
          LoadCase(
            name: prefix + $0.name, workload: $0, systems: systems, systemsAllowed: allowed))
      }
    }
    let (plain, swept) = (
      workloads.filter { $0.isPlain && $0.family == nil },
      workloads.filter { $0.isPlain && $0.family != nil }
    )
    let allTunnels = System.tunnels + [.oursUringPlain] + System.peers
    let tunnels = loads("", System.tunnels, allTunnels, plain)
    let scale =
      loads("", System.tunnels, allTunnels, swept.filter { $0.shards == nil })
      + loads("", System.sharded, System.sharded, swept.filter { $0.shards != nil })
    let rings = loads(
      "ring-", System.rings, System.rings + [.direct],
      workloads.filter { ringWorkloads.contains($0.name) })
    var flows: [BenchCase] = []
    for workload in workloads {
      if let flow = try FlowCase(workload, among: workloads) { flows.append(.flow(flow)) }
    }
    let datagrams = try DatagramCase.read("\(root)/Profiles/datagrams").map(BenchCase.datagram)
    let micros = MicroCase.all.map(BenchCase.micro)
    let links = try LinkCase.read("\(root)/Profiles/link").map(BenchCase.link)
    return Catalogue(groups: [
      ("tunnel", tunnels), ("ring", rings), ("flow", flows), ("scale", scale),
      ("udp", datagrams), ("micro", micros), ("link", links),
    ])
  }

  /// The cases of these names, families or groups, each once; for none all that need neither root
  /// nor much time.
  func select(_ names: [String]) throws(LoadError) -> [BenchCase] {
    let cases = groups.flatMap(\.cases)
    let known = Set(groups.map(\.name) + cases.map(\.name) + cases.compactMap(\.family))
    for name in names where !known.contains(name) {
      throw LoadError("no case \(name); see ri-bench --list")
    }
    return groups.flatMap { group in
      group.cases.filter { item in
        guard !names.isEmpty else { return !Self.groupsOnRequest.contains(group.name) }
        return [group.name, item.name, item.family].contains { $0.map(names.contains) ?? false }
      }
    }
  }

  func listing() -> String {
    var table = Table(["group", "case", "about"])
    for group in groups {
      table.rows += group.cases.map { [group.name, $0.name, $0.about] }
    }
    return table.rendered()
  }

  private static func readWorkloads(_ directory: String) throws(LoadError) -> [Workload] {
    var workloads: [Workload] = []
    for (name, text) in try readJSONFiles(directory) {
      do {
        workloads.append(try Workload(json: text))
      } catch {
        throw LoadError("\(name): \(error)")
      }
    }
    return workloads.sorted {
      ($0.kind.rawValue, $0.connections) < ($1.kind.rawValue, $1.connections)
    }
  }
}

/// The files of a directory that are called `.json`, in no order.
func readJSONFiles(_ directory: String) throws(LoadError) -> [(name: String, text: [UInt8])] {
  guard let entries = opendir(directory) else { throw LoadError("cannot read \(directory)") }
  defer { closedir(entries) }
  var files: [(String, [UInt8])] = []
  while let entry = readdir(entries) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard name.hasSuffix(".json") else { continue }
    guard let text = readSmallFile("\(directory)/\(name)") else {
      throw LoadError("cannot read \(directory)/\(name)")
    }
    files.append((name, Array(text.utf8)))
  }
  return files
}

/// The path of a file without links; nil when there is none.
func realPath(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}

// swift-tools-version: 6.1
// The module graph is DESIGN's: an arrow may import, nothing else may. `ci/tidy` checks it.
import PackageDescription

#if arch(x86_64)
  let cipher: [Target.Dependency] = ["CIPSecMB"]
#else
  let cipher: [Target.Dependency] = []
#endif

let package = Package(
  name: "remoteingress",
  products: [
    .library(name: "RemoteIngress", targets: ["RemoteIngress"]),
    .executable(name: "remoteingress", targets: ["remoteingress"]),
    .executable(name: "ri-bench", targets: ["ri-bench"]),
    .executable(name: "ri-link", targets: ["ri-link"]),
    .executable(name: "ri-load", targets: ["ri-load"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // C libraries and their shims.
    .systemLibrary(
      name: "CLibURing", path: "Sources/System/liburing", pkgConfig: "liburing",
      providers: [.apt(["liburing-dev"])]),
    .systemLibrary(
      name: "CLibSSL", path: "Sources/System/openssl", pkgConfig: "openssl",
      providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CLibNFTables", path: "Sources/System/nftables", pkgConfig: "libnftables",
      providers: [.apt(["libnftables-dev"])]),
    .systemLibrary(
      name: "CLibNGTCP2", path: "Sources/System/ngtcp2", pkgConfig: "libngtcp2_crypto_gnutls",
      providers: [
        .apt(["libngtcp2-dev", "libngtcp2-crypto-gnutls-dev", "libgnutls28-dev"])
      ]),
    .target(name: "CLinuxIO", dependencies: ["CLibURing"]),
    .target(name: "CLinuxProcess"),
    .target(name: "COpenSSL", dependencies: ["CLibSSL"]),
    .target(name: "CNFTables", dependencies: ["CLibNFTables"]),
    .target(
      name: "CNGTCP2", dependencies: ["CLibNGTCP2"],
      linkerSettings: [.linkedLibrary("ngtcp2"), .linkedLibrary("gnutls")]),
    .target(
      name: "CIPSecMB",
      linkerSettings: [.linkedLibrary("IPSec_MB", .when(platforms: [.linux]))]),

    // The engine, lowest first.
    .target(name: "RIBase"),
    .target(name: "RIRing", dependencies: ["RIBase", "CLinuxIO"]),
    .target(name: "RICrypto", dependencies: ["RIBase", "COpenSSL"] + cipher),
    .target(name: "RITLS", dependencies: ["RIBase", "RICrypto", "COpenSSL"]),
    .target(name: "RIWire", dependencies: ["RIBase"]),
    .target(name: "RITunnel", dependencies: ["RIBase", "RIWire"]),
    .target(
      name: "RIQUIC",
      dependencies: ["RIBase", "RICrypto", "RIWire", "RITunnel", "CNGTCP2"]),
    .target(name: "RIControl", dependencies: ["RIBase", "RIWire", "RITunnel"]),
    .target(name: "RIFirewall", dependencies: ["RIBase", "RIWire", "CNFTables"]),
    .target(
      name: "RIEngine",
      dependencies: [
        "RIBase", "RIRing", "RICrypto", "RITLS", "RIQUIC", "RIWire", "RITunnel", "RIControl",
        "RIFirewall",
      ]),

    // The product around it.
    .target(
      name: "RemoteIngress",
      dependencies: [
        "RIBase", "RIWire", "RIControl", "CLinuxProcess", .product(name: "Yams", package: "Yams"),
      ]),
    .target(
      name: "RIAdmin",
      dependencies: [
        "RIBase", "RIWire", "RIControl", "RemoteIngress",
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "Logging", package: "swift-log"),
      ],
      resources: [
        .embedInCode("Page/page.html"), .embedInCode("Page/page.css"),
        .embedInCode("Page/page.js"), .embedInCode("Page/view.js"),
        .embedInCode("Page/plot.js"), .embedInCode("Page/parts.js"),
        .embedInCode("Page/figures.js"), .embedInCode("Page/reasons.js"),
      ]),
    .executableTarget(
      name: "remoteingress",
      dependencies: [
        "RIBase", "RIWire", "RIControl", "RemoteIngress", "RIAdmin", "RIEngine", "RIRing",
        "RIFirewall", "CLinuxProcess",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/RemoteIngressCommand"),

    // Built with everything else, so that it stays true.
    .executableTarget(
      name: "embedded-tunnel", dependencies: ["RemoteIngress"], path: "Examples/EmbeddedTunnel"),

    // The load generator, the link emulator and the benchmark.
    .target(name: "CLoadIO", path: "Bench/CLoadIO"),
    .target(name: "LoadKit", dependencies: ["CLoadIO"], path: "Bench/LoadKit"),
    .target(name: "CLinkIO", path: "Bench/CLinkIO"),
    .target(
      name: "LinkKit", dependencies: ["CLinkIO", "CLoadIO", "LoadKit"], path: "Bench/LinkKit"),
    .executableTarget(
      name: "ri-link",
      dependencies: [
        "CLinkIO", "LinkKit", "LoadKit",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Bench/ri-link"),
    .executableTarget(
      name: "ri-load",
      dependencies: [
        "CLoadIO", "LoadKit",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Bench/ri-load"),
    .executableTarget(
      name: "ri-bench",
      dependencies: [
        "RIBase", "RIRing", "RICrypto", "RITLS", "RIWire", "RITunnel", "RIControl", "RIEngine",
        "LoadKit", "LinkKit", "CLoadIO", "CLibSSL",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Bench/ri-bench"),

    // What ci/fuzz runs, and tests replay. It looks into the engine where that is open to tests.
    .target(
      name: "FuzzKit",
      dependencies: [
        "RIBase", "RIRing", "RICrypto", "RITLS", "RIQUIC", "RIWire", "RITunnel", "RIControl",
        "RIFirewall", "RIEngine", "RemoteIngress",
      ],
      path: "Fuzz/FuzzKit"),

    .target(name: "CMallocCount", path: "Tests/CMallocCount"),
    .target(name: "TestRandom", path: "Tests/TestRandom"),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzKit"]),
    .testTarget(name: "RIBaseTests", dependencies: ["RIBase", "TestRandom"]),
    .testTarget(name: "RIRingTests", dependencies: ["RIBase", "RIRing"]),
    .testTarget(name: "RICryptoTests", dependencies: ["RIBase", "RICrypto", "TestRandom"]),
    .testTarget(
      name: "RITLSTests",
      dependencies: ["RIBase", "RICrypto", "RITLS", "COpenSSL", "CMallocCount", "TestRandom"]),
    .testTarget(name: "RIWireTests", dependencies: ["RIBase", "RIWire", "TestRandom"]),
    .testTarget(
      name: "RITunnelTests", dependencies: ["RIBase", "RIWire", "RITunnel", "TestRandom"]),
    .testTarget(
      name: "RIQUICTests",
      dependencies: [
        "RIBase", "RICrypto", "RIWire", "RITunnel", "RIQUIC", "CMallocCount", "TestRandom",
      ],
      exclude: ["peers"]),
    .testTarget(
      name: "RIFirewallTests", dependencies: ["RIBase", "RIWire", "RIFirewall", "TestRandom"]),
    .testTarget(
      name: "RIControlTests", dependencies: ["RIBase", "RIWire", "RIControl", "TestRandom"]),
    .testTarget(
      name: "RIEngineTests",
      dependencies: [
        "RIBase", "RIRing", "RICrypto", "RITLS", "RIQUIC", "RIWire", "RITunnel", "RIControl",
        "RIFirewall", "RIEngine", "CMallocCount", "TestRandom",
      ]),
    .testTarget(
      name: "RemoteIngressTests",
      dependencies: [
        "RIBase", "RIWire", "RIControl", "RemoteIngress", "remoteingress",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "RIAdminTests",
      dependencies: ["RIBase", "RIWire", "RIControl", "RemoteIngress", "RIAdmin"]),
    // The public library with real engines; `remoteingress` is there to be run, not to be imported.
    .testTarget(
      name: "LibraryTests",
      dependencies: [
        "RIBase", "RIWire", "RIControl", "RemoteIngress", "remoteingress", "embedded-tunnel",
      ]),
    .testTarget(name: "LoadKitTests", dependencies: ["LoadKit"]),
    .testTarget(name: "BenchTests", dependencies: ["LoadKit", "ri-bench"]),
    .testTarget(name: "LoadCommandTests", dependencies: ["ri-load"]),
    .testTarget(name: "LinkKitTests", dependencies: ["LinkKit", "LoadKit", "ri-link"]),
    // Runs the release build of `remoteingress` and `ri-load` as a user would; imports nothing of
    // them.
    .testTarget(name: "EndToEndTests", dependencies: ["ri-load"], exclude: ["peers"]),
    // Checks what Profiles/deploy ships, with the tools of those who use it.
    .testTarget(name: "DeploymentTests", exclude: ["tools"]),
  ],
  swiftLanguageModes: [.v6]
)

// ci/fuzz alone: an executable that needs libFuzzer.
if Context.environment["REMOTEINGRESS_FUZZ"] != nil {
  package.targets += [
    .target(name: "CFuzzer", path: "Fuzz/CFuzzer"),
    .executableTarget(
      name: "ri-fuzz", dependencies: ["CFuzzer", "FuzzKit"], path: "Fuzz/ri-fuzz"),
  ]
}

// ci/simulate alone: targets, with commas between them, with what they need, and nothing else.
if let only = Context.environment["REMOTEINGRESS_ONLY"] {
  var kept: Set<String> = []
  var left = only.split(separator: ",").map(String.init)
  while let name = left.popLast() {
    guard kept.insert(name).inserted else { continue }
    for dependency in package.targets.first(where: { $0.name == name })?.dependencies ?? [] {
      switch dependency {
      case .byNameItem(let name, _), .targetItem(let name, _): left.append(name)
      default: break
      }
    }
  }
  package.targets.removeAll { !kept.contains($0.name) }
  package.products.removeAll()
}

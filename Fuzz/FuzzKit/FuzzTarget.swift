// What is fuzzed, by name. `ri-fuzz` runs these under libFuzzer, `FuzzTests` replays the corpora of
// `Fuzz/Corpus` and the cases of `Fuzz/Cases` with them.

/// One thing that takes bytes of strangers.
public struct FuzzTarget: Sendable {
  public let name: String
  /// The longest input worth trying.
  public let inputBytesMax: Int
  /// Takes one input. Whatever is wrong ends the process.
  public let run: @Sendable (UnsafeRawBufferPointer) -> Void

  init(
    _ name: String, inputBytesMax: Int = 4_096,
    _ run: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
  ) {
    self.name = name
    self.inputBytesMax = inputBytesMax
    self.run = run
  }

  public static let all: [FuzzTarget] =
    [
      FuzzTarget("frames", fuzzFrames),
      FuzzTarget("tunnel", fuzzTunnel),
      FuzzTarget("lines", fuzzLines),
      FuzzTarget("config", fuzzConfig),
      FuzzTarget("token", fuzzToken),
      FuzzTarget("control", fuzzControl),
      FuzzTarget("engine", fuzzEngine),
      FuzzTarget("proxy", inputBytesMax: 1_100, fuzzProxy),
      FuzzTarget("stun", inputBytesMax: 1_500, fuzzSTUN),
      FuzzTarget("firewall", fuzzFirewall),
      FuzzTarget("rules", fuzzRules),
      FuzzTarget("records", fuzzRecords),
      FuzzTarget("quic", fuzzQUIC),
    ] + wholeSystems

  public static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// What must hold whatever the input is.
@inline(__always)
func must(_ condition: Bool, _ what: @autoclosure () -> String) {
  if !condition { fatalError("fuzz: \(what())") }
}

// The text format of Prometheus, version 0.0.4.

import RIControl

/// Writes families of samples: each begins with its HELP and TYPE.
struct MetricsText {
  enum Kind: String { case counter, gauge, histogram }

  typealias Labels = KeyValuePairs<String, String>

  private(set) var text = ""
  private var family = ""

  /// Begins a family; the prefix is added here, and nowhere else.
  mutating func family(_ name: String, _ kind: Kind, _ help: String) {
    family = "remoteingress_" + name
    text += "# HELP \(family) \(help)\n# TYPE \(family) \(kind.rawValue)\n"
  }

  mutating func sample(_ value: some BinaryInteger, _ labels: Labels = [:]) {
    line(family, labels, "\(value)")
  }

  mutating func sample(_ value: Double, _ labels: Labels = [:]) {
    line(family, labels, Self.number(value))
  }

  /// A family of one sample.
  mutating func single(
    _ name: String, _ kind: Kind, _ help: String, _ value: some BinaryInteger
  ) {
    family(name, kind, help)
    sample(value)
  }

  mutating func single(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
    family(name, kind, help)
    sample(value)
  }

  /// A histogram of seconds: bounds of whole octaves, from 1 µs to 67 s.
  mutating func histogram(_ name: String, _ help: String, _ histogram: TimeHistogram) {
    family(name, .histogram, help)
    var below: UInt64 = 0
    for bucket in 0..<TimeHistogram.bucketCount {
      below &+= histogram[bucket]
      // The bounds between the octaves serve finer looks; here they would double the series.
      guard bucket == 0 || bucket % 2 == 1 else { continue }
      let bound = Self.number(TimeHistogram.bound(of: bucket))
      line(family + "_bucket", ["le": bound], "\(below)")
    }
    line(family + "_bucket", ["le": "+Inf"], "\(histogram.count)")
    line(family + "_sum", [:], Self.number(histogram.seconds))
    line(family + "_count", [:], "\(histogram.count)")
  }

  private mutating func line(_ name: String, _ labels: Labels, _ value: String) {
    text += name
    if !labels.isEmpty {
      let pairs = labels.map { #"\#($0.key)="\#(Self.escaped($0.value))""# }
      text += "{" + pairs.joined(separator: ",") + "}"
    }
    text += " " + value + "\n"
  }

  static func escaped(_ value: String) -> String {
    var escaped = ""
    for character in value {
      switch character {
      case "\\": escaped += #"\\"#
      case "\"": escaped += #"\""#
      case "\n": escaped += #"\n"#
      default: escaped.append(character)
      }
    }
    return escaped
  }

  /// Without the ".0" of whole numbers.
  private static func number(_ value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "NaN" : value > 0 ? "+Inf" : "-Inf" }
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

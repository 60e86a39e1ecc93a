// Rates, times, shares and sizes as people write them: `1gbit`, `40ms`, `0.1%`, `4MB`.

/// Reads quantities; nil for what is none. Numbers may have decimals.
public enum LinkQuantity {
  /// Bits per second: `9600bit`, `500kbit`, `100mbit`, `1gbit` (powers of 1000).
  public static func rate(_ text: String) -> UInt64? {
    whole(text, ["bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9])
  }

  /// Nanoseconds: `100ns`, `250us`, `40ms`, `1.5s`.
  public static func duration(_ text: String) -> UInt64? {
    whole(text, ["ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9])
  }

  /// A share of one: `1%`.
  public static func share(_ text: String) -> Double? {
    scaled(text, ["%": 0.01])
  }

  /// Bytes: `1500B`, `64KB`, `4MB`, `1GB` (powers of 1024).
  public static func size(_ text: String) -> Int? {
    whole(text, ["B": 1, "KB": 1024, "MB": 1_048_576, "GB": 1_073_741_824]).map { Int($0) }
  }

  private static func whole(_ text: String, _ units: [String: Double]) -> UInt64? {
    scaled(text, units).flatMap { $0 < 1e18 ? UInt64($0.rounded()) : nil }
  }

  /// A number and one of the units; 0 needs none.
  private static func scaled(_ text: String, _ units: [String: Double]) -> Double? {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits) else { return nil }
    let unit = String(text.dropFirst(digits.count))
    if unit.isEmpty { return number == 0 ? 0 : nil }
    return units[unit].map { number * $0 }
  }
}

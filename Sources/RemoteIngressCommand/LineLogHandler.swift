// Log messages on standard error, one line each: text for people, JSON for collectors.

import Glibc
import Logging
import RIWire
import RemoteIngress

/// Writes each message by one write(2), so that lines of several threads stay whole.
struct LineLogHandler: LogHandler {
  let label: String
  let format: LogFormat
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(label: String, format: LogFormat, logLevel: Logger.Level) {
    self.label = label
    self.format = format
    self.logLevel = logLevel
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let metadata = metadata.merging(event.metadata ?? [:]) { $1 }
    StandardError.write(line(event, metadata, time: timestamp()) + "\n")
  }

  func line(_ event: LogEvent, _ metadata: Logger.Metadata, time: String) -> String {
    switch format {
    case .text:
      let fields = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\(field($0.value))" }
      let level = event.level.rawValue
      return "\(time) \(level) \(oneLine(event.message.description))\(fields.joined())"
    case .json:
      var object: [String: JSONValue] = [
        "time": .string(time), "level": .string(event.level.rawValue),
        "label": .string(label), "message": .string(event.message.description),
      ]
      if !metadata.isEmpty { object["metadata"] = .object(metadata.mapValues(json)) }
      return String(decoding: JSONValue.object(object).encoded(), as: UTF8.self)
    }
  }

  private func json(_ value: Logger.Metadata.Value) -> JSONValue {
    switch value {
    case .string(let text): .string(text)
    case .stringConvertible(let value): .string(value.description)
    case .array(let values): .array(values.map(json))
    case .dictionary(let values): .object(values.mapValues(json))
    }
  }

  /// A value in quotes when it would not stand as one word.
  private func field(_ value: Logger.Metadata.Value) -> String {
    let text = oneLine(value.description)
    let isWord = !text.isEmpty && !text.contains { $0 == " " || $0 == "\"" || $0 == "=" }
    return isWord ? text : String(decoding: JSONValue.string(text).encoded(), as: UTF8.self)
  }

  /// What comes from a peer cannot begin a line of its own nor reach a terminal's controls.
  private func oneLine(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    return text.unicodeScalars.reduce(into: "") { out, scalar in
      if isControl(scalar) {
        out += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
  }

  private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: true
    default: false
    }
  }
}

/// The time in UTC, as in `2026-01-31T09:05:00.123Z` (RFC 3339).
private func timestamp() -> String {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  var date = tm()
  gmtime_r(&now.tv_sec, &date)
  let milliseconds = now.tv_nsec / 1_000_000
  return "\(date.tm_year + 1900)-\(digits(date.tm_mon + 1))-\(digits(date.tm_mday))T"
    + "\(digits(date.tm_hour)):\(digits(date.tm_min)):\(digits(date.tm_sec))."
    + "\(digits(Int32(milliseconds), 3))Z"
}

private func digits(_ number: Int32, _ count: Int = 2) -> String {
  let text = String(number)
  return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
}

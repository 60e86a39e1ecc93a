// Reads JSON text (RFC 8259) whole, strictly, and no deeper than `JSONValue.depthMax`.

extension JSONValue {
  /// Reads one value that takes up all the bytes, but for white space around it.
  public init(parsing bytes: some Collection<UInt8>) throws(MessageFault) {
    let bytes = Array(bytes)
    let result: Result<JSONValue, MessageFault> = bytes.withUnsafeBytes { buffer in
      var reader = JSONReader(scanner: ByteScanner(buffer))
      do throws(MessageFault) {
        return .success(try reader.readDocument())
      } catch {
        return .failure(error)
      }
    }
    self = try result.get()
  }
}

private struct JSONReader {
  var scanner: ByteScanner

  mutating func readDocument() throws(MessageFault) -> JSONValue {
    let value = try readValue(depth: 0)
    skipSpace()
    guard scanner.isAtEnd else { throw .notJSON }
    return value
  }

  private mutating func readValue(depth: Int) throws(MessageFault) -> JSONValue {
    skipSpace()
    guard let first = scanner.peek else { throw .notJSON }
    switch first {
    case 0x7B: return try readObject(depth: depth + 1)
    case 0x5B: return try readArray(depth: depth + 1)
    case 0x22: return .string(try readString())
    case 0x2D, 0x30...0x39: return try readNumber()
    default:
      if scanner.skip("true") { return .bool(true) }
      if scanner.skip("false") { return .bool(false) }
      if scanner.skip("null") { return .null }
      throw .notJSON
    }
  }

  private mutating func skipSpace() {
    while let byte = scanner.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      _ = scanner.next()
    }
  }

  /// Passes over white space and the byte behind it.
  private mutating func skip(_ byte: UInt8) -> Bool {
    skipSpace()
    return scanner.skip(byte)
  }

  // MARK: Containers

  private mutating func readArray(depth: Int) throws(MessageFault) -> JSONValue {
    guard depth <= JSONValue.depthMax else { throw .tooDeep }
    var values: [JSONValue] = []
    guard skip(0x5B) else { throw .notJSON }
    if skip(0x5D) { return .array(values) }
    repeat {
      values.append(try readValue(depth: depth))
    } while skip(0x2C)
    guard skip(0x5D) else { throw .notJSON }
    return .array(values)
  }

  private mutating func readObject(depth: Int) throws(MessageFault) -> JSONValue {
    guard depth <= JSONValue.depthMax else { throw .tooDeep }
    var members: [String: JSONValue] = [:]
    guard skip(0x7B) else { throw .notJSON }
    if skip(0x7D) { return .object(members) }
    repeat {
      skipSpace()
      let name = try readString()
      guard skip(0x3A) else { throw .notJSON }
      members[name] = try readValue(depth: depth)
    } while skip(0x2C)
    guard skip(0x7D) else { throw .notJSON }
    return .object(members)
  }

  // MARK: Numbers

  private mutating func readNumber() throws(MessageFault) -> JSONValue {
    let text = scanner.take { !"+-.eE0123456789".utf8.contains($0) }
    var digits = ByteScanner(text)
    _ = digits.skip(0x2D)
    // RFC 8259 6: no leading zeros, at least one digit in each part.
    let whole = digits.takeDigits()
    guard let first = whole.first, first != 0x30 || whole.count == 1 else { throw .notJSON }
    var isInteger = true
    if digits.skip(0x2E) {
      isInteger = false
      guard !digits.takeDigits().isEmpty else { throw .notJSON }
    }
    if digits.skip(0x65) || digits.skip(0x45) {
      isInteger = false
      if !digits.skip(0x2B) { _ = digits.skip(0x2D) }
      guard !digits.takeDigits().isEmpty else { throw .notJSON }
    }
    guard digits.isAtEnd else { throw .notJSON }
    let string = String(decoding: text, as: UTF8.self)
    if isInteger, let value = Int(string) { return .integer(value) }
    guard let value = Double(string), value.isFinite else { throw .notJSON }
    return .number(value)
  }

  // MARK: Strings

  private mutating func readString() throws(MessageFault) -> String {
    guard scanner.skip(0x22) else { throw .notJSON }
    var bytes: [UInt8] = []
    while true {
      bytes += scanner.take { $0 == 0x22 || $0 == 0x5C || $0 < 0x20 }
      switch scanner.next() {
      case 0x22:
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .notJSON }
        return text
      case 0x5C: bytes += try readEscape()
      default: throw .notJSON
      }
    }
  }

  private mutating func readEscape() throws(MessageFault) -> [UInt8] {
    switch scanner.next() {
    case 0x22: return [0x22]
    case 0x5C: return [0x5C]
    case 0x2F: return [0x2F]
    case 0x62: return [0x08]
    case 0x66: return [0x0C]
    case 0x6E: return [0x0A]
    case 0x72: return [0x0D]
    case 0x74: return [0x09]
    case 0x75:
      var code = try readHexadecimal()
      if code >> 10 == 0x36 {
        // The first half of a surrogate pair: the second must follow.
        guard scanner.skip(#"\u"#) else { throw .notJSON }
        let low = try readHexadecimal()
        guard low >> 10 == 0x37 else { throw .notJSON }
        code = 0x10000 + ((code & 0x3FF) << 10 | low & 0x3FF)
      }
      guard let scalar = Unicode.Scalar(code) else { throw .notJSON }
      return Array(String(scalar).utf8)
    default: throw .notJSON
    }
  }

  private mutating func readHexadecimal() throws(MessageFault) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = scanner.next(), let digit = ByteScanner.hexDigit(byte) else {
        throw .notJSON
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}

extension ByteScanner {
  fileprivate mutating func takeDigits() -> UnsafeRawBufferPointer {
    take { !(0x30...0x39).contains($0) }
  }
}

// What an error may say of text that came from outside.

/// Text from outside, fit for one line of an error or a log: quoted, with everything escaped that
/// does not print as itself, and at most 64 characters long.
public func quoted(_ text: String) -> String {
  var out = "'"
  for scalar in text.unicodeScalars.prefix(64) {
    if scalar.isPrintable {
      out.unicodeScalars.append(scalar)
    } else {
      out += "\\u{\(String(scalar.value, radix: 16))}"
    }
  }
  return out + (text.unicodeScalars.count > 64 ? "…'" : "'")
}

/// A key as it may stand in an error: bare when it is plain, else quoted.
public func printable(_ key: String) -> String {
  let isPlain = 1...64 ~= key.utf8.count && key.utf8.allSatisfy { 0x21...0x7E ~= $0 }
  return isPlain ? key : quoted(key)
}

extension Unicode.Scalar {
  /// Whether it prints as itself and leaves what stands around it alone: no control, no change of
  /// direction, no end of a line, nothing unassigned.
  var isPrintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
      .unassigned:
      false
    default: true
    }
  }
}

/// The name that takes the fewest edits to become `name`, whatever the case of its letters.
public func nearestName(to name: String, in known: [String]) -> String? {
  let target = Array(name.lowercased().prefix(64))
  return known.min { editDistance(target, $0) < editDistance(target, $1) }
}

/// Insertions, deletions and replacements between two texts (Levenshtein).
private func editDistance(_ a: [Character], _ text: String) -> Int {
  let b = Array(text.lowercased())
  var row = Array(0...b.count)
  for i in a.indices {
    var diagonal = row[0]
    row[0] = i + 1
    for j in b.indices {
      let replaced = diagonal + (a[i] == b[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
    }
  }
  return row[b.count]
}

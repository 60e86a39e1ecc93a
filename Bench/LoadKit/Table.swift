// Text tables with aligned columns.

/// Rows of cells under headings. Columns of numbers (with their units) stand to the right.
public struct Table {
  public var headings: [String]
  public var rows: [[String]] = []

  public init(_ headings: [String]) { self.headings = headings }

  /// Lines without trailing blanks, each ended by a newline. Short rows are filled with blanks.
  public func rendered() -> String {
    let all = [headings] + rows
    let columns = all.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      all.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    let numeric = (0..<columns).map { column in
      let cells = rows.compactMap { column < $0.count ? $0[column] : nil }.filter { !$0.isEmpty }
      return !cells.isEmpty && cells.allSatisfy { $0.drop { $0 == "-" }.first?.isNumber == true }
    }
    return all.map { row in
      var line = ""
      for column in 0..<columns {
        let cell = column < row.count ? row[column] : ""
        let blanks = String(repeating: " ", count: widths[column] - cell.count)
        line += (column == 0 ? "" : "  ") + (numeric[column] ? blanks + cell : cell + blanks)
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}

/// A number with about three significant digits: `0.412`, `8.31`, `17.2`, `512`, `24310`.
public func significant(_ value: Double) -> String {
  let decimals = value.magnitude < 1 ? 3 : value.magnitude < 10 ? 2 : value.magnitude < 100 ? 1 : 0
  return fixed(value, decimals)
}

/// A number with so many decimals, 0 to 9.
public func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, value.magnitude < 1e15 else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let scaled = UInt64((value.magnitude * scale).rounded())
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return "\(sign)\(scaled)" }
  let digits = String(repeating: "0", count: max(0, decimals + 1 - "\(scaled)".count)) + "\(scaled)"
  return "\(sign)\(digits.dropLast(decimals)).\(digits.suffix(decimals))"
}

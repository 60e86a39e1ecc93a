// Two reports, figure by figure: ratios of medians, and whether a difference is more than the
// rounds of either differ among themselves.

import LoadKit

struct Comparison {
  /// What a difference is.
  enum Verdict: String {
    /// The rounds of both lie apart: every one of the one is beyond every one of the other.
    case better, worse
    case within = "within the spread"
    /// Fewer than `roundsMin` rounds in either.
    case unknown = "too few rounds"
  }

  /// With two rounds each, one order in three puts them apart by chance; with three, one in ten.
  static let roundsMin = 3

  struct Row {
    var old: Measure
    var new: Measure

    var ratio: Double { old.median == 0 ? 1 : new.median / old.median }

    var verdict: Verdict {
      guard min(old.values.count, new.values.count) >= roundsMin else { return .unknown }
      let isLarger = new.smallest > old.largest
      guard isLarger || new.largest < old.smallest else { return .within }
      return isLarger == new.quantity.isBetterWhenLarge ? .better : .worse
    }
  }

  var rows: [Row]
  private let machines: (old: Machine, new: Machine)

  /// The figures that both have.
  init(of new: Report, with old: Report) {
    machines = (old.machine, new.machine)
    let before = old.measures
    rows = new.measures.compactMap { measure in
      before.first {
        $0.name == measure.name && $0.system == measure.system && $0.quantity == measure.quantity
      }.map { Row(old: $0, new: measure) }
    }
  }

  /// What makes the two no fair pair, in words.
  var warning: String? {
    let (old, new) = machines
    guard old.cpu != new.cpu || old.cores != new.cores || old.kernel != new.kernel else {
      return nil
    }
    return "the old figures are of another machine: \(old.cpu), \(old.cores) cores, "
      + "Linux \(old.kernel)"
  }

  func text() -> String {
    var table = Table([
      "case", "system", "", "unit", "old", "spread", "new", "spread", "ratio", "",
    ])
    table.rows = rows.map { row in
      [
        row.new.name, row.new.system, row.new.quantity.title, row.new.quantity.unit,
        significant(row.old.median), percent(row.old.spread), significant(row.new.median),
        percent(row.new.spread), fixed(row.ratio, 2), row.verdict.rawValue,
      ]
    }
    return """

      compared with commit \(machines.old.commit): better and worse are said where all rounds of \
      the one lie beyond all of the other
      \(warning.map { "\($0)\n" } ?? "")
      \(rows.isEmpty ? "no figure is in both\n" : table.rendered())
      """
  }

  private func percent(_ share: Double) -> String { "\(fixed(share * 100, 0))%" }
}

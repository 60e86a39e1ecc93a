// Tables of configuration keys: what a file may hold, and from which the flags, the variables and
// the help text follow.

import RIWire

/// How far down in a configuration a value stands, as in `allowedEdges[0].secret`.
struct Place: Sendable {
  var path = ""

  func member(_ key: String) -> Place { Place(path: path.isEmpty ? key : "\(path).\(key)") }

  func element(_ index: Int) -> Place { Place(path: "\(path)[\(index)]") }

  func error(_ reason: String, at origin: ConfigurationOrigin) -> ConfigurationError {
    ConfigurationError(origin: origin, key: path, reason: reason)
  }
}

/// How the values of one type are written.
struct ValueKind<Value> {
  /// What help calls such a value, as in `PORT`.
  var name: String
  /// A flag of this kind needs no value.
  var isSwitch = false
  var isSecret = false
  var parse: (SourceNode, Place) throws(ConfigurationError) -> Value
}

/// A key that can be given as one text: a flag and a variable.
struct FlatKey {
  /// `tls`, `certFile`.
  var path: [String]
  var valueName: String
  var isSwitch: Bool
  var isSecret: Bool
  var help: String

  /// `--tls-cert-file`
  var flag: String { "--" + words.joined(separator: "-") }
  /// `REMOTEINGRESS_TLS_CERT_FILE`
  var variable: String {
    FlatKey.variablePrefix + words.map { $0.uppercased() }.joined(separator: "_")
  }

  static let variablePrefix = "REMOTEINGRESS_"

  /// The words of a key in camel case: `memoryBudgetMB` has three.
  private var words: [String] {
    path.flatMap { part in
      var words = [""]
      var followsLowercase = false
      for character in part {
        if character.isUppercase, followsLowercase { words.append("") }
        words[words.count - 1] += character.lowercased()
        followsLowercase = character.isLowercase
      }
      return words
    }
  }
}

/// One key of a mapping.
struct Field<Root> {
  var key: String
  var flatKeys: [FlatKey]
  /// Keys that say the same and may not stand beside this one.
  var excludes: [String] = []
  /// The keys, with their place, whose value differs: this one, or members of its mapping.
  var changedKeys: (Root, Root) -> [String]
  var read: (inout Root, SourceNode, Place) throws(ConfigurationError) -> Void
}

extension Field {
  /// A key whose value goes through `store`, and shows in `property`.
  init<Value, Shown: Equatable>(
    _ key: String, _ kind: ValueKind<Value>, shownBy property: KeyPath<Root, Shown>,
    excludes: [String] = [], help: String, store: @escaping (inout Root, Value) -> Void
  ) {
    self.init(
      key: key,
      flatKeys: [
        FlatKey(
          path: [key], valueName: kind.name, isSwitch: kind.isSwitch,
          isSecret: kind.isSecret, help: help)
      ],
      excludes: excludes,
      changedKeys: { $0[keyPath: property] == $1[keyPath: property] ? [] : [key] }
    ) { root, node, place throws(ConfigurationError) in
      store(&root, try kind.parse(node, place))
    }
  }

  init<Value: Equatable>(
    _ key: String, _ property: WritableKeyPath<Root, Value>, _ kind: ValueKind<Value>,
    excludes: [String] = [], _ help: String
  ) {
    self.init(key, kind, shownBy: property, excludes: excludes, help: help) {
      $0[keyPath: property] = $1
    }
  }

  init<Value: Equatable>(
    _ key: String, _ property: WritableKeyPath<Root, Value?>, _ kind: ValueKind<Value>,
    excludes: [String] = [], _ help: String
  ) {
    self.init(key, kind, shownBy: property, excludes: excludes, help: help) {
      $0[keyPath: property] = $1
    }
  }

  /// A key that holds a mapping; later sources change single members of it.
  init<Value>(
    _ key: String, _ property: WritableKeyPath<Root, Value?>, empty: Value, _ schema: Schema<Value>
  ) {
    let flatKeys = schema.flatKeys.map { flatKey in
      var nested = flatKey
      nested.path.insert(key, at: 0)
      return nested
    }
    let changedKeys = { (old: Root, new: Root) in
      let (before, after) = (old[keyPath: property] ?? empty, new[keyPath: property] ?? empty)
      return schema.changedKeys(from: before, to: after).map { "\(key).\($0)" }
    }
    self.init(
      key: key, flatKeys: flatKeys, changedKeys: changedKeys
    ) { root, node, place throws(ConfigurationError) in
      var value = root[keyPath: property] ?? empty
      try schema.read(node, into: &value, at: place)
      root[keyPath: property] = value
    }
  }

  /// A key that only a file can give: a list or a free mapping.
  init<Value: Equatable>(
    fileOnly key: String, _ property: WritableKeyPath<Root, Value>, _ kind: ValueKind<Value>
  ) {
    let changedKeys = { (old: Root, new: Root) in
      old[keyPath: property] == new[keyPath: property] ? [] : [key]
    }
    self.init(
      key: key, flatKeys: [], changedKeys: changedKeys
    ) { root, node, place throws(ConfigurationError) in
      root[keyPath: property] = try kind.parse(node, place)
    }
  }
}

/// The keys of one mapping, in the order in which they are read.
struct Schema<Root> {
  var fields: [Field<Root>]

  init(_ fields: [Field<Root>]) { self.fields = fields }

  var flatKeys: [FlatKey] { fields.flatMap(\.flatKeys) }

  /// The keys whose value differs; of those that say the same the first.
  func changedKeys(from old: Root, to new: Root) -> [String] {
    var keys: [String] = []
    var named: Set<String> = []
    for field in fields where !named.contains(field.key) {
      let changed = field.changedKeys(old, new)
      if !changed.isEmpty { named.formUnion(field.excludes) }
      keys += changed
    }
    return keys
  }

  /// Sets in `root` what the mapping gives; unknown keys and contradictions are errors.
  func read(
    _ node: SourceNode, into root: inout Root, at place: Place
  ) throws(ConfigurationError) {
    guard case .mapping(let members) = node.content else {
      throw place.error("must be a mapping of keys to values", at: node.origin)
    }
    let known = fields.map(\.key)
    for member in members where !known.contains(member.key) {
      let nearest = nearestName(to: member.key, in: known)
      let reason = "unknown key" + (nearest.map { "; the nearest known one is \($0)" } ?? "")
      throw place.member(printable(member.key)).error(reason, at: member.origin)
    }
    for field in fields {
      guard let member = members.first(where: { $0.key == field.key }) else { continue }
      if let other = members.first(where: { field.excludes.contains($0.key) }) {
        throw place.member(field.key).error(
          "\(other.origin.name ?? other.key) is given too: one of them has to go",
          at: member.origin)
      }
      try field.read(&root, member.value, place.member(field.key))
    }
  }
}

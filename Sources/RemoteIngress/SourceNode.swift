// A configuration as it was written: text, lists and mappings with the lines they stand on. Files
// are YAML, of which JSON is a subset.

import Yams

/// One value of a configuration source.
struct SourceNode: Sendable {
  struct Member: Sendable {
    var key: String
    var line: Int?
    var value: SourceNode
  }

  enum Content: Sendable {
    case null
    /// `isQuoted`: certainly text, even if it reads like a number.
    case scalar(String, isQuoted: Bool)
    case list([SourceNode])
    case mapping([Member])
  }

  var content: Content
  var line: Int?

  init(_ content: Content, line: Int? = nil) {
    self.content = content
    self.line = line
  }

  /// The value of a flag or variable, wrapped in the mappings that its path names.
  init(text: String, under path: [String]) {
    self.init(.scalar(text, isQuoted: false))
    for key in path.reversed() {
      self = SourceNode(.mapping([Member(key: key, line: nil, value: self)]))
    }
  }

  /// Parses a file's text; an empty one is an empty mapping.
  init(yaml: String, path: String) throws(ConfigurationError) {
    do {
      guard let root = try Yams.compose(yaml: yaml) else {
        self.init(.mapping([]))
        return
      }
      self = try SourceNode(root)
    } catch let error as YamlError {
      throw error.inFile(path)
    } catch {
      throw ConfigurationError(
        origin: .file(path, line: nil), key: "", reason: "not valid YAML or JSON")
    }
    if case .null = content { content = .mapping([]) }
  }

  private init(_ node: Node) throws {
    let line = node.mark?.line
    switch node {
    case .scalar(let scalar):
      let isPlain = scalar.style == .plain || scalar.style == .any
      let isNull = isPlain && node.tag == Tag(.null)
      self.init(isNull ? .null : .scalar(scalar.string, isQuoted: !isPlain), line: line)
    case .sequence(let items):
      self.init(.list(try items.map { try SourceNode($0) }), line: line)
    case .mapping(let pairs):
      let members = try pairs.map { key, value in
        guard let name = key.scalar?.string else {
          let mark = key.mark ?? Mark(line: 1, column: 1)
          throw YamlError.composer(context: nil, problem: "a key must be text", mark, yaml: "")
        }
        return Member(key: name, line: key.mark?.line, value: try SourceNode(value))
      }
      self.init(.mapping(members), line: line)
    case .alias:
      throw YamlError.representer(problem: "an alias without its anchor")
    }
  }
}

extension YamlError {
  /// The error on one line, without the source text that it quotes (which may hold a secret).
  fileprivate func inFile(_ path: String) -> ConfigurationError {
    let reason: String
    var line: Int?
    switch self {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      reason = problem
      line = mark.line
    case .reader(let problem, _, _, _): reason = problem
    case .duplicatedKeysInMapping(let keys, let context):
      reason = keys.map(quoted).joined(separator: ", ") + " is given more than once"
      line = context.mark.line
    default: reason = "not valid YAML or JSON"
    }
    return ConfigurationError(origin: .file(path, line: line), key: "", reason: reason)
  }
}

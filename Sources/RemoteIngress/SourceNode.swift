// A configuration as it was written: text, lists and mappings with the lines they stand on. Files
// are YAML, of which JSON is a subset.

import RIWire
import Yams

/// One value of a configuration source.
struct SourceNode: Sendable {
  struct Member: Sendable {
    var key: String
    var origin: ConfigurationOrigin
    var value: SourceNode
  }

  enum Content: Sendable {
    case null
    case scalar(String)
    case list([SourceNode])
    case mapping([Member])
  }

  var content: Content
  var origin: ConfigurationOrigin

  init(_ content: Content = .mapping([]), origin: ConfigurationOrigin) {
    self.content = content
    self.origin = origin
  }

  /// Puts text at the end of `path` in this mapping, in place of what may be there.
  mutating func set(_ text: String, at path: ArraySlice<String>, origin: ConfigurationOrigin) {
    guard let key = path.first else {
      self = SourceNode(.scalar(text), origin: origin)
      return
    }
    var members: [Member] = if case .mapping(let members) = content { members } else { [] }
    var value = SourceNode(origin: origin)
    if let index = members.firstIndex(where: { $0.key == key }) {
      value = members.remove(at: index).value
    }
    value.set(text, at: path.dropFirst(), origin: origin)
    members.append(Member(key: key, origin: origin, value: value))
    content = .mapping(members)
  }

  /// Where the key at the end of `path` stands.
  func origin(of path: ArraySlice<String>) -> ConfigurationOrigin? {
    guard let key = path.first, case .mapping(let members) = content,
      let member = members.first(where: { $0.key == key })
    else { return nil }
    return path.count == 1 ? member.origin : member.value.origin(of: path.dropFirst())
  }

  // MARK: Files

  /// Parses a file's text; an empty one is an empty mapping.
  init(yaml: String, path: String) throws(ConfigurationError) {
    let file = ConfigurationOrigin.file(path, line: nil)
    do {
      self = try Yams.compose(yaml: yaml).map { try SourceNode($0, path) } ?? .init(origin: file)
    } catch let error as YamlError {
      throw error.inFile(path)
    } catch let error as ConfigurationError {
      throw error
    } catch {
      throw ConfigurationError(origin: file, key: "", reason: "not valid YAML or JSON")
    }
    if case .null = content { content = .mapping([]) }
  }

  private init(_ node: Node, _ path: String) throws {
    let origin = ConfigurationOrigin.file(path, line: node.mark?.line)
    switch node {
    case .scalar(let scalar):
      let isNull = scalar.style == .plain && node.tag.description == Tag.Name.null.rawValue
      self.init(isNull ? .null : .scalar(scalar.string), origin: origin)
    case .sequence(let items):
      self.init(.list(try items.map { try SourceNode($0, path) }), origin: origin)
    case .mapping(let pairs):
      let members = try pairs.map { key, value in
        guard let name = key.scalar?.string else {
          throw ConfigurationError(
            origin: .file(path, line: key.mark?.line), key: "", reason: "a key must be text")
        }
        return Member(
          key: name, origin: .file(path, line: key.mark?.line), value: try SourceNode(value, path))
      }
      self.init(.mapping(members), origin: origin)
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

// The man page and the completions, which the binary itself tells.

import Foundation
import Testing

@Suite("Man page and completions", .enabled(if: Files.hasBinary))
struct CommandLineTests {
  private func manPage() throws -> String {
    let result = try Tool.run("ci/manpage", Files.binary)
    #expect(result.succeeded, "\(result.output)")
    return result.output
  }

  private func completions(_ shell: String) throws -> String {
    try Tool.run(Files.binary, "--generate-completion-script", shell).output
  }

  @Test("mandoc and man have nothing to say about the man page")
  func manPageIsClean() throws {
    try Files.withScratch("remoteingress.1", try manPage()) { path in
      let lint = try Tool.run("mandoc", "-T", "lint", "-W", "style", path)
      // Not about the page: its references are looked for on this machine.
      let lines = lint.output.split(separator: "\n").filter { !$0.contains("outdated mandoc.db") }
      #expect(lines.isEmpty, "\(lines)")
      let warnings = try Tool.bash(
        "LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z '\(path)' 2>&1 >/dev/null")
      #expect(warnings.output.isEmpty, "\(warnings.output)")
    }
  }

  @Test("the man page has every command and every key")
  func manPageIsWhole() throws {
    let page = try manPage().replacingOccurrences(of: "\\-", with: "-")
    for command in ["hub", "edge", "token encode", "token new-secret", "demo", "version"] {
      #expect(page.contains(".It Cm \(command)\n"), "\(command)")
    }
    for role in ["hub", "edge"] {
      let help = try Tool.run(Files.binary, role, "--help").output
      let flags = help.matches(of: /\n {2}--([a-z-]+)/).map(\.output.1)
      #expect(flags.count > 15)
      let missing = flags.filter { $0 != "version" && !page.contains(".It Fl -\($0)") }
      #expect(missing.isEmpty)
    }
  }

  @Test("bash completes commands, the keys of the configuration, and their values")
  func bash() throws {
    let script = try completions("bash")
    try Files.withScratch("completions", script) { path in
      func complete(_ line: String) throws -> [String] {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        let quoted = words.map { "'\($0)'" }.joined(separator: " ")
        let result = try Tool.bash(
          """
          PATH=\((Files.binary as NSString).deletingLastPathComponent):$PATH
          source /usr/share/bash-completion/bash_completion
          source '\(path)'
          COMP_WORDS=(\(quoted)) COMP_CWORD=\(words.count - 1)
          COMP_LINE='\(line)' COMP_POINT=\(line.utf8.count)
          _remoteingress remoteingress '\(words[words.count - 1])' '\(words[words.count - 2])'
          printf '%s\\n' "${COMPREPLY[@]}"
          """)
        return result.output.split(separator: "\n").map(String.init)
      }
      let command = try complete("remoteingress ed")
      #expect(command == ["edge"])
      let key = try complete("remoteingress hub --tunnel-")
      #expect(key == ["--tunnel-port"])
      let value = try complete("remoteingress edge --log-format ")
      #expect(value.sorted() == ["json", "text"])
    }
  }

  @Test("fish completes the keys of the configuration, with their meaning")
  func fish() throws {
    try Files.withScratch("remoteingress.fish", try completions("fish")) { path in
      let result = try Tool.run(
        "fish", "--no-config", "-c", "source '\(path)'; complete -C 'remoteingress hub --tunnel-'")
      #expect(result.output.contains("--tunnel-port\tTCP port for edges"), "\(result.output)")
    }
  }

  @Test("zsh reads its completions, which have the keys of the configuration")
  func zsh() throws {
    let script = try completions("zsh")
    try Files.withScratch("_remoteingress", script) { path in
      let result = try Tool.run("zsh", "-n", path)
      #expect(result.succeeded && result.output.isEmpty, "\(result.output)")
    }
    #expect(script.hasPrefix("#compdef remoteingress"))
    for text in ["--tunnel-port[", "--transport-mode[", "'quicWithFallback'"] {
      #expect(script.contains(text), "\(text)")
    }
  }
}

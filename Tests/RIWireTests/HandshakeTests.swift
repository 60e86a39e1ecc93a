// The EDGE line, secrets, and lines out of a stream.

import RIBase
import TestRandom
import Testing

@testable import RIWire

@Suite struct EdgeLineTests {
  @Test func writesAndReadsTheLine() throws {
    let line = try EdgeLine(edgeID: "edge-1", secret: Secret("s3cr~et!"))
    #expect(line.encoded() == Array("EDGE edge-1 s3cr~et!\n".utf8))
    #expect(try EdgeLine(parsing: line.encoded().dropLast()) == line)
  }

  @Test func readsRawBytes() throws {
    let bytes = Array("EDGE a b".utf8)
    #expect(try bytes.withUnsafeBytes { try EdgeLine(parsing: $0).edgeID } == "a")
  }

  static func edge(id: Int, secret: Int) -> String {
    "EDGE " + String(repeating: "i", count: id) + " " + String(repeating: "s", count: secret)
  }

  static let refused: [(String, HandshakeError)] = [
    ("", .notEdgeLine), ("EDGE", .notEdgeLine), ("EDGE ", .notEdgeLine), ("EDGE a", .notEdgeLine),
    ("edge a b", .notEdgeLine), (" EDGE a b", .notEdgeLine), ("EDGES a b", .notEdgeLine),
    ("LANE token", .notEdgeLine), ("EDGE\ta\tb", .notEdgeLine),
    ("EDGE  a b", .badEdgeID(.empty)), ("EDGE  b", .badEdgeID(.empty)),
    ("EDGE a ", .badSecret(.empty)), ("EDGE a  b", .badSecret(.notPrintable)),
    ("EDGE a b ", .badSecret(.notPrintable)), ("EDGE a b c", .badSecret(.notPrintable)),
    ("EDGE a b\r", .badSecret(.notPrintable)), ("EDGE a\u{7F} b", .badEdgeID(.notPrintable)),
    ("EDGE ä b", .badEdgeID(.notPrintable)), ("EDGE a \0", .badSecret(.notPrintable)),
    (edge(id: 129, secret: 1), .badEdgeID(.tooLong(limit: 128))),
    (edge(id: 1, secret: 1_025), .badSecret(.tooLong(limit: 1_024))),
    (edge(id: 4_000, secret: 1_000), .lineTooLong),
  ]

  @Test(arguments: refused) func refusesWithItsName(text: String, error: HandshakeError) {
    #expect(throws: error) { try EdgeLine(parsing: text.utf8) }
  }

  @Test func takesTheLongestIDAndSecret() throws {
    let line = try EdgeLine(parsing: Self.edge(id: 128, secret: 1_024).utf8)
    #expect(line.edgeID.utf8.count == 128)
    #expect(line.secret.revealed.utf8.count == 1_024)
  }

  @Test(arguments: propertySeeds) func brokenLinesAreReadAsWrittenOrRefused(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<2_000 {
      let bytes = random.mutate(Array("EDGE edge-1 hunter2-hunter2".utf8))
      guard let line = try? EdgeLine(parsing: bytes) else { continue }
      #expect(line.encoded() == bytes + [0x0A], "seed \(seed)")
    }
  }
}

@Suite struct SecretTests {
  @Test func neverPrints() throws {
    let secret = try Secret("hunter2")
    var dumped = ""
    dump(secret, to: &dumped)
    let line = try EdgeLine(edgeID: "e", secret: secret)
    dump(line, to: &dumped)
    let texts = [
      "\(secret)", String(describing: secret), String(reflecting: secret), dumped, "\(line)",
      String(reflecting: line), "\(Optional(secret) as Any)", "\([secret])",
    ]
    for text in texts { #expect(!text.contains("hunter2")) }
    #expect("\(secret)" == "•••")
  }

  @Test func errorsNeverHoldWhatWasRefused() {
    for text in ["EDGE id hunter2 ", "hunter2", "EDGE hunter2", "EDGE id hunter2\u{1}"] {
      do throws(HandshakeError) {
        _ = try EdgeLine(parsing: text.utf8)
        Issue.record("accepted")
      } catch {
        #expect(!"\(error)".contains("hunter2"))
        #expect(!String(reflecting: error).contains("hunter2"))
      }
    }
  }

  @Test func isEqualOnlyToItself() throws {
    let texts = ["a", "b", "ab", "aa", "ba", "abc", String(repeating: "a", count: 1_024)]
    for first in texts {
      for second in texts {
        let isEqual = try Secret(first).isEqual(to: Secret(second))
        #expect(isEqual == (first == second), "\(first) \(second)")
      }
    }
  }
}

@Suite struct LineReaderTests {
  private func receive(_ reader: inout LineReader, _ text: String) -> LineProgress {
    Array(text.utf8).withUnsafeBytes { reader.receive($0) }
  }

  @Test func tellsWhereTheLineEnds() {
    var reader = LineReader(limit: 10)
    #expect(receive(&reader, "EDG") == .needsMore)
    #expect(receive(&reader, "") == .needsMore)
    #expect(receive(&reader, "E\n\0\0\n") == .line(Array("EDGE".utf8), consumed: 2))
    #expect(receive(&reader, "\n") == .line([], consumed: 1), "ready for the next line")
  }

  @Test func refusesALineLongerThanItsLimit() {
    var reader = LineReader(limit: 4)
    #expect(receive(&reader, "1234") == .needsMore)
    #expect(receive(&reader, "\n") == .line(Array("1234".utf8), consumed: 1))
    #expect(receive(&reader, "123") == .needsMore)
    #expect(receive(&reader, "45") == .tooLong)
    #expect(receive(&reader, "\n") == .tooLong)
    var other = LineReader(limit: 4)
    #expect(receive(&other, "12345\n") == .tooLong)
  }

  @Test(arguments: propertySeeds) func anySplitGivesTheSameLine(seed: UInt64) {
    var random = SplitMix64(seed)
    for _ in 0..<200 {
      let line = random.bytes(random.below(300)).map { $0 == 0x0A ? 0x0B : $0 }
      let stream = line + [0x0A] + random.bytes(20)
      var reader = LineReader(limit: 300)
      var position = 0
      while true {
        let end = min(position + 1 + random.below(50), stream.count)
        let progress = stream[position..<end].withUnsafeBytes { reader.receive($0) }
        if case .line(let read, let consumed) = progress {
          #expect(read == line, "seed \(seed)")
          #expect(position + consumed == line.count + 1, "seed \(seed)")
          break
        }
        #expect(progress == .needsMore, "seed \(seed)")
        position = end
      }
    }
  }
}

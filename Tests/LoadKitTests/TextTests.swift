// Tables, numbers, statistics, workload files and /proc/stat.

import Glibc
import Testing

@testable import LoadKit

@Suite("Text")
struct TextTests {
  @Test("columns align: words to the left, numbers to the right, no trailing blanks")
  func table() {
    var table = Table(["case", "rate", "note"])
    table.rows = [["bulk", "9.5"], ["request", "12345", "disturbed"]]
    #expect(
      table.rendered() == """
        case      rate  note
        bulk       9.5
        request  12345  disturbed

        """)
  }

  @Test("a column is one of numbers when all its cells are; some may be missing or negative")
  func numericColumns() {
    var table = Table(["n", "about"])
    table.rows = [["-1.5", "4 downloads"], ["", "a download"], ["12%", ""]]
    #expect(
      table.rendered() == """
           n  about
        -1.5  4 downloads
              a download
         12%

        """)
  }

  @Test("numbers keep three digits")
  func numbers() {
    #expect(
      [0.41239, 8.308, 17.24, 512.4, 24_310].map(significant)
        == ["0.412", "8.31", "17.2", "512", "24310"])
    #expect(fixed(-0.5, 2) == "-0.50")
    #expect(fixed(0.004, 2) == "0.00")
    #expect(fixed(-0.004, 2) == "0.00")
    #expect(fixed(.infinity, 2) == "inf")
  }

  @Test("median and spread")
  func repeats() throws {
    #expect(Repeats([]) == nil)
    let odd = try #require(Repeats([3, 1, 2]))
    #expect(odd.median == 2 && odd.spread == 1)
    let even = try #require(Repeats([4, 2]))
    #expect(even.median == 3)
  }

  @Test("process time leaves interrupts out")
  func procStat() throws {
    let text = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3\n"
    let time = try #require(MachineTime(parsing: text, ticksPerSecond: 100))
    #expect(time.processNanoseconds == 1_500_000_000)
    #expect(time.stealNanoseconds == 80_000_000)
    #expect(MachineTime(parsing: "intr 1 2", ticksPerSecond: 100) == nil)
  }

  @Test("the kernel's memory of TCP sockets is found among the others")
  func sockstat() throws {
    let text = """
      sockets: used 12
      TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 292
      UDP: inuse 0 mem 7
      """
    #expect(socketMemoryPages(text) == 292)
    #expect(socketMemoryPages("TCP: inuse 1") == nil)
    #expect(socketMemoryPages("UDP: mem 7") == nil)
    #expect(try #require(socketMemoryBytes()) >= 0)
  }

  @Test("this process has a CPU clock and a resident set")
  func ownProcess() throws {
    #expect(try #require(processCPUNanoseconds(getpid())) > 0)
    #expect(try #require(residentBytes(getpid())) > 1 << 20)
  }
}

@Suite("Workload files")
struct WorkloadTests {
  func parse(_ json: String) throws -> Workload { try Workload(json: Array(json.utf8)) }

  @Test("a file with all fields is read")
  func whole() throws {
    let workload = try parse(
      #"{"name":"rr-64","about":"x","kind":"rr","connections":64,"messageBytes":64}"#)
    #expect(workload.kind == .requests)
    #expect(workload.connections == 64)
    #expect(workload.messageBytes == 64)
  }

  @Test("a file with the fields of its kind is read")
  func kinds() throws {
    #expect(
      try parse(
        #"{"name":"p","about":"","kind":"paced","connections":1,"messageBytes":64,"#
          + #""intervalMilliseconds":10}"#
      ).intervalMilliseconds == 10)
    let stalled = try parse(
      #"{"name":"s","about":"","kind":"stalled","connections":16384,"connectsPerSecond":1000,"#
        + #""beside":"p","secondsMin":5,"loopbackMTU":1500}"#)
    #expect(stalled.beside == "p" && stalled.loopbackMTU == 1500)
    let short = try parse(
      #"{"name":"s","about":"","kind":"short-down","connections":1,"downloadBytes":1000000,"#
        + #""beside":"b","besideLeadSeconds":11,"alone":"main"}"#)
    #expect(short.alone == .main && short.besideLeadSeconds == 11)
  }

  /// The files that `ri-bench` reads.
  static var files: [String] {
    let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
    guard let entries = opendir("\(root)/Profiles/load") else { return [] }
    defer { closedir(entries) }
    var files: [String] = []
    while let entry = readdir(entries) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasSuffix(".json") { files.append("\(root)/Profiles/load/\(name)") }
    }
    return files
  }

  @Test("all workloads of the project are good, are named like their files, and find each other")
  func projectFiles() throws {
    let workloads = try Self.files.map { path in
      let workload = try parse(try #require(readSmallFile(path), "\(path)"))
      #expect(path.hasSuffix("/\(workload.name).json"))
      return workload
    }
    #expect(workloads.count > 10)
    for workload in workloads {
      guard let name = workload.beside else { continue }
      #expect(workloads.contains { $0.name == name }, "\(workload.name) beside \(name)")
    }
  }

  @Test(
    "what cannot be run is refused",
    arguments: [
      #"{"name":"a","about":"","kind":"bulk-down","connections":0}"#,
      #"{"name":"a","about":"","kind":"rr","connections":1}"#,
      #"{"name":"a","about":"","kind":"rr","connections":1,"messageBytes":65537}"#,
      #"{"name":"a","about":"","kind":"flood","connections":1}"#,
      #"{"name":"a","about":"","kind":"paced","connections":1,"messageBytes":64}"#,
      #"{"name":"a","about":"","kind":"stalled","connections":1}"#,
      #"{"name":"a","about":"","kind":"stalled","connections":1,"connectsPerSecond":0}"#,
      #"{"name":"a","about":"","kind":"short-down","connections":1}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"downloadBytes":1}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"secondsMin":601}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"loopbackMTU":100}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"alone":"main"}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"besideLeadSeconds":1}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"appetites":[]}"#,
      #"{"name":"a","about":"","kind":"bulk-up","connections":1,"appetites":[\#(appetite(1, 0))]}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":1,"#
        + #""appetites":[\#(appetite(0, 0))]}"#,
      #"{"name":"a","about":"","kind":"bulk-down","connections":2,"appetites":"#
        + #"[\#(appetite(1, 5)),\#(appetite(1, 4))]}"#,
      "{",
    ])
  func refused(json: String) {
    #expect(throws: LoadError.self) { try parse(json) }
  }
}

private func appetite(_ bytes: Int, _ start: Int) -> String {
  #"{"receiveBytes":\#(bytes),"writeBytes":1,"startMilliseconds":\#(start)}"#
}

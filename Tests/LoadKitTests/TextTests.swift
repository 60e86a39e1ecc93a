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

  @Test(
    "what cannot be run is refused",
    arguments: [
      #"{"name":"a","about":"","kind":"bulk-down","connections":0}"#,
      #"{"name":"a","about":"","kind":"rr","connections":1}"#,
      #"{"name":"a","about":"","kind":"rr","connections":1,"messageBytes":65537}"#,
      #"{"name":"a","about":"","kind":"flood","connections":1}"#,
      "{",
    ])
  func refused(json: String) {
    #expect(throws: LoadError.self) { try parse(json) }
  }
}

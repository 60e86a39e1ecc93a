// The page, as a browser shows it: Chromium loads it from a file, reports what its console says,
// and takes a picture.

import FoundationEssentials
import Glibc
import LoadKit
import Testing

@testable import ri_bench

@Suite("Page")
struct PageTests {
  @Test("all that was measured is there, nothing comes from elsewhere, and text stays text")
  func content() throws {
    let report = try Fixture.report()
    let html = ReportPage(report, comparedWith: report).html
    for part in [
      "A processor", "0123456", "ri-bench --profile figures &lt;&amp;&gt;", "bulk-down-16",
      "CPU-s/GB", "99.9%", "connections that rest", "scale-connections: CPU",
      "Compared with commit", "within the spread", "Latency",
    ] {
      #expect(html.contains(part), "\(part)")
    }
    #expect(!html.contains("<&>"))
    #expect(html.split(separator: "<svg").count - 1 >= 8)
    for reference in ["http:", "https:", "<script", "<img", "@import", "url("] {
      #expect(!html.contains(reference), "\(reference)")
    }
  }

  @Test("a report without figures still makes a page")
  func empty() {
    let html = ReportPage(Report(machine: Fixture.machine, rounds: 1, seconds: 1)).html
    #expect(html.contains("A processor") && !html.contains("<svg"))
  }

  @Test("older figures, without what was added since, still make a page")
  func older() throws {
    let json = """
      {"machine": {"cpu": "c", "cores": 2, "kernel": "6.1", "commit": "abc", "swift": "s",
       "network": "n", "time": 1}, "rounds": 1, "seconds": 2, "flows": [], "datagrams": [],
       "micros": [], "links": [], "loads": [{"name": "rr-1", "system": "roofline", "isBulk": false,
       "runs": [{"rate": 5, "cpuPerUnit": 1, "loadCPUPerUnit": 1, "residentBytes": [1, 2],
       "disturbance": 0, "latency": {"p50": 1, "p95": 2, "p99": 3, "p999": 4, "max": 5}}]}]}
      """
    let path = try Browser.directory() + "/old.json"
    try Data(json.utf8).write(to: URL(filePath: path))
    #expect(ReportPage(try Report(readingFrom: path)).html.contains("rr-1"))
    try Data("{}".utf8).write(to: URL(filePath: path))
    #expect(throws: LoadError.self) { try Report(readingFrom: path) }
  }

  @Test(
    "a browser shows it, light and dark, and has nothing to complain about",
    .enabled(if: Browser.isInstalled, "needs chromium"), arguments: [false, true])
  func browser(isDark: Bool) throws {
    let browser = try Browser()
    let page = "\(browser.path)/page.html"
    let report = try Fixture.report()
    try ReportPage(report, comparedWith: Fixture.report(factor: 0.5)).write(to: page)
    let said = try browser.show(page, isDark: isDark, picture: "\(browser.path)/page.png")
    #expect(said == [])
    let picture = try Data(contentsOf: URL(filePath: "\(browser.path)/page.png"))
    // An empty page of that size takes a tenth of it.
    #expect(picture.starts(with: [0x89, 0x50, 0x4E, 0x47]) && picture.count > 60_000)
    if let kept = getenv("RI_PAGE_PICTURES").map({ String(cString: $0) }) {
      try picture.write(to: URL(filePath: "\(kept)/\(isDark ? "dark" : "light").png"))
    }
  }

  @Test("a page with an error is told from one without", .enabled(if: Browser.isInstalled))
  func complaint() throws {
    let browser = try Browser()
    let page = "\(browser.path)/bad.html"
    try Data("<!doctype html><title>t</title><script>undefinedName()</script>".utf8)
      .write(to: URL(filePath: page))
    #expect(try browser.show(page, isDark: false, picture: "\(browser.path)/bad.png") != [])
  }
}

// What each path answers, and what all answers have in common.

import Foundation
import RIControl
import RemoteIngress
import Testing

@testable import RIAdmin

struct EndpointTests {
  @Test func healthAndReadiness() async throws {
    let source = FakeSource(.hub)
    var limits = AdminLimits()
    limits.statusMaxAgeMilliseconds = 0
    try await withServer(source, limits: limits) { port async throws in
      #expect(try await curl(port, "/healthz").body == "ok\n")
      #expect(source.snapshots == 0, "alive is who answers")
      #expect(try await curl(port, "/readyz").body == "ready\n")
      source.change { $0.isReady = false }
      let answer = try await curl(port, "/readyz")
      #expect(answer.status == 503 && answer.body == "not ready\n")
    }
  }

  @Test func statusAndMetrics() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      let status = try await curl(port, "/status")
      #expect(status.status == 200 && status.headers["content-type"] == "application/json")
      #expect(status.body == "{\"running\":true}\n")
      let metrics = try await curl(port, "/metrics")
      #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
      #expect(metrics.body == Metrics(of: .hub).text)
      #expect(try await curl(port, "/status?x=1").status == 200)
    }
  }

  @Test func thePageIsWholeAndAsksForNothingElse() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      let page = try await curl(port, "/")
      #expect(page.status == 200 && page.headers["content-type"] == "text/html; charset=utf-8")
      #expect(page.body.hasPrefix("<!doctype html>"))
      let css = try await curl(port, "/page.css")
      #expect(css.headers["content-type"] == "text/css; charset=utf-8")
      // From the page on, every file that one of them names is there.
      var texts = [page.body, css.body]
      var names = Self.files(in: page.body)
      #expect(names.contains("/page.css") && names.contains("/page.js"))
      while let name = names.popFirst(), name != "/page.css" || !names.isEmpty {
        let file = try await curl(port, name)
        #expect(file.status == 200, "\(name)")
        texts.append(file.body)
        if name.hasSuffix(".js") {
          #expect(file.headers["content-type"] == "text/javascript; charset=utf-8")
          names.formUnion(Self.files(in: file.body))
        }
      }
      #expect(texts.count >= 7)
      for text in texts {
        // The name space of SVG is a name, and nothing is fetched from there.
        let foreign = text.replacingOccurrences(of: "http://www.w3.org/2000/svg", with: "")
        #expect(!foreign.contains("http://") && !foreign.contains("https://"))
        #expect(!text.contains("@import") && !text.contains("innerHTML"))
      }
    }
  }

  /// `"/page.css"` and `"./view.js"` as paths.
  private static func files(in text: String) -> Set<String> {
    let words = text.split { $0 == "\"" || $0.isNewline }
    return Set(
      words.filter { $0.hasSuffix(".js") || $0.hasSuffix(".css") }
        .map { "/" + $0.drop { $0 == "." || $0 == "/" } })
  }

  @Test func everyAnswerForbidsWhatIsForeign() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      for path in ["/", "/status", "/metrics", "/healthz", "/nothing"] {
        let headers = try await curl(port, path, ["-H", "Origin: http://evil.example"]).headers
        let policy = headers["content-security-policy"] ?? ""
        #expect(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "\(path)")
        #expect(headers["x-content-type-options"] == "nosniff")
        #expect(headers["x-frame-options"] == "DENY" && headers["cache-control"] == "no-store")
        #expect(!headers.keys.contains { $0.hasPrefix("access-control") })
        #expect(headers["server"] == nil)
      }
    }
  }

  @Test func otherPathsAndMethodsAreRefused() async throws {
    try await withServer(FakeSource(.hub)) { port async throws in
      #expect(try await curl(port, "/nothing").status == 404)
      #expect(try await curl(port, "/healthz/").status == 404)
      #expect(try await curl(port, "/page.css/../status", ["--path-as-is"]).status == 404)
      let post = try await curl(port, "/status", ["-X", "POST", "-d", "x"])
      #expect(post.status == 405 && post.headers["allow"] == "GET, HEAD")
      let head = try await curl(port, "/status", ["--head"])
      #expect(head.status == 200 && head.body.isEmpty)
      #expect(head.headers["content-length"] == "17")
    }
  }

  @Test func manyQuestionsAtOnceAreOneLook() async throws {
    let source = FakeSource(.hub)
    var limits = AdminLimits()
    limits.statusMaxAgeMilliseconds = 60_000
    try await withServer(source, limits: limits) { port async throws in
      for _ in 0..<5 { #expect(try await curl(port, "/status").status == 200) }
      #expect(source.snapshots == 1)
    }
  }
}

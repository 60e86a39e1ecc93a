// PROXY headers as a target reads them, whole and in parts, and what is none.

import Testing

@testable import ri_load

@Suite("PROXY headers")
struct ProxyHeaderTests {
  private static let signature: [UInt8] = [
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
  ]

  private func source(_ text: String) -> String? {
    guard case .header(let header) = ProxyHeader.parse(Array(text.utf8)) else { return nil }
    return header.source?.description
  }

  @Test("version 1")
  func lines() {
    #expect(source("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nGET") == "192.0.2.7:4711")
    #expect(source("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n") == "[2001:db8::7]:4711")
    #expect(
      ProxyHeader.parse(Array("PROXY UNKNOWN\r\nx".utf8))
        == .header(ProxyHeader(source: nil, version: 1, byteCount: 15)))
  }

  @Test("version 2, with extensions, and for nobody")
  func binary() {
    let four: [UInt8] = [0x21, 0x12, 0, 14, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187]
    #expect(
      ProxyHeader.parse(Self.signature + four + [9, 9] + [1])
        == .header(
          ProxyHeader(
            source: Endpoint(address: [192, 0, 2, 7], port: 0x1267), version: 2, byteCount: 30)))
    let six =
      [0x21, 0x21, 0, 36] + [UInt8](repeating: 7, count: 16) + [UInt8](repeating: 8, count: 16)
      + [1, 2, 3, 4]
    guard case .header(let header) = ProxyHeader.parse(Self.signature + six) else {
      Issue.record("no header")
      return
    }
    #expect(header.source == Endpoint(address: [UInt8](repeating: 7, count: 16), port: 0x0102))
    #expect(
      ProxyHeader.parse(Self.signature + [0x20, 0, 0, 0])
        == .header(ProxyHeader(source: nil, version: 2, byteCount: 16)))
  }

  @Test("every part of a header is incomplete, and nothing is")
  func parts() {
    let line = Array("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".utf8)
    let binary =
      Self.signature + [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 187]
    for header in [line, binary] {
      for count in 0..<header.count {
        #expect(ProxyHeader.parse(header[..<count]) == .incomplete, "\(count)")
      }
    }
  }

  @Test(
    "what is no header",
    arguments: [
      "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 4711 70000\r\n", "PROXY TCP9 a b 1 2\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
      "PROXY " + String(repeating: "x", count: 120),
    ])
  func wrong(text: String) {
    #expect(ProxyHeader.parse(Array(text.utf8)) == .wrong)
  }

  @Test("other bytes are a load without a header; a wrong version 2 is refused")
  func others() {
    #expect(ProxyHeader.parse(Array("RILD".utf8)) == .absent)
    #expect(ProxyHeader.parse(Self.signature + [0x31, 0x11, 0, 0]) == .wrong)
    #expect(ProxyHeader.parse(Self.signature + [0x21, 0x11, 0, 2, 1, 1]) == .wrong)
  }
}

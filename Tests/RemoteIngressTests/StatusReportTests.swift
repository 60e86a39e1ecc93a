// What `status` shows people, and how it reads an HTTP answer.

import RIControl
import RIWire
import RemoteIngress
import Testing

@testable import remoteingress

@Suite struct StatusReportTests {
  private func link(_ id: String, bytesIn: UInt64, bytesOut: UInt64) -> LinkStatus {
    LinkStatus(
      edgeID: id, address: "192.0.2.1:4711", transport: .tcpTls, connectedAt: 1_000,
      roundTrip: 0.0123, activeStreams: 17, udpSessions: 2, bytesIn: bytesIn, bytesOut: bytesOut)
  }

  private func hub(bytesIn: UInt64) -> HubStatus {
    var status = HubStatus()
    status.running = true
    status.tunnelPort = 8443
    status.version = "1.2.3"
    status.activeStreams = 17
    status.udpSessions = 2
    status.connectedEdges = [link("e1", bytesIn: bytesIn, bytesOut: 999)]
    status.process.state = .running
    status.process.pid = 42
    status.process.startedAt = 1_000
    return status
  }

  private let start = SuspendingClock.now

  private func sample(_ json: String, _ seconds: Int = 0) -> StatusSample {
    StatusSample(Array(json.utf8), at: start + .seconds(seconds))
  }

  @Test func hubsTable() {
    let text = sample(hub(bytesIn: 1_500_000).json).report(since: nil, now: 8_500)
    #expect(
      text
        == """
        hub running, tunnel port 8443, version 1.2.3
        1 edges, 17 streams, 2 UDP sessions
        engine 42 running for 2 h 5 min

        EDGE  ADDRESS         TRANSPORT  UP        RTT      STREAMS  UDP  IN      OUT
        e1    192.0.2.1:4711  tcpTls     2 h 5 min  12.3 ms  17       2    1.5 MB  999 B
        """.replacing("UP        RTT ", with: "UP         RTT "))
  }

  @Test func ratesBetweenTwoLooks() {
    let before = sample(hub(bytesIn: 1_000_000).json)
    let text = sample(hub(bytesIn: 5_000_000).json, 2).report(since: before, now: 1_010)
    #expect(text.hasSuffix("2.0 MB/s  0 B/s"))
  }

  @Test func edgesTable() {
    var status = EdgeStatus()
    status.edgeId = "e1"
    status.connected = true
    status.listeners = [
      ListenerStatus(port: 80, transport: .tcp, address: "0.0.0.0", state: .listening),
      ListenerStatus(
        port: 53, transport: .udp, address: "::", state: .failed, error: "bind: Address in use"),
    ]
    status.firewall.state = .refused
    status.firewall.reason = "rules[0]\u{1B}[31m"
    let text = sample(status.json).report(since: nil, now: 0)
    #expect(text.contains("edge e1 connected"))
    #expect(text.contains("udp 53  ::       failed"))
    #expect(text.contains("tcp 80  0.0.0.0  listening\n"))
    // What a peer wrote does not reach the terminal's controls.
    #expect(text.contains("firewall refused") && !text.contains("\u{1B}"))
  }

  @Test func anotherVersionsStatusIsShownAsItCame() {
    #expect(sample(#"{"what":1}"#).report(since: nil) == #"{"what":1}"#)
  }

  @Test func answers() {
    let plain = HTTPAnswer(Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".utf8))
    #expect(plain?.status == 200 && plain?.body == Array("{}".utf8))
    let chunked = HTTPAnswer(
      Array(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
          .utf8))
    #expect(chunked?.body == Array("abcd".utf8))
    for bad in ["", "HTTP/1.1 200 OK", "SSH-2.0\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
      #expect(HTTPAnswer(Array(bad.utf8)) == nil)
    }
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"
    #expect(HTTPAnswer(Array(cut.utf8)) == nil)
  }

  @Test func durationsAndSizes() {
    #expect(duration(0) == "0 s" && duration(59.9) == "59 s" && duration(61) == "1 min 1 s")
    #expect(duration(90_000) == "1 d 1 h" && duration(-5) == "0 s" && duration(86_400) == "1 d")
    #expect(bytes(0) == "0 B" && bytes(999) == "999 B" && bytes(1_000) == "1.0 kB")
    #expect(bytes(99_949) == "99.9 kB" && bytes(123_456) == "123 kB")
    #expect(bytes(UInt64.max).hasSuffix(" TB"))
  }
}

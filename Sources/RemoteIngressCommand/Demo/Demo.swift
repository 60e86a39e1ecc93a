// `remoteingress demo`: a hub, an edge and a target on loopback, real traffic through them,
// figures.

import Dispatch
import Glibc
import RIBase
import RIControl
import RIEngine
import RIWire

/// Runs the demo; throws what went wrong.
struct Demo {
  let bulkBytes: Int
  let requests: Int
  let keep: Bool

  private struct Row {
    var what: String
    var figure: String
  }

  func run() throws {
    let pattern = DemoPattern()
    let target = try DemoTarget(pattern: pattern)
    let running = try DemoTunnel.start(targetPort: target.port)
    defer { running.stop() }
    print("hub     127.0.0.1:\(running.hubPort)   TLS 1.3, \(running.cipher)")
    print("edge    127.0.0.1:\(running.edgePort)   where clients come in")
    print("target  127.0.0.1:\(target.port)   HTTP behind the PROXY protocol\n")
    var client = try DemoClient(port: running.edgePort, pattern: pattern)
    print("GET /  ->  \(try client.hello())\n")
    var rows: [Row] = []
    try measureRequests(&client, into: &rows)
    try measureBulk(&client, into: &rows)
    client.close()
    try measureConnections(running.edgePort, pattern, into: &rows)
    let width = rows.map(\.what.count).max() ?? 0
    for row in rows {
      let padding = String(repeating: " ", count: width - row.what.count)
      print("\(row.what)\(padding)  \(row.figure)")
    }
    print("\nevery byte was checked")
    if keep {
      print("\nTry  curl http://127.0.0.1:\(running.edgePort)/  (Ctrl-C ends it)")
      fflush(nil)
      while true { sleep(3600) }
    }
  }

  private func measureRequests(_ client: inout DemoClient, into rows: inout [Row]) throws {
    var times: [UInt64] = []
    for _ in 0..<requests {
      let start = DispatchTime.now().uptimeNanoseconds
      _ = try client.hello()
      times.append(DispatchTime.now().uptimeNanoseconds - start)
    }
    times.sort()
    let p50 = Double(times[times.count / 2]) / 1e3
    let p99 = Double(times[times.count * 99 / 100]) / 1e3
    rows.append(
      Row(
        what: "\(requests) requests on one connection",
        figure: "p50 \(rounded(p50)) µs, p99 \(rounded(p99)) µs"))
  }

  private func measureBulk(_ client: inout DemoClient, into rows: inout [Row]) throws {
    let size = "\(bulkBytes >> 20) MiB"
    let down = try seconds { try client.download(bulkBytes) }
    rows.append(Row(what: "\(size) download", figure: rate(down)))
    let up = try seconds { try client.upload(bulkBytes) }
    rows.append(Row(what: "\(size) upload", figure: rate(up)))
  }

  private func measureConnections(
    _ port: UInt16, _ pattern: DemoPattern, into rows: inout [Row]
  ) throws {
    let count = requests / 4
    let taken = try seconds {
      for _ in 0..<count {
        var client = try DemoClient(port: port, pattern: pattern)
        _ = try client.hello()
        client.close()
      }
    }
    rows.append(
      Row(
        what: "\(count) connections, a request each",
        figure: "\(rounded(Double(count) / taken)) connections/s, one after the other"))
  }

  private func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    try body()
    return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
  }

  private func rate(_ seconds: Double) -> String {
    let gigabits = Double(bulkBytes) * 8 / seconds / 1e9
    return
      "\(Double(Int(gigabits * 100)) / 100) Gbit/s (client, target, hub and edge on one machine)"
  }

  private func rounded(_ value: Double) -> Int { Int(value.rounded()) }
}

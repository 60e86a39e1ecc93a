// A STUN server (RFC 8489) that tells everyone the same address.

import Foundation
import Glibc

final class StunServer: Sendable {
  /// What it says: 192.0.2.44, of the documentation's addresses.
  static let address = "192.0.2.44"
  let port: UInt16
  private let descriptor: Int32

  init() throws {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) + getsockname(descriptor, $0, &length)
      }
    }
    guard code == 0 else { throw SocketFailure(description: "STUN: errno \(errno)") }
    port = UInt16(bigEndian: address.sin_port)
    self.descriptor = descriptor
    Thread.detachNewThread { Self.serve(descriptor) }
  }

  func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  private static func serve(_ descriptor: Int32) {
    var request = [UInt8](repeating: 0, count: 1_500)
    var peer = sockaddr()
    while true {
      var length = socklen_t(MemoryLayout<sockaddr>.size)
      let count = recvfrom(descriptor, &request, request.count, 0, &peer, &length)
      guard count > 0 else { return }
      guard count >= 20 else { continue }
      // A success for a binding, with the request's cookie and transaction, and XOR-MAPPED-ADDRESS.
      var answer: [UInt8] = [0x01, 0x01, 0, 12] + request[4..<20]
      answer += [0x00, 0x20, 0, 8, 0, 1, 0x21 ^ 0x12, 0x12 ^ 0x34]
      answer += zip([192, 0, 2, 44], [0x21, 0x12, 0xA4, 0x42] as [UInt8]).map { $0 ^ $1 }
      sendto(descriptor, answer, answer.count, 0, &peer, length)
    }
  }
}

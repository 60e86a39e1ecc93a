// One end of a link on a real socket of 127.0.0.1, driven by a blocking loop: for peers that are
// processes.

import Glibc
import RIBase
import RIQUIC
import RITunnel
import Testing

/// A UDP socket, an `End` and the clock.
final class SocketDriver {
  let end: End
  let port: Port
  private let descriptor: Int32
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)

  init(_ make: (BufferStore) -> QUICEndpoint) throws {
    end = End(make)
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    self.descriptor = descriptor
    var address = Self.address(0)
    var count = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, count) == 0 && getsockname(descriptor, $0, &count) == 0
      }
    }
    try #require(isBound)
    port = UInt16(bigEndian: address.sin_port)
  }

  deinit {
    end.endpoint.end()
    close(descriptor)
    buffer.deallocate()
  }

  var local: SocketAddress { SocketAddress(.loopbackV4, port) }

  static var now: Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  private static func address(_ port: Port) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  /// Runs until `condition` holds, which it returns, or for `seconds` at most.
  func run(seconds: Int64, until condition: () -> Bool) -> Bool {
    let limit = Self.now + .seconds(seconds)
    while true {
      transmit()
      if condition() { return true }
      let now = Self.now
      guard now < limit else { return false }
      let wake = min(end.endpoint.nextDeadline ?? limit, limit, now + .milliseconds(20))
      var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let wait = max(0, (wake - now).nanoseconds + 999_999) / 1_000_000
      if poll(&poller, 1, Int32(wait)) > 0 { receive() }
      end.endpoint.handleDeadline(now: Self.now)
    }
  }

  private func receive() {
    while true {
      var address = sockaddr_in()
      var count = socklen_t(MemoryLayout<sockaddr_in>.size)
      let received = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(
            descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT), $0, &count)
        }
      }
      guard received > 0 else { return }
      _ = end.endpoint.receive(
        UnsafeRawBufferPointer(rebasing: buffer[..<received]), segmentBytes: received,
        from: SocketAddress(
          IPAddress(v4: UInt32(bigEndian: address.sin_addr.s_addr)),
          UInt16(bigEndian: address.sin_port)), to: local, ecn: 0, now: Self.now)
      end.poll(Self.now)
    }
  }

  private func transmit() {
    end.poll(Self.now)
    while let batch = end.endpoint.pollPackets(into: buffer, now: Self.now) {
      var offset = 0
      while offset < batch.byteCount {
        let count = min(batch.segmentBytes, batch.byteCount - offset)
        var address = Self.address(batch.remote.port)
        _ = withUnsafePointer(to: &address) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            sendto(
              descriptor, buffer.baseAddress.map { $0 + offset }, count, 0, $0,
              socklen_t(MemoryLayout<sockaddr_in>.size))
          }
        }
        offset += count
      }
    }
  }
}

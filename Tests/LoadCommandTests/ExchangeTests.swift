// What client and target say to each other, there and back, and with any byte changed.

import Testing

@testable import ri_load

@Suite("Exchange")
struct ExchangeTests {
  private let address = Endpoint(address: [192, 0, 2, 7], port: 4711)
  private let longAddress = Endpoint(address: Array(1...16), port: 65_535)

  @Test("requests, replies, receipts and datagram headers come back as they were")
  func roundTrip() {
    let request = Request(.download, offset: 1 << 40, totalBytes: 99)
    #expect(request.bytes.count == Request.byteCount && Request(request.bytes) == request)
    for client in [address, longAddress] {
      let reply = Reply(client: client, isFromHeader: true, to: request)
      #expect(reply.bytes.count == Reply.byteCount && Reply(reply.bytes) == reply)
    }
    let receipt = Receipt(bytesReceived: 123_456_789_012, isWrong: true)
    #expect(receipt.bytes.count == Receipt.byteCount && Receipt(receipt.bytes) == receipt)
    let header = DatagramHeader(session: 7, number: 1 << 33)
    #expect(header.bytes.count == DatagramHeader.byteCount)
    #expect(DatagramHeader(header.bytes + [1, 2]) == header)
  }

  @Test("a changed bit never leaves the same request or reply")
  func changed() {
    let request = Request(.echo, offset: 8191)
    let reply = Reply(client: address, isFromHeader: true, to: request)
    for bit in 0..<(Request.byteCount * 8) {
      var bytes = request.bytes
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(Request(bytes) != request)
      bytes = reply.bytes
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(Reply(bytes) != reply)
    }
  }

  @Test("addresses are read as they are written")
  func addresses() throws {
    #expect(try Endpoint.resolve("127.0.0.1:80") == Endpoint(address: [127, 0, 0, 1], port: 80))
    #expect(try Endpoint.resolve("[2001:db8::1]:443").description == "[2001:db8::1]:443")
    #expect(Endpoint(longAddress.storage) == longAddress)
    #expect(Endpoint(address.storage) == address)
    for text in ["127.0.0.1", "127.0.0.1:70000"] {
      #expect(throws: (any Error).self) { try Endpoint.resolve(text) }
    }
  }

  @Test("a schedule is even, and misses nothing after a pause")
  func schedule() {
    var schedule = Schedule(start: 1_000, perSecond: 1e6)
    #expect(schedule.take(at: 999) == nil)
    var times: [UInt64] = []
    while let (number, due) = schedule.take(at: 6_000) {
      #expect(number == times.count)
      times.append(due)
    }
    #expect(times == [1_000, 2_000, 3_000, 4_000, 5_000, 6_000])
  }
}

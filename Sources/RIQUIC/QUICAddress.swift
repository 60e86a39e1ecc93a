// Addresses and connection ids between our form and the C shim's.

import CNGTCP2
import RIBase

extension SocketAddress {
  /// The shim's form.
  var quic: quic_address {
    var form = quic_address()
    form.port = port
    form.scope = scope
    form.is_v6 = ip.family == .v6
    withUnsafeMutableBytes(of: &form.ip) {
      $0.storeBytes(of: ip.high.bigEndian, toByteOffset: 0, as: UInt64.self)
      $0.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return form
  }

  init(_ form: quic_address) {
    let (high, low) = withUnsafeBytes(of: form.ip) {
      (
        UInt64(bigEndian: $0.load(fromByteOffset: 0, as: UInt64.self)),
        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
    let ip =
      form.is_v6
      ? IPAddress(v6High: high, low: low) : IPAddress(v4: UInt32(truncatingIfNeeded: high >> 32))
    self.init(ip, form.port, scope: form.scope)
  }
}

/// Two ends of a path.
struct QUICPath: Equatable {
  var local: SocketAddress
  var remote: SocketAddress

  var quic: quic_path { quic_path(local: local.quic, remote: remote.quic) }

  init(local: SocketAddress, remote: SocketAddress) {
    self.local = local
    self.remote = remote
  }

  init(_ form: quic_path) {
    local = SocketAddress(form.local)
    remote = SocketAddress(form.remote)
  }
}

/// A connection id of at most 20 bytes (RFC 9000 section 17.2).
struct ConnectionID: Hashable {
  private var words: (UInt64, UInt64, UInt32) = (0, 0, 0)
  let count: UInt8

  /// Nil for more than 20 bytes.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count <= QUIC_CID_MAX else { return nil }
    count = UInt8(bytes.count)
    withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: bytes) }
  }

  init(_ form: quic_cid) {
    count = min(form.count, UInt8(QUIC_CID_MAX))
    withUnsafeBytes(of: form.bytes) { from in
      withUnsafeMutableBytes(of: &words) {
        $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: from[..<Int(count)]))
      }
    }
  }

  var quic: quic_cid {
    var form = quic_cid()
    form.count = count
    withUnsafeBytes(of: words) { from in
      withUnsafeMutableBytes(of: &form.bytes) {
        $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: from[..<Int(count)]))
      }
    }
    return form
  }

  /// Whether a packet is one with a short header for this id, which is one of ours.
  @inline(__always)
  func isDestination(of packet: UnsafeRawBufferPointer) -> Bool {
    guard packet.count > Self.ownBytes, packet[0] & 0x80 == 0, count == UInt8(Self.ownBytes) else {
      return false
    }
    // SAFETY: the 16 bytes behind the first, as was just checked; loads need no alignment.
    return packet.loadUnaligned(fromByteOffset: 1, as: UInt64.self) == words.0
      && packet.loadUnaligned(fromByteOffset: 9, as: UInt64.self) == words.1
  }

  static func == (a: ConnectionID, b: ConnectionID) -> Bool {
    a.words == b.words && a.count == b.count
  }

  func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
  }

  // MARK: Ours

  /// The length of the ids that we give out: the shard's byte and 15 random ones.
  static let ownBytes = 16

  /// A new id of a shard. The shard's number is XORed with the id's second byte, so that ids of one
  /// shard do not look alike; it is no secret.
  static func make(shard: UInt8) -> ConnectionID {
    var form = quic_cid()
    form.count = UInt8(ownBytes)
    // SAFETY: the id's 20 bytes, of which the first 16 are written.
    withUnsafeMutableBytes(of: &form.bytes) {
      quic_random($0.bindMemory(to: UInt8.self).baseAddress, ownBytes)
      $0[0] = shard ^ $0[1]
    }
    return ConnectionID(form)
  }

  /// The shard that an id of ours names; nil when it cannot be ours.
  static func shard(of bytes: UnsafeRawBufferPointer) -> UInt8? {
    bytes.count == ownBytes ? bytes[0] ^ bytes[1] : nil
  }
}

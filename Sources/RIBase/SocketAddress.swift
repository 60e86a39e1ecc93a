// Addresses and ports as values. Text and wire forms live in RIWire, kernel forms in RIRing.

/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable {
  public enum Family: UInt8, Sendable { case v4, v6 }

  public let family: Family
  /// The address in network order: 4 bytes in the high half of `high` for IPv4, 16 for IPv6.
  public let high: UInt64
  public let low: UInt64

  @inlinable
  public init(v4 address: UInt32) {
    family = .v4
    high = UInt64(address) << 32
    low = 0
  }

  @inlinable
  public init(v6High high: UInt64, low: UInt64) {
    family = .v6
    self.high = high
    self.low = low
  }

  /// The 32 bits of an IPv4 address, most significant byte first.
  @inlinable
  public var v4: UInt32 { UInt32(high >> 32) }

  public static let anyV4 = IPAddress(v4: 0)
  public static let anyV6 = IPAddress(v6High: 0, low: 0)
  public static let loopbackV4 = IPAddress(v4: 0x7F00_0001)
  public static let loopbackV6 = IPAddress(v6High: 0, low: 1)

  /// Whether it stands for all addresses of its family.
  public var isAny: Bool { high == 0 && low == 0 }
}

/// A TCP or UDP port.
public typealias Port = UInt16

public enum TransportProtocol: String, Codable, CaseIterable, Sendable { case tcp, udp }

/// Where a socket is: an address, a port and, for IPv6 link-local addresses, the interface.
public struct SocketAddress: Hashable, Sendable {
  public var ip: IPAddress
  public var port: Port
  public var scope: UInt32

  @inlinable
  public init(_ ip: IPAddress, _ port: Port, scope: UInt32 = 0) {
    self.ip = ip
    self.port = port
    self.scope = scope
  }
}

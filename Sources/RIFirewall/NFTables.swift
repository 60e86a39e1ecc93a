// The conversation with libnftables.

import CNFTables
import Glibc
import Synchronization

/// Why nftables did not do as it was told, on one line.
public struct NFTablesError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String

  init(_ description: String) { self.description = description }

  /// Of what libnftables says only the lines that name an error: the others repeat the input, which
  /// can be long, and point into it.
  public init(message: String) {
    let errors = message.split(separator: "\n")
      .filter { $0.contains("rror: ") || $0.contains("netlink") }
      .prefix(3).map { String($0.prefix(200)) }
    let text = errors.isEmpty ? String(message.prefix(200)) : errors.joined(separator: "; ")
    description =
      text.isEmpty
      ? "nftables gives no reason"
      : String(
        text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : Character($0) })
  }
}

/// libnftables, which acts in the network namespace of the calling thread. It keeps lists for the
/// whole process (of interfaces, of tables) without a lock: one thread at a time is in there.
enum NFTables {
  enum Mode { case run, dryRun }

  private static let library = Mutex(())

  /// Carries out all commands or none, in a context of its own: a dry run leaves what it tried in
  /// its context's picture of the kernel.
  static func run(_ commands: String, _ mode: Mode = .run) throws(NFTablesError) {
    try probe()
    try library.withLock { _ throws(NFTablesError) in
      guard let context = ri_nft_open(mode == .dryRun) else {
        throw NFTablesError("libnftables gives no context")
      }
      defer { ri_nft_close(context) }
      guard commands.withCString({ ri_nft_run(context, $0) }) == 0 else {
        throw NFTablesError(message: text(ri_nft_error(context)))
      }
    }
  }

  // SAFETY: libnftables ends its text with a zero byte and keeps it until the next run; it is
  // copied here at once.
  private static func text(_ pointer: UnsafePointer<CChar>?) -> String {
    pointer.map { String(cString: $0) } ?? ""
  }

  /// Why nothing would come of it, found out beforehand: libnftables ends the whole process where
  /// it gets no socket. It needs one socket and a few files; without descriptors to spare it is
  /// not asked.
  static func probe() throws(NFTablesError) {
    guard ri_may_administer_network() else {
      throw NFTablesError("not permitted: CAP_NET_ADMIN is missing")
    }
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { close(descriptor) } }
    for _ in 0..<8 {
      let descriptor = ri_netfilter_socket()
      guard descriptor >= 0 else {
        throw NFTablesError("no netlink socket: \(String(cString: strerror(-descriptor)))")
      }
      descriptors.append(descriptor)
    }
  }
}

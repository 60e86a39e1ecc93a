// What an operation of the ring belongs to, packed into its token.

import RIBase
import RIRing

/// The kinds of operations that a shard has under way, and so the kinds of completions it handles.
enum OperationKind: UInt8 {
  case tunnelAccept
  case clientAccept
  case linkConnect
  case handshakeReceive
  case linkReceive
  case linkSend
  case linkClose
  case connectionConnect
  case connectionReceive
  case connectionSend
  case connectionClose
  case listenerClose
  case refusalClose
  case hubResolve
  case targetResolve
  case clientDatagram
  case targetDatagram
  case datagramSend
  case stunResolve
  case stunReceive
  case stunSend
  case packetReceive
  case packetSend
  case packetClose
  case addressChange
}

/// Layout of a token: kind (8 bits) | slot index (24) | slot generation (32). A completion whose
/// slot has been used again since is recognised by its generation and dropped.
struct OperationToken {
  let kind: OperationKind
  let slot: SlotID

  init(_ kind: OperationKind, _ slot: SlotID) {
    self.kind = kind
    self.slot = slot
  }

  init?(_ token: Token) {
    guard let kind = OperationKind(rawValue: UInt8(truncatingIfNeeded: token.rawValue >> 56)) else {
      return nil
    }
    self.kind = kind
    slot = SlotID(
      index: UInt32(truncatingIfNeeded: token.rawValue >> 32) & 0xFF_FFFF,
      generation: UInt32(truncatingIfNeeded: token.rawValue))
  }

  var token: Token {
    Token(
      UInt64(kind.rawValue) << 56 | UInt64(slot.index & 0xFF_FFFF) << 32 | UInt64(slot.generation))
  }
}

// The rings that the conformance suite runs on.

import RIBase
import Testing

@testable import RIRing

/// A backend of `IORing`.
enum Backend: String, CaseIterable, CustomTestStringConvertible, Sendable {
  case simulated
  case epoll

  /// The backends that can run here.
  static var available: [Backend] { allCases }

  /// Whether the ring lends free buffers to the kernel, so that pools show them as used.
  var lendsBuffers: Bool { false }

  var testDescription: String { rawValue }

  func makeRing(_ store: BufferStore) throws -> any IORing {
    switch self {
    case .simulated:
      let kernel = SimulatedKernel(seed: 1)
      let ring = SimulatedRing(kernel: kernel, host: kernel.makeHost([]), store: store)
      ring.passesTime = true
      return ring
    case .epoll: return try EpollRing(store: store)
    }
  }
}

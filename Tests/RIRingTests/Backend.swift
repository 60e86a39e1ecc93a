// The rings that the conformance suite runs on.

import RIBase
import Testing

@testable import RIRing

/// A backend of `IORing`.
enum Backend: CustomTestStringConvertible, Sendable {
  case simulated
  case epoll
  /// io_uring with all that the kernel offers, without one feature, or in its oldest form.
  case uring(UringFeatures, name: String)

  /// The backends that can run here.
  static let available: [Backend] = [.simulated, .epoll] + uringVariants

  private static var uringVariants: [Backend] {
    guard let offered = try? UringRing.probe() else {
      print("io_uring is not available: its tests do not run")
      return []
    }
    var variants: [Backend] = [.uring(offered, name: "uring")]
    for feature in UringFeatures.all where offered[keyPath: feature.path] {
      var features = offered
      features[keyPath: feature.path] = false
      variants.append(.uring(features, name: "uring without \(feature.name)"))
    }
    return variants + [.uring(.oldest, name: "oldest uring")]
  }

  /// Whether the ring lends free buffers to the kernel, so that pools show them as used.
  var lendsBuffers: Bool {
    if case .uring(let features, _) = self { features.bufferRings } else { false }
  }

  /// Whether a patient send that is taken whole ends no wait.
  var isPatient: Bool {
    if case .uring(let features, _) = self { features.silentSends } else { true }
  }

  var testDescription: String {
    switch self {
    case .simulated: "simulated"
    case .epoll: "epoll"
    case .uring(_, let name): name
    }
  }

  func makeRing(_ store: BufferStore) throws -> any IORing {
    switch self {
    case .simulated:
      let kernel = SimulatedKernel(seed: 1)
      let ring = SimulatedRing(kernel: kernel, host: kernel.makeHost([]), store: store)
      ring.passesTime = true
      return ring
    case .epoll: return try EpollRing(store: store)
    case .uring(let features, _): return try UringRing(store: store, features: features)
    }
  }
}

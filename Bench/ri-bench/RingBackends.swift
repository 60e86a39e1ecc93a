// The rings that are compared, by name.

import LoadKit
import RIBase
import RIRing

/// The pool of the relay's received bytes: 64 KiB × 64, the shape that bulk likes best.
let ringRelayPool = BufferPoolShape(count: 64, bytes: 64 * 1024)

func makeRing(_ name: String) throws(LoadError) -> any IORing {
  throw LoadError("no ring \(name)")
}

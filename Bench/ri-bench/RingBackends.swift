// The rings that are compared, by name.

import LoadKit
import RIBase
import RIRing

/// A ring whose pool 0 takes the relay's received bytes: 64 KiB × 64, the shape that bulk was found
/// to like best.
func makeRing(_ name: String) throws -> any IORing {
  let store = BufferStore([BufferPoolShape(count: 64, bytes: 64 * 1024)])
  switch name {
  case "uring": return try UringRing(store: store)
  case "epoll": return try EpollRing(store: store)
  default: throw LoadError("no ring \(name)")
  }
}

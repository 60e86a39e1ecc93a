// Who counts as one source where sources are counted.

import RIBase

extension IPAddress {
  /// The address itself; of IPv6 its /64, from which a host may choose as it likes.
  var source: IPAddress {
    switch family {
    case .v4: self
    case .v6: IPAddress(v6High: high, low: 0)
    }
  }
}

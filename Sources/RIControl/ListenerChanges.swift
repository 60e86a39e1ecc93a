// What a new list of ports means for the listeners of an edge (SPEC 4.2).

import RIBase

/// The ports to open and to close, each sorted and once.
public func listenerChanges(from old: [Port], to new: [Port]) -> (open: [Port], close: [Port]) {
  let before = Set(old)
  let after = Set(new)
  return (after.subtracting(before).sorted(), before.subtracting(after).sorted())
}

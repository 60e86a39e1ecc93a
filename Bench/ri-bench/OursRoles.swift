// One end of our own tunnel, in this process.

import Glibc
import LoadKit

/// Runs an edge or a hub until the process is killed; says `ready` when clients (at the edge) or
/// edges (at the hub) are accepted.
func runOurs(_ end: TunnelEnd, _ order: EndOrder) -> Never {
  writeText("ours \(end.rawValue): this build has no engine\n", to: 2)
  exit(69)
}

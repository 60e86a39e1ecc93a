// Keys and secrets lie in the memory of hub, edge and engine: it is kept from others.

import CLinuxProcess
import Glibc
import RemoteIngress

/// No core dump, no look by other processes of the same user (PR_SET_DUMPABLE), and no report of
/// the Swift runtime after a crash, which prints what registers point at. Not with
/// REMOTEINGRESS_CORE_DUMPS=1.
func protectMemory() {
  guard environmentVariables()[coreDumpsVariable] != "1" else { return }
  ri_set_dumpable(0)
  for number in [SIGQUIT, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP] {
    signal(number, SIG_DFL)
  }
}

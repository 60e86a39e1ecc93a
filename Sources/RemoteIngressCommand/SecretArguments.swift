// Secrets given as arguments leave the process list: /proc/PID/cmdline shows the memory in which
// the kernel placed them, and we write over it.

import Glibc
import RemoteIngress

/// Overwrites the values of secret flags and the token of `token decode`. Call it before anything
/// else runs, with the arguments copied.
func wipeSecretArguments() {
  let count = Int(CommandLine.argc)
  // SAFETY: argv has `count` C strings that belong to the process for its whole life; nothing else
  // runs yet, and only bytes before their terminators are written.
  let argv = CommandLine.unsafeArgv
  let secretFlags = HubConfiguration.secretFlags + EdgeConfiguration.secretFlags
  var wipesNext = false
  var words: [String] = []
  for i in 1..<max(count, 1) {
    guard let argument = argv[i] else { continue }
    let text = String(cString: argument)
    if wipesNext {
      wipe(argument)
      wipesNext = false
    } else if let flag = secretFlags.first(where: { text.hasPrefix($0 + "=") }) {
      wipe(argument + flag.utf8.count + 1)
    } else if secretFlags.contains(text) {
      wipesNext = true
    } else if words.prefix(2) == ["token", "decode"], !text.hasPrefix("--") {
      wipe(argument)
    }
    words.append(text)
  }
}

private func wipe(_ text: UnsafeMutablePointer<CChar>) {
  memset(text, Int32(UInt8(ascii: "*")), strlen(text))
}

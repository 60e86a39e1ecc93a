// `ri-fuzz TARGET [options and folders of libFuzzer]`. Only ci/fuzz builds it, and links libFuzzer.

import CFuzzer
import FuzzKit
import Glibc

nonisolated(unsafe) private var target: FuzzTarget?

guard CommandLine.arguments.count > 1, let named = FuzzTarget.named(CommandLine.arguments[1]) else {
  print(FuzzTarget.all.map(\.name).joined(separator: "\n"))
  exit(CommandLine.arguments.count > 1 ? 2 : 0)
}
target = named

// What libFuzzer sees: its own arguments, behind our name.
private let limit = strdup("-max_len=\(named.inputBytesMax)")
private var arguments: [UnsafeMutablePointer<CChar>?] =
  [CommandLine.unsafeArgv[0], limit]
  + (2..<Int(CommandLine.argc)).map { CommandLine.unsafeArgv[$0] }
private var count = Int32(arguments.count)
arguments.append(nil)

exit(
  arguments.withUnsafeMutableBufferPointer { buffer in
    var base = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &base) { bytes, count in
      target?.run(UnsafeRawBufferPointer(start: bytes, count: count))
      return 0
    }
  })

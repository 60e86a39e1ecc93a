// Two counters in memory that client and target share: the client can say at any instant how much
// the target has received, without a message that would be part of the load. The target's threads
// count together.

import CLoadIO
import Glibc

/// Written by the target, read by the client.
public struct SharedCounters: ~Copyable {
  private let memory: UnsafeMutablePointer<UInt64>
  /// The file, for as long as its owner keeps it open.
  let file: Int32

  /// A new, empty file for the counters. Children map it by its descriptor.
  public static func makeFile() throws(LoadError) -> Int32 {
    let file = load_memory_file("ri-bench-counters")
    guard file >= 0, ftruncate(file, 4096) == 0 else { throw .system("memfd_create") }
    return file
  }

  public init(mapping file: Int32) throws(LoadError) {
    // SAFETY: a shared page of its own, unmapped in deinit; both counters lie in its first 16
    // bytes.
    let mapping = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard let mapping, mapping != MAP_FAILED else { throw .system("mmap of the counters") }
    memory = mapping.bindMemory(to: UInt64.self, capacity: 2)
    self.file = file
  }

  deinit { munmap(memory, 4096) }

  /// Payload bytes that the target has received.
  public var receivedBytes: UInt64 { load_counter_read(memory) }

  /// Receives whose bytes were not the pattern's.
  public var mismatches: UInt64 { load_counter_read(memory + 1) }

  func addReceived(_ bytes: Int) { load_counter_add(memory, UInt64(bytes)) }
  func addMismatch() { load_counter_add(memory + 1, 1) }
}

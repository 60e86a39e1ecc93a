// A configuration file that is watched (inotify(7)). Its directories are, not the file: editors and
// configuration managers put a new file in its place, and Kubernetes swaps a link beside it.

import CLinuxProcess
import Dispatch
import Glibc
import RemoteIngress
import Synchronization

/// Tells when the content of a file has become another. The content itself is not kept.
final class FileWatch: Sendable {
  /// What comes within this time is one change: many writers write in several steps.
  private static let quietMilliseconds: Int32 = 200
  private static let events = UInt32(
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM)

  private let path: String
  private let descriptor: Int32
  private let changed: @Sendable () -> Void

  /// nil when nothing can be watched.
  init?(_ path: String, changed: @escaping @Sendable () -> Void) {
    self.path = path
    self.changed = changed
    descriptor = inotify_init1(Int32(IN_CLOEXEC))
    guard descriptor >= 0 else { return nil }
    guard watchDirectories() else {
      close(descriptor)
      return nil
    }
    let before = contentHash()
    DispatchQueue(label: "file.watch").async { [self] in watch(before) }
  }

  /// The directory of the path, and that of the file it leads to by links. Watching one again is
  /// harmless.
  private func watchDirectories() -> Bool {
    var isWatching = inotify_add_watch(descriptor, directory(of: path), Self.events) >= 0
    if let target = realpath(path, nil) {
      let resolved = directory(of: String(cString: target))
      free(target)
      isWatching = inotify_add_watch(descriptor, resolved, Self.events) >= 0 || isWatching
    }
    return isWatching
  }

  private func watch(_ before: Int?) {
    var last = before
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      settle(&buffer)
      _ = watchDirectories()
      // A file that is gone for a moment is not empty.
      guard let now = contentHash(), now != last else { continue }
      last = now
      changed()
    }
  }

  /// Waits until nothing has happened for a while.
  private func settle(_ buffer: inout [UInt8]) {
    var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while poll(&waited, 1, Self.quietMilliseconds) > 0 {
      guard read(descriptor, &buffer, buffer.count) > 0 else { return }
    }
  }

  /// Of this process: the hash is seeded.
  private func contentHash() -> Int? { (try? TextFile.read(path))?.hashValue }
}

private func directory(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

// A file with a secret in the state directory: read whole, written whole or not at all.

import COpenSSL
import Glibc

/// A file that only its owner may read.
struct StateFile {
  let path: String
  private let directory: String
  private let bytesMax: Int

  init(_ name: String, in directory: String, bytesMax: Int) throws(TLSError) {
    guard !directory.isEmpty else { throw .stateFile(ENOENT) }
    path = directory + "/" + name
    self.directory = directory
    self.bytesMax = bytesMax
  }

  /// Its bytes; nil when there is no such file.
  func read() throws(TLSError) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw .stateFile(errno)
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw .stateFile(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .stateFile(EINVAL) }
    guard status.st_size <= bytesMax else { throw .stateFile(EFBIG) }
    // Copied about, the file may have become readable by others; where it is ours, take that back.
    if status.st_mode & 0o077 != 0 { fchmod(file, 0o600) }
    var text = [UInt8](repeating: 0, count: Int(status.st_size))
    var end = 0
    while end < text.count {
      let n = text.withUnsafeMutableBytes { bytes in
        Glibc.read(file, bytes.baseAddress.map { $0 + end }, bytes.count - end)
      }
      guard n >= 0 else { throw .stateFile(errno) }
      guard n > 0 else { break }
      end += n
    }
    text.removeLast(text.count - end)
    return text
  }

  /// Stores the file (mode 0600, directories 0700), whole or not at all: false when it is there
  /// already.
  func store(_ bytes: [UInt8]) throws(TLSError) -> Bool {
    try makeDirectories()
    var suffix: UInt64 = 0
    RAND_bytes(&suffix, Int32(MemoryLayout.size(ofValue: suffix)))
    let draft = path + "." + String(suffix, radix: 16)
    let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw .stateFile(errno) }
    defer { unlink(draft) }
    let code = Self.write(bytes, to: file)
    guard code == 0 else { throw .stateFile(code) }
    if link(draft, path) != 0 {
      if errno == EEXIST { return false }
      // File systems without hard links: the last writer wins instead of the first.
      guard errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS else {
        throw .stateFile(errno)
      }
      guard rename(draft, path) == 0 else { throw .stateFile(errno) }
    }
    let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
    return true
  }

  /// Makes the directory and those above it that are missing.
  private func makeDirectories() throws(TLSError) {
    var partial = ""
    for part in directory.split(separator: "/", omittingEmptySubsequences: false) {
      partial += part
      if !partial.isEmpty, mkdir(partial, 0o700) != 0, errno != EEXIST {
        // A parent that exists may also refuse for another reason; the last word is the store's.
        guard errno == EROFS || errno == EACCES else { throw .stateFile(errno) }
      }
      partial += "/"
    }
  }

  /// Writes all to the disk and closes the file; 0 or `errno`.
  private static func write(_ bytes: [UInt8], to file: Int32) -> Int32 {
    let code = bytes.withUnsafeBytes { bytes -> Int32 in
      var start = 0
      while start < bytes.count {
        let n = Glibc.write(file, bytes.baseAddress.map { $0 + start }, bytes.count - start)
        guard n > 0 else { return errno }
        start += n
      }
      return fsync(file) == 0 ? 0 : errno
    }
    close(file)
    return code
  }
}

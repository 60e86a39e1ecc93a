// The self-signed identity that a hub keeps in its state directory, so that its pin survives a
// restart.

import COpenSSL
import Glibc

extension TLSIdentity {
  private static let fileName = "hub.pem"
  /// A key and a chain; nobody's is larger.
  private static let fileBytesMax = 256 * 1024

  /// The identity kept in `stateDirectory`; made and stored there (mode 0600, directories 0700)
  /// when there is none. When two processes do this at once, both get the one stored first.
  public static func loadOrCreate(
    stateDirectory: String, commonName: String = "remoteingress-hub"
  ) throws(TLSError) -> TLSIdentity {
    guard !stateDirectory.isEmpty else { throw .stateFile(ENOENT) }
    let path = stateDirectory + "/" + fileName
    if let kept = try read(path) { return kept }
    try makeDirectories(stateDirectory)
    let identity = try selfSigned(commonName: commonName)
    let (certificate, key) = identity.pem()
    if try store(certificate + key, as: path, in: stateDirectory) { return identity }
    guard let kept = try read(path) else { throw .stateFile(ENOENT) }
    return kept
  }

  /// Nil when there is no such file.
  private static func read(_ path: String) throws(TLSError) -> TLSIdentity? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw .stateFile(errno)
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw .stateFile(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .stateFile(EINVAL) }
    guard status.st_size <= fileBytesMax else { throw .stateFile(EFBIG) }
    // Copied about, the file may have become readable by others; where it is ours, take that back.
    if status.st_mode & 0o077 != 0 { fchmod(file, 0o600) }
    var text = [UInt8](repeating: 0, count: Int(status.st_size))
    defer { text.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) } }
    var end = 0
    while end < text.count {
      let n = text.withUnsafeMutableBytes { bytes in
        Glibc.read(file, bytes.baseAddress.map { $0 + end }, bytes.count - end)
      }
      guard n >= 0 else { throw .stateFile(errno) }
      guard n > 0 else { break }
      end += n
    }
    let pem = String(decoding: text[0..<end], as: UTF8.self)
    return try load(certificatePEM: pem, keyPEM: pem)
  }

  /// Makes the directory and those above it that are missing.
  private static func makeDirectories(_ path: String) throws(TLSError) {
    var partial = ""
    for part in path.split(separator: "/", omittingEmptySubsequences: false) {
      partial += part
      if !partial.isEmpty, mkdir(partial, 0o700) != 0, errno != EEXIST {
        // A parent that exists may also refuse for another reason; the last word is the store's.
        guard errno == EROFS || errno == EACCES else { throw .stateFile(errno) }
      }
      partial += "/"
    }
  }

  /// Whole or not at all: false when the file is there already.
  private static func store(
    _ text: String, as path: String, in directory: String
  ) throws(TLSError) -> Bool {
    var suffix: UInt64 = 0
    RAND_bytes(&suffix, Int32(MemoryLayout.size(ofValue: suffix)))
    let draft = path + "." + String(suffix, radix: 16)
    let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw .stateFile(errno) }
    defer { unlink(draft) }
    let code = write(text, to: file)
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

  /// Writes all to the disk and closes the file; 0 or `errno`.
  private static func write(_ text: String, to file: Int32) -> Int32 {
    var text = text
    let code = text.withUTF8 { bytes -> Int32 in
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

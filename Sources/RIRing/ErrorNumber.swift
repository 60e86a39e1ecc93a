// The errno values that the layers above the ring look at.

import Glibc

/// Positive errno values; completions carry them negated.
public enum ErrorNumber {
  public static let noBuffers = ENOBUFS
  public static let cancelled = ECANCELED
  public static let wouldBlock = EAGAIN
  public static let interrupted = EINTR
  public static let connectionRefused = ECONNREFUSED
  public static let invalidArgument = EINVAL
  public static let inputOutput = EIO
  public static let messageTooLong = EMSGSIZE
  public static let notSupported = EOPNOTSUPP
  public static let timedOut = ETIMEDOUT
  public static let tooManyFiles = EMFILE
  public static let noSuchName = ENOENT
  public static let noSuchFamily = EAFNOSUPPORT
  public static let noSuchAddress = EADDRNOTAVAIL
  public static let addressInUse = EADDRINUSE
}

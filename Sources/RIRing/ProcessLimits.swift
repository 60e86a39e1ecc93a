// What the process may use of the machine.

import CLinuxIO
import Glibc
import RIBase

/// Raises the limit of open descriptors to the hard limit (RLIMIT_NOFILE); returns what it is now.
@discardableResult
public func raiseDescriptorLimit() -> Int {
  var limit = rlimit()
  let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  guard getrlimit(resource, &limit) == 0 else { return 0 }
  limit.rlim_cur = limit.rlim_max
  setrlimit(resource, &limit)
  getrlimit(resource, &limit)
  return Int(clamping: limit.rlim_cur)
}

/// Processors this process may run on now.
public func onlineProcessors() -> Int {
  max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}

/// Asks the scheduler to run the calling thread in short slices, which come sooner when the machine
/// is busy; its share of the machine stays the same (EEVDF, Linux 6.12). False where it cannot be
/// asked.
@discardableResult
public func requestTimeSlice(_ slice: Interval) -> Bool {
  ri_set_time_slice(UInt64(clamping: slice.nanoseconds)) == 0
}

/// A variable of the environment, nil when unset or empty.
public func environmentVariable(_ name: String) -> String? {
  // SAFETY: a C string that belongs to the environment, which nothing in this process ever changes;
  // it is copied before we return.
  guard let value = getenv(name), value.pointee != 0 else { return nil }
  return String(cString: value)
}

/// Names the calling thread for ps and perf; 15 bytes are kept (PR_SET_NAME).
public func nameThread(_ name: String) {
  _ = name.withCString { ri_set_thread_name($0) }
}

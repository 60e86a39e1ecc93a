// The version of the library.

import RIBase

/// As in the change log.
public let remoteIngressVersion = productVersion

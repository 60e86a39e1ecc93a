// The version of the product.

/// As in the change log.
public let remoteIngressVersion = "0.1.0"

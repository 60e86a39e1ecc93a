// The version of the product, which an edge tells its hub and the command line prints.

/// As in the change log.
public let productVersion = "0.1.0"

import Testing
@testable import RICrypto

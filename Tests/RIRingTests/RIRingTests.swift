import Testing
@testable import RIRing

import Testing
@testable import RIBase

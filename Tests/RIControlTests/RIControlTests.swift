import Testing
@testable import RIControl

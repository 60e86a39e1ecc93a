import Testing
@testable import RIEngine

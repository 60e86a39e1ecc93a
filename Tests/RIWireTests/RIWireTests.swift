import Testing
@testable import RIWire

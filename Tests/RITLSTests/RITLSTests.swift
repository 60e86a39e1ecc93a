import Testing
@testable import RITLS

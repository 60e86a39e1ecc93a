import Testing
@testable import RemoteIngress

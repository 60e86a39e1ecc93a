import Testing
@testable import RITunnel

// How an edge trusts its hub (SPEC 4.5): by pin, by authorities, or at first use, remembered in the
// state directory.

import FoundationEssentials
import Glibc
import RIControl
import RICrypto
import RIQUIC
import RIRing
import RITLS
import Synchronization

/// The trust of one edge in its hub, and where a first use is remembered.
final class EdgeTrust: Sendable {
  let records: RecordImplementation
  private let report: Engine.Report
  private let hub: String
  private let file: String?
  private let trust: Mutex<HubTrust>

  init(settings: EdgeSettings, report: @escaping Engine.Report) throws(EngineError) {
    self.report = report
    records = .fromEnvironment
    hub = "\(settings.hubHost):\(settings.hubPort)"
    file = settings.stateDirectory.map { $0 + "/known-hubs" }
    trust = Mutex(try Self.choose(settings, file: file, hub: hub))
  }

  /// A context for the next attempt.
  func context() throws(TLSError) -> TLSClientContext {
    try TLSClientContext(trust: trust.withLock { $0 }, records: records)
  }

  /// The same for QUIC.
  func quicContext() throws(TLSError) -> QUICClientContext {
    try QUICClientContext(trust: trust.withLock { $0 }, settings: .fromEnvironment)
  }

  private static func choose(
    _ settings: EdgeSettings, file: String?, hub: String
  ) throws(EngineError) -> HubTrust {
    switch settings.trust {
    case .insecure: return .insecure
    case .pin(let bytes):
      guard bytes.count == 32 else {
        throw .settings("a pin has 32 bytes, not \(bytes.count)")
      }
      return .pin(bytes.withUnsafeBytes { CertificatePin($0) })
    case .authorities(let caFile):
      return .authorities(caFile: caFile, hostName: settings.hubHost)
    case .firstUse: return .firstUse(known: file.flatMap { knownPin(of: hub, in: $0) })
    }
  }

  /// Called once TLS is up: a hub seen for the first time is remembered.
  func accepted(_ pin: CertificatePin?) {
    guard let pin else { return }
    let isFirst = trust.withLock { trust in
      guard case .firstUse(nil) = trust else { return false }
      trust = .firstUse(known: pin)
      return true
    }
    guard isFirst else { return }
    report(.hubTrustedOnFirstUse(pin: "\(pin)"))
    guard let file else { return }
    do {
      try remember(pin, in: file)
    } catch {
      report(.warning("the hub's pin could not be written to \(file): \(error)"))
    }
  }

  // MARK: The file: a line `host:port pin` for each hub.

  private static func knownPin(of hub: String, in file: String) -> CertificatePin? {
    guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      if fields.count == 2, fields[0] == hub { return CertificatePin(parsing: String(fields[1])) }
    }
    return nil
  }

  private func remember(_ pin: CertificatePin, in file: String) throws {
    let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
    // Whom to trust is for the owner alone to say.
    let mask = umask(0o077)
    defer { umask(mask) }
    try FileManager.default.createDirectory(
      atPath: String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)]),
      withIntermediateDirectories: true)
    try (text + "\(hub) \(pin)\n").write(toFile: file, atomically: true, encoding: .utf8)
  }
}

extension RecordImplementation {
  /// Our own record layer, or OpenSSL's where `REMOTEINGRESS_TLS_RECORDS=openssl` asks for the
  /// oracle.
  static var fromEnvironment: RecordImplementation {
    environmentVariable("REMOTEINGRESS_TLS_RECORDS") == "openssl" ? .openSSL : .own
  }
}

extension QUICSettings {
  /// The settings of production; `REMOTEINGRESS_QUIC_CONGESTION=bbr` chooses another congestion
  /// control.
  static var fromEnvironment: QUICSettings {
    var settings = QUICSettings()
    let name = environmentVariable("REMOTEINGRESS_QUIC_CONGESTION")
    if let control = name.flatMap(QUICCongestionControl.init(rawValue:)) {
      settings.congestionControl = control
    }
    return settings
  }
}

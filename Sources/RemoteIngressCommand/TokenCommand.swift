// `token`: connection tokens made, read, and secrets for them.

import ArgumentParser
import RIBase
import RIWire
import RemoteIngress

struct TokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "Make and read connection tokens.",
    subcommands: [TokenEncode.self, TokenDecode.self, TokenNewSecret.self])
}

struct TokenEncode: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "encode", abstract: "Print the token of an edge.")

  @Option(help: "Name or address of the hub.")
  var hubHost: String

  @Option(help: "Its tunnel port.")
  var hubPort: Port = 8443

  @Option(help: "Name of the edge.")
  var edgeId: String

  @Option(
    help: ArgumentHelp("File that holds the secret; - is standard input.", valueName: "file"),
    completion: .file())
  var secretFile: String

  @Option(help: "Fingerprint of the hub's key: sha256/BASE64 or 64 hex digits.")
  var pin: String?

  func run() throws {
    let secretText: String
    do throws(TextFileError) {
      secretText = try TextFile.read(secretFile, dashIsStandardInput: true)
    } catch {
      throw ConfigurationError(origin: .flag("--secret-file"), key: "", reason: error.description)
    }
    print(try token(secretText).encoded())
  }

  private func token(_ secretText: String) throws(ConfigurationError) -> ConnectionToken {
    let secret: Secret
    do throws(CredentialFault) {
      secret = try Secret(String(secretText.trimmed))
    } catch {
      throw ConfigurationError(
        origin: .flag("--secret-file"), key: "", reason: "the secret \(error)")
    }
    if let pin, pinBytes(pin) == nil {
      throw ConfigurationError(origin: .flag("--pin"), key: "", reason: "must be \(pinRule)")
    }
    guard isHost(hubHost) else {
      throw ConfigurationError(
        origin: .flag("--hub-host"), key: "", reason: "must be a host name or an IP address")
    }
    do throws(TokenError) {
      return try ConnectionToken(
        host: hubHost, port: hubPort, edgeID: edgeId, secret: secret, hubPin: pin)
    } catch {
      throw ConfigurationError(key: "", reason: error.description)
    }
  }
}

struct TokenDecode: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode", abstract: "Print what a token says.")

  @Argument(help: "The token; better from standard input, where no other process sees it.")
  var token: String?

  @Flag(help: "Print the secret too.")
  var showSecret = false

  func run() throws {
    let text: String
    do throws(TextFileError) {
      text = if let token { token } else { try TextFile.read("-", dashIsStandardInput: true) }
    } catch {
      throw ConfigurationError(key: "", reason: error.description)
    }
    let token: ConnectionToken
    do throws(TokenError) {
      token = try ConnectionToken(decoding: text)
    } catch {
      throw ConfigurationError(key: "", reason: error.description)
    }
    print("hubHost: \(token.host)")
    print("hubPort: \(token.port)")
    print("edgeId: \(token.edgeID)")
    print("secret: \(showSecret ? token.secret.revealed : "•••")")
    if let pin = token.hubPin { print("hubPin: \(pin)") }
  }
}

struct TokenNewSecret: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "new-secret", abstract: "Print a new random secret of 256 bits.")

  func run() {
    var generator = SystemRandomNumberGenerator()
    print((0..<32).map { _ in hexByte(generator.next()) }.joined())
  }

  private func hexByte(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return byte < 16 ? "0" + digits : digits
  }
}

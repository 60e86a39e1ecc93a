// Answers with the headers that each of them has.

import HTTPTypes
import HummingbirdCore
import NIOCore
import RIWire

extension HTTPField.Name {
  private static func name(_ text: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(text) else { preconditionFailure("\(text) is a header's name") }
    return name
  }

  fileprivate static let frameOptions = name("X-Frame-Options")
  fileprivate static let referrerPolicy = name("Referrer-Policy")
  fileprivate static let openerPolicy = name("Cross-Origin-Opener-Policy")
  fileprivate static let resourcePolicy = name("Cross-Origin-Resource-Policy")
}

enum AdminAnswer {
  /// Nothing from elsewhere, nothing inside other pages, and nothing kept. There is no CORS header:
  /// pages of other origins may not read any of this.
  private static let common: HTTPFields = [
    .cacheControl: "no-store",
    .contentSecurityPolicy:
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
      + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    .xContentTypeOptions: "nosniff",
    .frameOptions: "DENY",
    .referrerPolicy: "no-referrer",
    .openerPolicy: "same-origin",
    .resourcePolicy: "same-origin",
  ]

  static func head(_ type: String, _ more: HTTPFields = [:]) -> HTTPFields {
    var fields = common
    fields[.contentType] = type
    for field in more { fields.append(field) }
    return fields
  }

  static func bytes(
    _ bytes: [UInt8], _ type: String, status: HTTPResponse.Status = .ok, _ more: HTTPFields = [:]
  ) -> Response {
    Response(
      status: status, headers: head(type, more),
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  static func text(
    _ text: String, _ type: String = "text/plain; charset=utf-8",
    status: HTTPResponse.Status = .ok, _ more: HTTPFields = [:]
  ) -> Response {
    bytes(Array(text.utf8), type, status: status, more)
  }

  static func json(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
    Self.text(text + "\n", "application/json", status: status)
  }

  static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
    bytes(value.encoded() + [0x0A], "application/json", status: status)
  }

  /// `{"error": reason}`.
  static func error(
    _ status: HTTPResponse.Status, _ reason: String, _ more: HTTPFields = [:]
  ) -> Response {
    bytes(
      JSONValue.object(["error": .string(reason)]).encoded() + [0x0A], "application/json",
      status: status, more)
  }
}

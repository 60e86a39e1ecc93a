// The files of the page, which are part of the program: Page/ beside this file has them.

/// A file as a browser gets it.
struct PageFile {
  var bytes: [UInt8]
  var type: String

  /// By path.
  static let all: [String: PageFile] = [
    "/": PageFile(bytes: PackageResources.page_html, type: "text/html; charset=utf-8"),
    "/page.css": PageFile(bytes: PackageResources.page_css, type: "text/css; charset=utf-8"),
    "/page.js": script(PackageResources.page_js),
    "/view.js": script(PackageResources.view_js),
    "/plot.js": script(PackageResources.plot_js),
    "/parts.js": script(PackageResources.parts_js),
    "/figures.js": script(PackageResources.figures_js),
    "/reasons.js": script(PackageResources.reasons_js),
  ]

  private static func script(_ bytes: [UInt8]) -> PageFile {
    PageFile(bytes: bytes, type: "text/javascript; charset=utf-8")
  }
}

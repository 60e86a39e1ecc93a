// The style sheet of a page: light and dark, by what the reader's system prefers.

enum PageStyle {
  /// A colour for each system, on light and on dark ground. One that is not here is grey.
  private static let colours: [(system: String, light: String, dark: String)] = [
    ("direct", "#b6bcc6", "#565e6b"), ("roofline", "#6b7482", "#98a2b3"),
    ("ours-uring", "#1558d6", "#6ea8ff"), ("ours-epoll", "#0e8a7d", "#3fc9b8"),
    ("ours-uring-plain", "#7aa2ea", "#3f6fc4"), ("haproxy", "#d9730d", "#ff9f4a"),
    ("stunnel", "#c23b3b", "#ff7d7d"), ("nginx", "#4c8a1e", "#8fd15a"),
    ("ssh", "#9a4bb0", "#d08be6"), ("ring-uring", "#1558d6", "#6ea8ff"),
    ("ring-epoll", "#0e8a7d", "#3fc9b8"), ("other", "#8a8f98", "#8a8f98"),
  ]

  static var css: String {
    let light = colours.map { "--\($0.system):\($0.light)" }.joined(separator: ";")
    let dark = colours.map { "--\($0.system):\($0.dark)" }.joined(separator: ";")
    return """
      :root{color-scheme:light dark;--ground:#fff;--ink:#16191f;--soft:#5a6270;--rule:#e3e6ea;\
      --band:#f6f7f9;--good:#0a7a3d;--bad:#b42318;\(light)}
      @media(prefers-color-scheme:dark){:root{--ground:#14171c;--ink:#e8eaee;--soft:#9aa3b2;\
      --rule:#2b3038;--band:#1b1f26;--good:#4fd08a;--bad:#ff8a80;\(dark)}}
      *{box-sizing:border-box}
      body{margin:0 auto;max-width:1000px;padding:32px 24px 64px;background:var(--ground);\
      color:var(--ink);font:15px/1.5 system-ui,sans-serif}
      h1{font-size:26px;line-height:1.2;margin:0 0 12px}
      h2{font-size:19px;margin:44px 0 4px}
      p{margin:4px 0;color:var(--soft);max-width:78ch}
      dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0}
      dt{color:var(--soft)}
      dd{margin:0;overflow-wrap:anywhere}
      code{font:13px ui-monospace,monospace}
      svg{display:block;width:100%;height:auto;margin-top:8px}
      svg text{fill:var(--ink);font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}
      svg .case{font-weight:600}
      svg .system{text-anchor:end;fill:var(--soft)}
      svg .tick{text-anchor:middle;fill:var(--soft)}
      svg .unit{text-anchor:end;fill:var(--soft)}
      .grid{stroke:var(--rule);stroke-width:1}
      .whisker{stroke:var(--ink);stroke-width:1.5;opacity:.7}
      .line{fill:none;stroke-width:2;stroke-linejoin:round}
      .plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(400px,1fr));gap:12px 32px}
      figure{margin:12px 0 0}
      figcaption{display:flex;flex-wrap:wrap;gap:2px 14px;color:var(--soft);font-size:13px}
      figcaption i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px}
      .scroll{overflow-x:auto;margin-top:10px}
      table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
      th,td{padding:3px 12px 3px 0;text-align:left;border-bottom:1px solid var(--rule);\
      white-space:nowrap}
      th{color:var(--soft);font-weight:500}
      td.n,th.n{text-align:right}
      td.better{color:var(--good)}
      td.worse{color:var(--bad)}
      pre{font:12px/1.45 ui-monospace,monospace;overflow-x:auto;background:var(--band);\
      padding:12px 14px;border-radius:6px}
      """
  }
}

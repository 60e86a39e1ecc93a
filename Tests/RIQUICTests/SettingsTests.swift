// The settings of QUIC links.

import RIQUIC
import Testing

@Suite struct SettingsTests {
  @Test func tenThousandStreamsAreAllowed() {
    #expect(QUICSettings().streamsMax >= 10_000)
  }
}

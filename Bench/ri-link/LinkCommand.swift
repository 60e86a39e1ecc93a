// `ri-link`: the command line. Prints one line of JSON when the link stands and one when it is
// gone; with a command, runs that and ends with its exit code.

import ArgumentParser
import CLinkIO
import FoundationEssentials
import Glibc
import LinkKit
import LoadKit

@main
struct LinkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ri-link",
    abstract: "Joins two network namespaces by a link with delay, rate, loss and a queue.",
    discussion: """
      Without a command it prints where the ends are, works until SIGTERM or SIGINT, and prints \
      what it has carried. A command finds the namespaces in RI_LINK_A and RI_LINK_B, their IPv4 \
      addresses in RI_LINK_A_IP and RI_LINK_B_IP; ri-link ends with its exit code.
      """)

  @Option(help: "Bits of IP packets a second: 1gbit, 100mbit.", transform: QuantityArgument.rate)
  var rate: UInt64 = 0

  @Option(help: "One way, each direction: 40ms.", transform: QuantityArgument.duration)
  var delay: UInt64 = 0

  @Option(
    help: "The delay wanders by so much, either way: 2ms.", transform: QuantityArgument.duration)
  var jitter: UInt64 = 0

  @Option(help: "Share of packets that vanish: 1%.", transform: QuantityArgument.share)
  var loss = 0.0

  @Option(
    help: "Share of packets that later ones overtake: 0.1%.", transform: QuantityArgument.share)
  var reorder = 0.0

  @Option(help: "For how long those are held back.", transform: QuantityArgument.duration)
  var reorderBy: UInt64 = 1_000_000

  @Option(help: "Bytes that may wait for the line: 4MB.", transform: QuantityArgument.size)
  var queue = 4 << 20

  @Option(help: "Of all chance.")
  var seed: UInt64 = 1

  @Option(help: "Bytes of an IP packet.")
  var mtu = 1500

  @Option(
    help: "How far TCP's tuning may take its buffers: 64MB.", transform: QuantityArgument.size)
  var tcpBuffers = 64 << 20

  @Option(help: "Congestion control over the link: cubic, bbr. The system's when absent.")
  var congestion: String?

  @Flag(help: "Let TCP hand over up to 64 KiB as one packet; cheaper, and less like a network.")
  var offload = false

  @Flag(help: "End when the parent process ends.")
  var withParent = false

  @Argument(parsing: .postTerminator, help: "A command to run while the link stands.")
  var command: [String] = []

  private var setup: LinkSetup {
    var setup = LinkSetup()
    setup.conditions.bitsPerSecond = rate
    setup.conditions.delayNanoseconds = delay
    setup.conditions.jitterNanoseconds = jitter
    setup.conditions.lossShare = loss
    setup.conditions.reorderShare = reorder
    setup.conditions.reorderNanoseconds = reorderBy
    setup.conditions.queueBytes = queue
    setup.conditions.seed = seed
    setup.mtu = mtu
    setup.tcpBufferBytes = tcpBuffers
    setup.congestion = congestion
    setup.isOffloaded = offload
    return setup
  }

  func validate() throws {
    do { try setup.check() } catch { throw ValidationError(error.description) }
  }

  func run() throws {
    // First of all: whoever stops it from now on finds it cleaning up.
    let signals = try LinkSignals(withParent: withParent)
    let link = try Link(setup)
    guard !command.isEmpty else {
      writeText(try line(link.description), to: 1)
      let summary = link.carry(stop: signals.descriptor) { signals.isAskedToEnd() }
      writeText(try line(summary), to: 1)
      return
    }
    let child = try LinkChild(command, link.description)
    let summary = link.carry(stop: signals.descriptor) {
      if signals.isAskedToEnd() { child.terminate() }
      return child.hasEnded()
    }
    writeText(try line(summary), to: 2)
    // The link's namespaces go with it, which `exit` would not wait for.
    throw ExitCode(child.exitCode)
  }
}

private func line(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys]
  return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
}

/// Quantities on the command line; what is none is refused with an example.
private enum QuantityArgument {
  static func rate(_ text: String) throws -> UInt64 {
    try take(LinkQuantity.rate(text), text, like: "100mbit")
  }

  static func duration(_ text: String) throws -> UInt64 {
    try take(LinkQuantity.duration(text), text, like: "40ms")
  }

  static func share(_ text: String) throws -> Double {
    try take(LinkQuantity.share(text), text, like: "1%")
  }

  static func size(_ text: String) throws -> Int {
    try take(LinkQuantity.size(text), text, like: "4MB")
  }

  private static func take<Value>(
    _ value: Value?, _ text: String, like example: String
  ) throws -> Value {
    guard let value else { throw ValidationError("'\(text)' is none; write it like \(example)") }
    return value
  }
}

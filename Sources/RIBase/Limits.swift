// Every bound of the engine, with its reason. A queue, table, loop or retry that could grow names
// its limit here; sizes of pools are sums of the owners named beside them.

public enum Limits {
  static let kib = 1024
  static let mib = 1024 * 1024

  // MARK: Wire (SPEC 2.1, 2.2): what a receiver enforces.

  public static let frameHeaderBytes = 9
  public static let dataPayloadBytesMax = 16 * mib
  public static let configPayloadBytesMax = 4 * mib
  /// What a hub leaves free of that for what it adds itself: `draining`, extensions to come.
  public static let configReserveBytes = 4 * kib
  public static let udpPayloadBytesMax = 65_507
  public static let openPayloadBytesMax = 107
  public static let udpOpenPayloadBytesMax = 1_024
  public static let pingPayloadBytesMax = 64
  public static let closePayloadBytesMax = 64
  /// Not in the published protocol, as HELLO is an extension: a list of names fits easily.
  public static let helloPayloadBytesMax = 64 * kib
  public static let unknownPayloadBytesMax = 1 * mib
  public static let handshakeLineBytesMax = 4_096
  public static let edgeIDBytesMax = 128
  public static let secretBytesMax = 1_024

  // MARK: TLS (RFC 8446)

  /// Plaintext of one record (5.1).
  public static let tlsPlaintextBytesMax = 16_384
  /// What a record may have behind its header while the handshake lasts (5.2).
  public static let tlsHandshakeRecordBytesMax = 16_384 + 256
  /// What a client may send until its handshake is done: two ClientHellos and a Finished.
  public static let tlsClientHandshakeBytesMax = 32 * kib
  /// What a server may send until its handshake is done: OpenSSL takes certificate chains of up to
  /// 100 KiB.
  public static let tlsServerHandshakeBytesMax = 128 * kib
  /// A NewSessionTicket (4.6.1): its fields at their largest.
  public static let tlsTicketBytesMax = 131_338
  /// Records in a row that carry no application data: each costs us work and may ask for an answer.
  public static let tlsRecordsWithoutDataMax = 32
  /// Records sealed under one key; AES-GCM bears 2^24.5 (5.5).
  public static let tlsRecordsPerKeyMax: UInt64 = 1 << 24

  // MARK: QUIC (RFC 9000)

  /// Bidirectional streams of one link: each costs ngtcp2's object and ours, about 1 KiB.
  public static let quicStreamsMax = 1 << 16
  /// Edge: how long a link is silent at most. A hub that was started anew tells within this time,
  /// and a round trip, that it has forgotten the link.
  public static let quicKeepAliveInterval = Interval.milliseconds(1_500)
  /// A round trip is taken to be so long until one has been measured, after a move as well. RFC
  /// 9002 section 6.2.2 suggests 333 ms, with which a lost first packet costs a second; few paths
  /// are longer than three of these, by when something would be sent twice.
  public static let quicInitialRoundTrip = Interval.milliseconds(100)
  /// How long a packet waits for its acknowledgement at most; it is an eighth of a round trip
  /// otherwise. The peer adds it to its probe timeout, so that with the usual 25 ms a lost packet
  /// that none follows is sent again 27 ms later where the round trip is one. A shard's tick is
  /// shorter.
  public static let quicAcknowledgementDelayMax = Interval.milliseconds(2)
  /// What path MTU discovery tries at most: Ethernet, less IPv6's and UDP's headers.
  public static let quicUDPPayloadBytesMax = 1_452
  /// With a fallback: how long QUIC has to bring a tunnel up, and how often it is tried again
  /// beside a tunnel on TLS.
  public static let quicPatience = Interval.seconds(5)
  public static let quicRetryInterval = Interval.seconds(300)
  /// Send and receive buffer of a tunnel's UDP socket: some milliseconds at 10 Gbit/s.
  public static let packetSocketBufferBytes = 4 * mib
  /// Batches of packets, 64 KiB each, that a socket may be sending at once, where its send buffer
  /// is as large as it should be: less than that, so that none has to wait and is overtaken.
  public static let packetBatchesPendingMax = 32
  /// The same of a shard, in packets: where the kernel does not cut batches, each packet is a send
  /// of its own.
  public static let packetSendsMax = 16_384
  /// How long an edge that has gone over to another transport may go on opening streams by its
  /// old tunnel: what was under way.
  public static let supersededGrace = Interval.seconds(5)
  /// How long an edge that is refused has to take the hub's line before its link is closed.
  public static let refusalTime = Interval.milliseconds(250)
  /// Rounds of sending and of telling what that has changed, before a tick goes on to the rest.
  public static let packetRoundsPerTick = 8
  /// How long a changed address or route waits for those that change with it.
  public static let addressSettleTime = Interval.milliseconds(50)
  /// How long a new way to the hub has to prove that it is one.
  public static let addressProofTime = Interval.seconds(3)
  /// The other end's host has said so often in a row that nobody listens: then it is believed.
  public static let refusalsBelieved = 3
  /// Hub: a tunnel over QUIC that has been silent for so long, two of its edge's keep-alives, gets
  /// a socket that hears whether anybody listens at the edge's port; so many at once have one.
  public static let quicPatienceWithSilence = Interval.seconds(3)
  public static let quicListenersForRefusalsMax = 32
  /// Handshakes under way from which on clients have to show that they are where they say.
  public static let quicRetryThreshold = 64
  /// ClientHellos of 0-RTT that are remembered for the ten seconds in which one could be replayed.
  public static let quicReplaysMax = 65_536
  /// What may be on its way or wait for missing bytes in front of it, of all streams of a link:
  /// 1 Gbit/s over half a second. Before an edge is admitted: its line and as much again.
  public static let quicConnectionWindowBytes: UInt64 = 64 << 20
  public static let quicStrangerWindowBytes: UInt64 = 16 << 10
  /// Unidirectional streams that carry one large datagram each, under way at once.
  public static let quicLargeDatagramsMax = 256
  /// And in all, in each direction: ngtcp2 0.12 keeps an object of about 300 bytes for each until
  /// the link ends.
  public static let quicLargeDatagramsPerLinkMax = 1 << 17
  /// Sent data of a link that waits for its acknowledgement and holds buffers meanwhile. Beyond it
  /// local sockets are read no more.
  public static let quicUnackedBytesMax = 16 << 20
  /// A stream's turn: a sixteenth of the congestion window within these bounds, so that short
  /// streams do not wait long behind long ones on a slow path, and on a fast one the receiver gets
  /// large pieces.
  public static let quicQuantumBytes = 16 << 10
  public static let quicQuantumBytesMax = 64 << 10
  /// Slices up to this size are copied together rather than pin a buffer each until acknowledged.
  public static let quicCopiedBytesMax = 2 << 10
  /// Slices of one stream gathered into one packet.
  public static let quicVectorsMax = 16
  /// Packets of one batch, and their bytes: what the kernel takes at once (UDP_SEGMENT, udp(7)).
  public static let quicBatchPacketsMax = 64
  public static let quicBatchBytesMax = 65_000
  /// Answers without a link (stateless resets, Retry, version negotiation) that wait to be sent,
  /// and how many there may be a second.
  public static let quicAnswersQueuedMax = 256
  public static let quicAnswersPerSecond = 1_000
  /// A timer of ngtcp2 that has been handled and is still due is looked at again no earlier.
  public static let quicTimerIntervalMin = Interval.milliseconds(1)
  /// Edge: how often a session's open is repeated in front of data (SPEC 3).
  public static let quicOpenRepeatInterval = Interval.milliseconds(250)
  /// Edge: for so long after a datagram came back the hub is taken to know the session.
  public static let quicAnswerBelieved = Interval.seconds(1)

  // MARK: Flow control (SPEC 2.4)

  public static let windowSharedBytes = 200 * mib
  public static let windowBytesMin = 1 * mib
  public static let windowBytesMax = 4 * mib
  public static let memoryBudgetBytesDefault = 200 * mib
  /// With `autoWindow`: a stream's first and least window. What a client that never reads costs.
  public static let autoWindowBytesMin = 256 * kib
  /// With `autoWindow`: 1 Gbit/s over half a second.
  public static let autoWindowBytesMax = 64 * mib
  /// Under critical memory pressure windows are this part of their floor.
  public static let pressureWindowDivisor = 4
  /// A shorter round trip counts as this long: on a short path it is our own batches and the
  /// scheduling of processes that take the time, not the path.
  public static let windowRoundTripMin = Interval.microseconds(250)

  // MARK: Sustained flows (SPEC 2.5)

  public static let sustainedAge = Interval.seconds(10)
  /// 20 Mbit/s.
  public static let sustainedBytesPerMillisecond: UInt64 = 2_500
  /// What sustained streams may always have under way, whatever else is: two steps of credit.
  public static let sustainedFlightBytesMin = 128 * kib
  /// Credit for a sustained stream comes in steps no larger than this.
  public static let sustainedCreditStepBytes = 64 * kib
  /// Data that is under way is counted over a round trip, and over this at least: some batches.
  public static let dataFlightSpanMin = Interval.milliseconds(5)
  /// When a tunnel that holds sustained data back is polled again.
  public static let heldBackInterval = Interval.milliseconds(5)
  /// What a sustained stream's window is shrunk to by the published rules.
  public static let sustainedWindowBytes = 1 * mib

  // MARK: Liveness (SPEC 2.1, 2.3)

  public static let handshakeTimeout = Interval.seconds(10)
  public static let pingInterval = Interval.seconds(15)
  public static let silenceTimeout = Interval.seconds(45)
  /// How often the kernel is asked for a tunnel's round trip at most.
  public static let roundTripInterval = Interval.seconds(1)
  public static let targetConnectTimeout = Interval.seconds(10)

  // MARK: Unauthenticated peers (SPEC 2.1)

  /// Handshakes under way at once on a shard: what it makes in two or three seconds, well within
  /// `handshakeTimeout`, so that nobody is let in to be cut off later.
  public static let handshakesMax = 1_024
  /// The same from one source address (an IPv6 /64 counts as one): half, so that one address
  /// cannot keep all others out.
  public static let handshakesPerSourceMax = 512
  /// Handshakes that move on in one tick. Each may cost a signature, a millisecond or so, which
  /// the data of tunnels that are up waits for.
  public static let handshakeStepsPerTick = 2
  /// Handshakes whose bytes wait for their turn. With so many the shard accepts no more until half
  /// of them are done, a fraction of a second's work; what comes waits in the kernel's backlog.
  public static let handshakesWaitingMax = 256
  /// Wrong secrets from one source that are answered at once; after these the answer waits for 1 s,
  /// 2 s and so on up to the longest, which leaves time within an edge's `handshakeTimeout`.
  public static let guessesFree = 8
  public static let guessDelayMax = Interval.seconds(8)
  /// One wrong secret of a source is forgotten each so often: as often as an edge that has a wrong
  /// one comes back at most.
  public static let guessForgottenAfter = Interval.seconds(15)
  /// Sources whose guesses are remembered: a quarter of a megabyte.
  public static let guessingSourcesMax = 4_096
  /// How long a refused peer has to take its answer, when that had to wait.
  public static let lateAnswerTimeout = Interval.seconds(2)
  /// What one receive takes of a peer that has not said who it is.
  public static let handshakeReceiveBytes = 4 * kib

  // MARK: Messages that peers can cause

  /// Messages of one kind that are reported in a row, before one in each `messageInterval`.
  public static let messagesBurst = 10
  public static let messageInterval = Interval.seconds(1)

  // MARK: Tables

  /// Client or target sockets of a shard. A process has 20,000 to 1,000,000 descriptors.
  public static let connectionsMax = 1 << 20
  public static let tunnelsMax = 4_096
  /// Streams of one tunnel.
  public static let streamsPerTunnelMax = 1 << 18

  /// Listening sockets of a shard: every assigned port has one for each address family.
  public static let listenersMax = 4_096

  /// Ports that cannot be listened on and are told one by one; the status has them all.
  public static let listenFailuresReported = 256
  /// Descriptors that no client and no target gets, so that tunnels, listeners and whoever looks at
  /// the process still have theirs …
  public static let descriptorsReserved = 64
  /// … and this part of all of them, one of so many, where those are few.
  public static let descriptorsReservedDivisor = 8

  /// Names of targets being looked up or remembered at once.
  public static let targetLookupsMax = 256
  public static let listenBacklog = 4_096
  /// How often another port is tried where any will do and it is taken meanwhile.
  public static let freePortTries = 16

  /// Timers of a shard: one a link, one a target being connected, one a place that is kept for a
  /// guesser who has hung up, a few of its own.
  public static let timersMax = connectionsMax + tunnelsMax + handshakesMax + 64
  /// Commands waiting for a shard.
  public static let mailboxMessagesMax = 1_024

  // MARK: Firewall (SPEC 4.3)

  /// Addresses and networks of a `firewallConfig`. A CONFIG message has room for three times as
  /// many; nftables takes a second for these.
  public static let firewallBlockedMax = 100_000
  /// Rules are tried one after the other for every packet.
  public static let firewallRulesMax = 1_000
  /// The same, and each may need four sets of sources.
  public static let firewallRateLimitsMax = 200
  /// An id or a comment.
  public static let firewallLabelCharactersMax = 128
  /// Sources that a per-source limit remembers, for one port, protocol and address family …
  public static let firewallSourcesPerSetMax = 65_536
  /// … and all of them together, at about 200 bytes each in the kernel.
  public static let firewallSourcesMax = 524_288
  /// How long a stopping edge waits for its rules to be gone.
  public static let firewallEndTimeout = Interval.seconds(10)

  // MARK: Engine and supervisor (SPEC 9)

  /// A line between an engine and its supervisor. A configuration file has 16 MiB at most, and JSON
  /// makes at most three times as much of it; a status has half a kilobyte for each tunnel.
  public static let engineLineBytesMax = 64 * mib
  /// What one read takes of such lines.
  public static let engineReadBytes = 64 * kib
  /// Lines of an engine that wait for its supervisor to read them, with events and log messages in
  /// them; what comes on top is lost and counted.
  public static let engineLinesQueuedMax = 4_096
  /// What streams get to end in at a stop, whatever is asked for.
  public static let drainTimeMax = Interval.seconds(86_400)

  // MARK: Time

  /// How often memory behind unused buffers is given back and failed listeners are tried again.
  public static let housekeepingInterval = Interval.seconds(5)
  /// How long a target's name is not looked up again.
  public static let resolvedFor = Interval.seconds(10)
  /// The hub's next address is tried when the one before has not answered for this long (RFC 8305
  /// section 5).
  public static let connectStagger = Interval.milliseconds(250)
  /// How long a stopping shard waits for its sockets to close.
  public static let goodbyeTimeout = Interval.seconds(1)
  /// What a shard's thread asks of the scheduler: the least there is. A tick is about as long, and
  /// whoever waits for a small message should not wait for somebody's whole slice of 3 ms.
  public static let shardTimeSlice = Interval.microseconds(100)
  /// Pause before accepting again when the process or the system is out of descriptors.
  public static let acceptPause = Interval.milliseconds(100)

  // MARK: Buffers

  /// TCP_NOTSENT_LOWAT of a tunnel's socket: unsent bytes in the kernel beyond which it is not
  /// writable, so that what is urgent is not stuck behind what was handed over long ago.
  public static let tunnelNotSentBytes = 256 * kib
  /// Slices gathered into one send: the kernel takes 1,024 (UIO_MAXIOV); past 64 nothing is won.
  public static let sendSlicesMax = 64
  /// The largest DATA payload that we send: small enough that other streams get their turn.
  public static let dataFrameBytes = 64 * kib
  /// What one receive of a small sender takes before it is armed anew.
  public static let smallReceiveBytes = 64 * kib
  /// A sender in bulk that brings no more than this in a receive, so many times in a row, is none
  /// any more.
  public static let littleReceiveBytes = 16 * kib
  public static let littleReceivesMax = 8
  /// The part of the memory budget, one of so many, that is kept free by resetting streams: who
  /// takes bytes shall not suffer from those who do not.
  public static let stashReserveDivisor = 16
  /// What all streams of a link may have queued: what the link sends in this time, so that a slow
  /// or stalled link does not hold the buffers that others need …
  public static let linkBacklogTime = Interval.milliseconds(50)
  /// … but this much for sure: one full batch …
  public static let linkBacklogBytesMin = 256 * kib
  /// … and no more than this, which is 32 turns.
  public static let linkBacklogBytesMax = 2 * mib
  /// A link whose send has not completed for so long is stuck: when others starve for buffers, what
  /// it has queued is copied aside.
  public static let linkStuckAfter = Interval.milliseconds(20)
  /// Free buffers whose memory is kept for the next burst, and how many are given back in one step.
  public static let stashBuffersKept = 64
  public static let trimBuffersPerStep = 128
  public static let trimInterval = Interval.milliseconds(5)
  /// Receive buffer of a target's socket until its client has read something: the kernel lets it
  /// grow to megabytes, and ten thousand clients that never read would take all of its memory for
  /// TCP. What the kernel begins with.
  public static let unreadTargetBufferBytes = 64 * kib
  /// What the kernel may take for a client that reads nothing: our send buffer, its receive buffer.
  public static let unreadKernelBytes: UInt64 = 1 << 20
  /// Bytes a stream may have queued for the tunnel before its socket is read no more.
  public static let streamQueueBytes = 256 * kib

  // MARK: Datagrams

  /// Datagrams of all sessions of a tunnel that may wait for their turn. Of what is left of this a
  /// session may have as much as it has already, so there is always room for one more session.
  public static let datagramsQueuedMax = 4_096
  /// The same in bytes, while the link is idle, over QUIC for the first `linkBacklogTime` of a
  /// burst as well; behind a send it is `linkBacklogTime` worth: older datagrams are worth less
  /// than none.
  public static let datagramBytesQueuedMax = 2 * mib
  /// A datagram that waits and is no longer than this moves to a buffer of its size. What is larger
  /// keeps the large buffer that it was received in …
  public static let smallDatagramBytes = 2 * kib
  /// … and a tunnel holds no more than so many of those, a quarter of the pool.
  public static let largeDatagramsQueuedMax = 128
  /// Sessions of a tunnel, one of so many of its streams: UDP's clients never keep out TCP's.
  public static let sessionsPerTunnelDivisor = 2
  /// UDP sessions of an edge, whatever it is configured: what its one tunnel takes, less some that
  /// are being closed.
  public static let sessionsPerEdgeMax = 120_000

  /// Datagrams, or runs of them, that a ring may be sending at once: more than one tick brings.
  public static let datagramsPendingMax = 32_768
  /// Datagrams of a session that wait for its target's address …
  public static let datagramsHeldPerSession = 8
  /// … and of all sessions: an eighth of the buffers for small ones.
  public static let datagramsHeldMax = 1_024
  /// Socket buffers of a UDP port, and of a session towards its target, as far as the system
  /// allows.
  public static let datagramPortBufferBytes = 4 * mib
  public static let sessionBufferBytes = 1 * mib
  /// Idle sessions are ended so many at a time, and no more often than this: ten thousand that end
  /// together must not hold up a tick.
  public static let sessionsPerSweep = 256
  public static let sessionSweepInterval = Interval.milliseconds(5)
  /// The part of all sessions, one of so many, that one source may have.
  public static let udpSessionsPerSourceDivisor = 8
  /// The part of all sessions, one of so many, that the shards of a hub have for themselves, in
  /// equal parts. They share the rest.
  public static let udpSessionsReservedDivisor = 8
  /// The part of the process's descriptors, one of so many, that sessions of a hub may have.
  public static let sessionDescriptorsDivisor = 2
  /// A session's place in the order of activity is renewed no more often.
  public static let udpSessionListInterval = Interval.seconds(1)
  /// A session that had traffic within this time keeps a drain waiting.
  public static let udpSessionLiveFor = Interval.seconds(3)

  // MARK: Tunnel output

  /// Bytes a stream may send before the next stream's turn: one full DATA frame.
  public static let schedulerQuantumBytes = dataFrameBytes
  /// What sustained streams together may send a second while data is busy. SPEC 2.5 guarantees 1 MB
  /// in any second; an eighth more makes up for the time between two polls, which a second that
  /// begins and ends in the middle of it does not see.
  public static let sustainedBytesPerSecond = 1_152 * kib
  /// What they may send at once: what comes in during 107 ms, the time that a link of 2 MB/s takes
  /// for a batch. With the rate it makes 1.25 MB, the most they take from data in any second.
  public static let sustainedBurstBytes = 128 * kib
  /// And for each byte of data at most so many: data keeps a third of a link that is slower than
  /// what is guaranteed.
  public static let sustainedBytesPerDataByte = 2
  /// The shortest DATA frame worth starting where a batch has little room left.
  public static let dataFrameBytesMin = 4 * kib
  /// Room for this much makes it worthwhile to read a socket again.
  public static let roomBytesWorthwhile = 64 * kib
  /// Room for this much must do where nothing is queued whose sending would make more.
  public static let roomBytesLeast = 8 * kib
  /// Frames waiting to be sent that no stream's state stands for: OPEN (116 bytes each), refusals,
  /// PING and PONG. Enough for 9,000 opens while the transport is full: twice a listener's backlog
  /// (net.core.somaxconn), all of which one tick may accept.
  public static let controlQueueBytes = 1 * mib
  /// PONGs waiting to be sent: a peer that asks faster than it reads gets no more.
  public static let pongsQueuedMax = 64
}

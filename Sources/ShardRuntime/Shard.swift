// One core, composed: the only place that knows every room. It owns its connections, its part of
// the conversations, and its ends of the rings to the other cores and to the store.
//
// A turn (Reactor/EventLoop.swift calls): `run` the completions, then `finishTurn`: drain rings,
// fire timers, resume what was held back, flush rings, flush corked writes. Nothing else runs in
// between, so state changes only where one of these calls leads.

import API
import Bytes
import CLinux
import ChatModel
import Conversations
import Engine
import Identity
import Ingest
import Logging
import Observability
import Reactor
import Rings
import Stores
import Wire

/// What cores say to each other.
package enum MeshMessage: Sendable {
    case request(OwnerRequest)
    case answer(Answer)
    case deliver(Delivery)
    /// A whole frame for the sockets of `/bench/broadcast`.
    case broadcast(ByteBlock)
    /// The sockets of this user are to be closed.
    case dismiss(UserKey)
}

package final class Shard: LoopDelegate {
    enum TimerCode: UInt8 { case connection = 1, acceptRetry, runTick, housekeeping }

    static let listenerToken = Token(slot: .max, generation: 1)
    static let bellToken = Token(slot: .max, generation: 3)
    static let ringMessagesPerTurnMax = 1024
    /// How long a core sleeps at most while a ring that it feeds is full.
    static let fullRingPauseNanoseconds: UInt64 = 500_000

    let index: Int
    let service: ServiceState
    let configuration: Configuration
    let metrics: ShardMetrics
    let logger: Logger
    /// Each request is logged.
    private(set) var isDebugging: Bool
    /// The tenants, as this core knows them.
    private(set) var directory: TenantDirectory
    let clock: LoopClock
    let operations: OperationQueue
    let buffers: ReceivePool
    let segments = SegmentPool()
    /// nil: connections are plain text.
    let tls: TLSEngine?
    let timers: TimerWheel
    let connections = Slab<Connection>(rowsMax: Limits.connectionsPerShardMax)
    let bell: Doorbell
    private(set) var listener: Int32

    let owner: ConversationOwner
    let store: StoreClient
    let ports: [Port<MeshMessage>?]
    let inlets: [Inlet<MeshMessage>]

    let verifier: TokenVerifier
    let apiKeys: APIKeyCache
    let issuer: TokenIssuer
    let parser: JSONParser
    let messageReader: MessageRequestReader
    let patchReader: ConversationPatchReader
    let responses = ResponseWriter()
    let assemblies = WebSocketAssemblyPool()
    let sockets = SocketDirectory()
    var handshakes = HandshakeQueue(handshakesMax: Limits.handshakesPerShardMax)
    /// Memory for requests and messages that are not whole, and for answers that are not read.
    let bufferedBytesMax: Int
    var heldBytes = 0
    /// Connections that are open only to be told that there is no room.
    var turnedAwayCount = 0
    var nextSheddingNanoseconds: UInt64 = 0
    var shedding = SheddingReport()
    let badCredentials: RateLimit?
    let pollPlaces = PollPlaces(
        totalMax: Limits.pollsPerShardMax, perConversationMax: Limits.pollsPerConversationMax)
    /// Where a response or frame is written before it is queued.
    let out = ByteWriter(capacity: 16_384)
    let scratch = ByteWriter(capacity: 4096)
    let frame = ByteWriter(capacity: 16_384)
    var deflaters: [UInt8: Deflater] = [:]
    var random: Random
    var assembler = RequestAssembler()
    var spareAssemblers: [RequestAssembler] = []

    /// Connections with something to send.
    let dirty = FlatArray<Token>()
    /// Connections whose reading is paused.
    var held: [Token] = []
    /// Connections that wait for an API key to be looked up.
    var keyWaiters: [UInt64: [Token]] = [:]
    /// Keys that sockets and streams stood on when the directory last changed.
    var keysInDoubt: Set<UInt64> = []
    /// Requests and socket messages of this core that have no answer yet.
    var inFlight = 0
    private var areRingsFull = false
    private var isRunningActions = false
    /// Since the owner's counters were last shown.
    private var didRunActions = false
    private var tickIsSet = false
    private var housekeepingDueNanoseconds: UInt64 = 0
    var sweep = InactivitySweep()
    private var isListening = false
    private var didCloseListener = false
    private var didReportDrained = false
    package private(set) var isRunning = true

    package init(
        _ parts: ShardParts, service: ServiceState, clock: LoopClock, operations: OperationQueue,
        buffers: ReceivePool
    ) {
        index = parts.index
        self.service = service
        configuration = service.configuration
        metrics = service.shardMetrics[parts.index]
        logger = service.logger
        self.clock = clock
        self.operations = operations
        self.buffers = buffers
        tls = service.credentials.map { TLSEngine($0) }
        bufferedBytesMax = configuration.bounds.bufferedBytesPerShard(of: service.coreCount)
        let perMinute = configuration.bounds.badCredentialsPerMinute
        badCredentials =
            perMinute == 0 ? nil : RateLimit(perMinute: perMinute, burst: perMinute)
        timers = TimerWheel(nowNanoseconds: clock.nanoseconds)
        bell = parts.bell
        listener = parts.listener
        store = parts.store
        ports = parts.ports
        inlets = parts.inlets
        random = Random(seed: service.entropy.seed())
        directory = service.newestDirectory
        owner = ConversationOwner(
            engine: BuiltinEngine(), directory: directory, seed: service.entropy.seed(),
            sessionTimeToLiveSeconds: configuration.sessionTimeToLiveSeconds,
            runLeaseMilliseconds: configuration.requestTimeoutMilliseconds)
        isDebugging = service.logger.logLevel <= .debug
        verifier = TokenVerifier(
            settings: service.tokenSettings, directory: directory,
            seed: service.entropy.seed())
        apiKeys = APIKeyCache(
            directory: directory,
            timeToLiveSeconds: configuration.configCacheTimeToLiveSeconds)
        issuer = TokenIssuer(settings: service.tokenSettings)
        parser = JSONParser(
            documentBytesMax: configuration.messageBytesMax + 1024, depthMax: Limits.jsonDepthMax)
        messageReader = MessageRequestReader(parser: parser)
        patchReader = ConversationPatchReader(parser: parser)
        operations.add(.poll, descriptor: bell.descriptor, token: Self.bellToken)
        listen()
        owner.setTime(milliseconds: clock.milliseconds, nanoseconds: clock.nanoseconds)
        let firstToken = metrics.firstTokenMicroseconds
        owner.whenFirstToken = { firstToken.record($0 / 1000) }
        setHousekeeping()
    }

    // MARK: LoopDelegate

    package func run(_ batch: CompletionBatch) {
        lookAtRings()
        owner.setTime(milliseconds: clock.milliseconds, nanoseconds: clock.nanoseconds)
        if directory.hasSuccessor { followDirectory() }
        let count = batch.completions.count
        var i = 0
        while i < count {
            let completion = batch.completions[i]
            i += 1
            switch completion.kind {
            case .receive: didReceive(completion)
            case .send: didSend(completion)
            case .accept: didAccept(completion)
            case .poll: bell.silence()
            case .pauseReceive, .shutdown, .close: break
            }
        }
    }

    package func finishTurn() {
        drainRings()
        timers.advance(toNanoseconds: clock.nanoseconds) { fire($0) }
        lookAtRings()
        resumeHeld()
        if service.isClosing { goOnClosing() }
        store.flush()
        for port in ports { port?.flush() }
        if didRunActions { publishOwnerCounters() }
        if segments.usedBytes > bufferedBytesMax { shedUnreadAnswers() }
        flushDirty()
    }

    package func hasRingWork() -> Bool {
        if store.hasEvents() { return true }
        for inlet in inlets where !inlet.isEmpty() { return true }
        return false
    }

    package func nanosecondsUntilNextTimer() -> UInt64? {
        let timer = timers.nanosecondsUntilNext(now: clock.nanoseconds)
        // Nobody says when a full ring has room again, and a core that holds its sockets back has
        // nothing else to wake it. One that was emptied since they were looked at counts as well:
        // what was held back on account of it is taken up in the next turn.
        return areRingsFull || hasFullRing
            ? min(timer ?? .max, Self.fullRingPauseNanoseconds) : timer
    }

    private func drainRings() {
        store.drain(limit: Self.ringMessagesPerTurnMax) { receive($0) }
        for inlet in inlets { _ = inlet.drain(limit: Self.ringMessagesPerTurnMax) { receive($0) } }
    }

    private func receive(_ event: StoreEvent) {
        switch event {
        case .committed(let result):
            metrics.commitMicroseconds.record(
                (clock.nanoseconds &- result.unit.submittedNanoseconds) / 1000)
            if case .committed = result.outcome { count(result.unit) }
            owner.didCommit(result)
            runActions()
        case .ownerRead(let result):
            owner.didRead(result)
            runActions()
        case .answer(let answer): deliver(answer)
        case .replayed(let page): didReplay(page)
        case .target(let query, let target): didFind(target, query)
        case .inactive(let page): didFindInactive(page)
        case .apiKey(let id, let record): didLookUpKey(id, record)
        }
    }

    private func receive(_ message: MeshMessage) {
        switch message {
        case .request(let request):
            owner.receive(request)
            runActions()
        case .answer(let answer): deliver(answer)
        case .deliver(let delivery): deliver(delivery)
        case .broadcast(let block): broadcastLocally(block)
        case .dismiss(let user): dismiss(user)
        }
    }

    private func count(_ unit: CommitUnit) {
        for entry in unit.entries where entry.kind == .message {
            metrics.countMessage(
                unit.conversation.tenant, unit.conversation.channel, isInbound: entry.isInbound)
        }
    }

    // MARK: The owner's actions

    func core(of shardKey: UInt16) -> Int { Int(shardKey) % service.coreCount }

    /// Hands a request to the core that owns what it is about.
    func ask(_ request: OwnerRequest, shardKey: UInt16) {
        let target = core(of: shardKey)
        if target == index {
            owner.receive(request)
            runActions()
        } else {
            ports[target]?.send(.request(request))
        }
    }

    /// Runs what the owner decided, in order. Actions that arise meanwhile join the end.
    func runActions() {
        guard !isRunningActions else { return }
        isRunningActions = true
        owner.takeActions { action in
            switch action {
            case .commit(let unit): store.commit(unit)
            case .read(let read): store.read(.owner(read))
            case .answer(let answer):
                if Int(answer.origin.core) == index {
                    deliver(answer)
                } else {
                    ports[Int(answer.origin.core)]?.send(.answer(answer))
                }
            case .dismiss(let user, let cores):
                for core in 0..<service.coreCount where cores >> UInt64(core) & 1 == 1 {
                    if core == index { dismiss(user) } else { ports[core]?.send(.dismiss(user)) }
                }
            case .deliver(let delivery, let cores):
                var rest = cores
                while rest != 0 {
                    let core = rest.trailingZeroBitCount
                    rest &= rest - 1
                    if core == index {
                        deliver(delivery)
                    } else {
                        ports[core]?.send(.deliver(delivery))
                    }
                }
            }
        }
        isRunningActions = false
        didRunActions = true
        if owner.needsTick, !tickIsSet {
            tickIsSet = true
            setTimer(.runTick, Limits.streamFrameMilliseconds)
        }
    }

    /// True while new work must stay in its sockets (Rings/Port.swift).
    var isCongested: Bool { areRingsFull || inFlight >= Limits.requestsInFlightPerShardMax }

    /// Once a turn: what a turn can add is bounded by its completions.
    private func lookAtRings() { areRingsFull = hasFullRing }

    private var hasFullRing: Bool {
        if store.isCongested { return true }
        for port in ports { if let port, port.isCongested { return true } }
        return false
    }

    // MARK: Timers

    func setTimer(_ code: TimerCode, _ milliseconds: UInt64, token: Token = .none) {
        _ = timers.set(
            dueNanoseconds: clock.nanoseconds + milliseconds * 1_000_000,
            TimerEvent(code: code.rawValue, token: token))
    }

    private func fire(_ event: TimerEvent) {
        switch TimerCode(rawValue: event.code) {
        case .connection: connectionTimerFired(event.token)
        case .acceptRetry: listen()
        case .runTick:
            tickIsSet = false
            owner.tick()
            runActions()
        case .housekeeping: housekeep()
        case nil: preconditionFailure("a timer with an unknown code")
        }
    }

    private func setHousekeeping() {
        housekeepingDueNanoseconds = clock.nanoseconds + 1_000_000_000
        setTimer(.housekeeping, 1000)
    }

    /// Once a second: how late the loop is, and the gauges that nobody updates in passing.
    private func housekeep() {
        metrics.lagMicroseconds.record((clock.nanoseconds &- housekeepingDueNanoseconds) / 1000)
        for (peer, port) in ports.enumerated() {
            if let port { metrics.ringDepth.store(UInt64(max(0, port.depth())), at: peer) }
        }
        metrics.ringDepth.store(UInt64(max(0, store.writeDepth())), at: 64)
        metrics.chunks.set(UInt64(segments.chunkCount))
        owner.settlePresence()
        runActions()
        if index == 0 { goOnSweeping() }
        metrics.outboxBytes.set(UInt64(segments.usedBytes))
        metrics.heldBytes.set(UInt64(heldBytes))
        reportShedding()
        publishHeldConversations()
        publishOwnerCounters()
        setHousekeeping()
    }

    private func publishOwnerCounters() {
        didRunActions = false
        let counters = owner.counters
        metrics.duplicates.set(UInt64(counters.duplicates))
        metrics.conflicts.set(UInt64(counters.conflicts))
        metrics.fencedReplies.set(UInt64(counters.fencedReplies))
        metrics.runs.set(UInt64(counters.runsStarted))
        metrics.staleChanges.set(UInt64(counters.staleChanges))
        metrics.runsExpired.set(UInt64(counters.runsExpired))
        metrics.cursorWrites.set(UInt64(counters.cursorWrites))
        metrics.leftWithoutGrace.set(UInt64(counters.leftWithoutGrace))
        metrics.presenceNotTold.set(UInt64(counters.presenceNotTold))
        metrics.conversationHits.set(UInt64(counters.conversationHits))
        metrics.conversationMisses.set(UInt64(counters.conversationMisses))
        metrics.tokenHits.set(UInt64(verifier.hits))
        metrics.tokenMisses.set(UInt64(verifier.misses))
    }

    func publishHeldConversations() {
        var totals = [UInt64](repeating: 0, count: ShardMetrics.tenantsMax + 1)
        for (tenant, held) in owner.heldByTenant.enumerated() {
            totals[min(tenant, ShardMetrics.tenantsMax)] += UInt64(max(0, held))
        }
        for (place, total) in totals.enumerated() { metrics.conversations.store(total, at: place) }
        publishClosings()
    }

    /// A reload took place. A tenant keeps its index, so what is under way goes on.
    private func followDirectory() {
        directory = directory.newest
        owner.replaceDirectory(directory)
        verifier.replaceDirectory(directory)
        apiKeys.replaceDirectory(directory)
        isDebugging = logger.logLevel <= .debug
        askForKeysInUse()
    }

    // MARK: Listening and ending

    func listen() {
        guard listener >= 0, !service.isClosing else { return }
        isListening = true
        operations.add(.accept, descriptor: listener, token: Self.listenerToken)
    }

    func didStopListening() { isListening = false }

    /// Contract section 9: nothing new comes in, what is open is finished, sockets are sent away.
    private func goOnClosing() {
        if !didCloseListener {
            didCloseListener = true
            if listener >= 0 {
                operations.add(.close, descriptor: listener, token: Self.listenerToken)
            }
            listener = -1
            sendEverybodyAway()
        }
        if !didReportDrained, inFlight == 0, connections.count == 0, !owner.isBusy {
            didReportDrained = true
            service.coreDidDrain()
        }
        if service.isEnding { isRunning = false }
    }
}

/// What is made before a core's thread starts.
package struct ShardParts {
    let index: Int
    let bell: Doorbell
    let listener: Int32
    let store: StoreClient
    let ports: [Port<MeshMessage>?]
    let inlets: [Inlet<MeshMessage>]

    package init(index: Int, bell: Doorbell, listener: Int32, store: StoreClient, mesh: Mesh) {
        self.index = index
        self.bell = bell
        self.listener = listener
        self.store = store
        ports = mesh.ports[index]
        inlets = mesh.inlets[index]
    }
}

/// The rings between all cores, one for each ordered pair.
package struct Mesh {
    /// By sender, then by receiver.
    let ports: [[Port<MeshMessage>?]]
    /// By receiver.
    let inlets: [[Inlet<MeshMessage>]]

    package init(bells: [Doorbell], capacity: Int) {
        let cores = bells.count
        var ports: [[Port<MeshMessage>?]] = (0..<cores).map { _ in
            Array(repeating: nil, count: cores)
        }
        var inlets: [[Inlet<MeshMessage>]] = Array(repeating: [], count: cores)
        for from in 0..<cores {
            for to in 0..<cores where to != from {
                let ring = Ring<MeshMessage>(capacity: capacity)
                ports[from][to] = Port(ring.producer, doorbell: bells[to])
                inlets[to].append(Inlet(ring.consumer))
            }
        }
        self.ports = ports
        self.inlets = inlets
    }
}

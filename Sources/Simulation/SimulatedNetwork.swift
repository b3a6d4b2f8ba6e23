// Sockets in memory: what a kernel would keep, and the clients' side of every connection.

import Bytes
import Reactor

/// Owner: the simulation's one thread. Descriptors are given lowest first, as a kernel does, so
/// that they are reused soon; they begin above all that the process really has open.
final class SimulatedNetwork {
    static let firstDescriptor: Int32 = 1 << 20

    struct Listener {
        let descriptor: Int32
        var token = Token.none
        var isArmed = false
        var isOpen = true
        var queue: [Link] = []
    }

    struct Bell {
        let descriptor: Int32
        var token = Token.none
        var isArmed = false
        var isRung = false
    }

    let around: Surroundings
    /// Called when something has become ready for a core.
    var wake: (Int) -> Void = { _ in }
    var listeners: [Listener] = []
    var bells: [Bell] = []
    /// By descriptor, from `firstDescriptor` on.
    var links: [Link?] = []
    var late: [[Completion]] = []
    private var madeCount = 0
    private let plant: Plant?
    private var plantCount = 0
    /// True while a process listens.
    private(set) var isUp = false

    init(_ around: Surroundings, plant: Plant? = nil) {
        self.around = around
        self.plant = plant
    }

    /// True in one of so many cases in which the planted bug could show.
    private func isPlanted(_ bug: Plant, oneIn count: Int) -> Bool {
        guard plant == bug else { return false }
        plantCount += 1
        return plantCount % count == 0
    }

    // MARK: The process

    /// A process begins: a listener and a bell for each core.
    func start(cores: Int) {
        links = Array(repeating: nil, count: 2 * cores)
        late = Array(repeating: [], count: cores)
        listeners = (0..<cores).map { Listener(descriptor: Self.firstDescriptor + Int32($0)) }
        bells = (0..<cores).map { Bell(descriptor: Self.firstDescriptor + Int32(cores + $0)) }
        isUp = true
    }

    /// The process is gone: its kernel closes all that it had open.
    func crash() {
        isUp = false
        for listener in listeners { for link in listener.queue { endAtClient(link, reset: true) } }
        for link in links { if let link { endAtClient(link, reset: true) } }
        links = []
        late = []
        listeners = []
        bells = []
    }

    var openLinkCount: Int { links.reduce(0) { $0 + ($1 == nil ? 0 : 1) } }

    func setBell(_ core: Int, isRung: Bool) {
        guard isUp, !(isRung && isPlanted(.losesRings, oneIn: 20)) else { return }
        bells[core].isRung = isRung
        if isRung { wake(core) }
    }

    func link(_ descriptor: Int32) -> Link? {
        let index = Int(descriptor - Self.firstDescriptor)
        return index >= 0 && index < links.count ? links[index] : nil
    }

    func open(_ link: Link) -> Int32 {
        let reserved = listeners.count + bells.count
        var index = reserved
        while index < links.count, links[index] != nil { index += 1 }
        if index == links.count { links.append(nil) }
        links[index] = link
        link.descriptor = Self.firstDescriptor + Int32(index)
        return link.descriptor
    }

    /// True when the core's kernel would not let it sleep.
    func isReady(_ core: Int) -> Bool {
        guard isUp else { return false }
        if !late[core].isEmpty || bells[core].isArmed && bells[core].isRung { return true }
        let listener = listeners[core]
        if listener.isOpen, listener.isArmed, !listener.queue.isEmpty { return true }
        for case let link? in links where link.core == core && isReady(link) { return true }
        return false
    }

    func isReady(_ link: Link) -> Bool {
        if link.hasLateCompletion { return false }
        if link.blockedSend != nil, link.room > 0 || link.wasReset { return true }
        if link.isArmed { return link.isReadable }
        return link.isHungUp && !link.didReportHangup && link.token != .none
    }

    // MARK: What the server sends

    func transmit(_ bytes: [UInt8], on link: Link) {
        link.outstandingBytes += bytes.count
        around.trace.note(bytes, "link \(link.number) server sends \(bytes.count)")
        if isPlanted(.losesBytes, oneIn: 500) { return }
        towardsClient(link) { [unowned self] in
            link.arrived.append(contentsOf: bytes)
            if link.isReading { read(link) }
        }
    }

    private func towardsClient(_ link: Link, _ action: @escaping () -> Void) {
        link.lastAtClient = max(around.agenda.now + around.delay(), link.lastAtClient + 1)
        around.agenda.at(link.lastAtClient) { [unowned self] in
            if link.isSilent { return }
            if link.isClosedByClient { return resetAtServer(link) }
            if !link.didEnd { action() }
        }
    }

    private func towardsServer(_ link: Link, _ action: @escaping () -> Void) {
        link.lastAtServer = max(around.agenda.now + around.delay(), link.lastAtServer + 1)
        around.agenda.at(link.lastAtServer, action)
    }

    private func read(_ link: Link) {
        guard !link.arrived.isEmpty else { return }
        let bytes = link.arrived
        link.arrived = []
        link.outstandingBytes -= bytes.count
        link.endpoint?.didReceive(bytes, on: link)
        if link.blockedSend != nil { wake(link.core) }
    }

    func endOfStream(_ link: Link) {
        towardsClient(link) { [unowned self] in
            if !link.isReading { resume(link) }
            link.didEnd = true
            link.endpoint?.didEnd(link, wasReset: false)
        }
    }

    /// Ends the client's side. Bytes on their way may be lost, as after a real reset.
    func endAtClient(_ link: Link, reset: Bool) {
        link.isClosedByServer = true
        link.blockedSend = nil
        if around.chance.percent(50) { link.lastAtClient = 0 }
        towardsClient(link) {
            link.didEnd = true
            link.endpoint?.didEnd(link, wasReset: reset)
        }
    }

    private func resetAtServer(_ link: Link) {
        guard !link.isClosedByServer, !link.wasReset else { return }
        link.wasReset = true
        wake(link.core)
    }

    // MARK: What clients do

    func connect(_ endpoint: any LinkEndpoint) -> Link {
        madeCount += 1
        let core = listeners.isEmpty ? 0 : around.chance.below(listeners.count)
        let link = Link(
            number: madeCount, core: core, endpoint: endpoint,
            capacityBytes: around.faults.outboxBytes)
        towardsServer(link) { [unowned self] in
            guard isUp, link.core < listeners.count, listeners[link.core].isOpen else {
                return endAtClient(link, reset: true)
            }
            listeners[link.core].queue.append(link)
            towardsClient(link) { link.endpoint?.didConnect(link) }
            wake(link.core)
        }
        return link
    }

    /// The bytes go out in one piece or in several, each with a delay of its own.
    func write(_ bytes: [UInt8], on link: Link) {
        around.trace.note(bytes, "link \(link.number) client sends \(bytes.count)")
        var start = 0
        while start < bytes.count {
            let rest = bytes.count - start
            let isSplit = around.chance.percent(around.faults.shortReadPercent / 2)
            let count = isSplit ? 1 + around.chance.below(rest) : rest
            let part = Array(bytes[start..<start + count])
            start += count
            towardsServer(link) { [unowned self] in
                if link.isSilent || link.wasReset { return }
                // RFC 9293 section 3.10.7: what comes for a closed connection is reset.
                if link.isClosedByServer { return endAtClient(link, reset: true) }
                link.inbox.append(contentsOf: part)
                wake(link.core)
            }
        }
    }

    /// Nothing more is written; answers are still read.
    func closeWriting(_ link: Link) {
        towardsServer(link) { [unowned self] in
            guard !link.isClosedByServer else { return }
            link.didReceiveEnd = true
            wake(link.core)
        }
    }

    enum Farewell {
        /// What the server still sends is answered with a reset.
        case orderly
        case reset
        /// As when the power goes: nothing ever comes again.
        case silent
    }

    func close(_ link: Link, _ farewell: Farewell) {
        link.isClosedByClient = true
        link.didEnd = true
        link.isSilent = farewell == .silent
        if link.isSilent { return }
        let isReset = farewell == .reset || !link.arrived.isEmpty
        link.arrived = []
        towardsServer(link) { [unowned self] in
            guard !link.isClosedByServer else { return }
            if isReset { return resetAtServer(link) }
            link.didReceiveEnd = true
            wake(link.core)
        }
    }

    func pause(_ link: Link) { link.isReading = false }

    func resume(_ link: Link) {
        link.isReading = true
        read(link)
    }
}

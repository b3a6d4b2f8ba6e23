import Bytes
import ChatModel
import Observability
import Reactor
import Rings

/// A core's ends towards the store: units and jobs go out, events come in.
public final class StoreClient {
    let units: Port<CommitUnit>
    let jobs: [Port<ReadJob>]
    /// The reader that searches, and does nothing else: a search keeps nobody waiting who does not.
    let searches: Port<ReadJob>?
    let inlets: [Inlet<StoreEvent>]
    private var nextReader = 0

    public init(
        units: Port<CommitUnit>, jobs: [Port<ReadJob>], searches: Port<ReadJob>? = nil,
        inlets: [Inlet<StoreEvent>]
    ) {
        self.searches = searches
        self.units = units
        self.jobs = jobs
        self.inlets = inlets
    }

    public func commit(_ unit: CommitUnit) { units.send(unit) }

    public func read(_ job: ReadJob) {
        nextReader = nextReader + 1 == jobs.count ? 0 : nextReader + 1
        jobs[nextReader].send(job)
    }

    /// False when so many searches wait that one more is refused.
    public func trySearch(_ query: ListQuery) -> Bool {
        guard let searches else {
            read(.list(query))
            return true
        }
        guard searches.depth() < Limits.searchesWaitingMax else { return false }
        searches.send(.list(query))
        return true
    }

    /// Take no new messages while this is true.
    public var isCongested: Bool { units.isCongested || jobs.contains { $0.isCongested } }
    public func flush() {
        units.flush()
        for port in jobs { port.flush() }
        searches?.flush()
    }
    public func hasEvents() -> Bool { inlets.contains { !$0.isEmpty() } }
    public func drain(limit: Int, _ body: (consuming StoreEvent) -> Void) {
        for inlet in inlets { _ = inlet.drain(limit: limit, body) }
    }
    public func writeDepth() -> Int { units.depth() }
}

/// The embedded message store: one writer thread and some readers on one SQLite file.
public final class MessageStore {
    public let metrics = StoreMetrics()
    /// Changed by tests, before the start.
    var foldRules = FoldRules()
    let tail = LogTail()
    private let isStopping = StopFlag()
    private var bells: [Doorbell] = []
    private var threads: [WorkerThread] = []

    public init() {}

    /// Opens `path` (made if absent), starts the threads and returns a client for each core's bell.
    /// Throws SQLiteError when the file cannot be opened, is damaged, or has an unknown schema.
    public func start(
        path: String, directoryPath: String, directory: TenantDirectory, coreBells: [Doorbell],
        readerCount: Int, search: (any SearchSource)? = nil,
        log: @escaping @Sendable (StoreNotice) -> Void
    ) throws(SQLiteError) -> [StoreClient] {
        let connection = try MessageSchema.open(path: path)
        let writerBell = Doorbell.make()
        var unitPorts: [Port<CommitUnit>] = []
        var inlets: [[Inlet<StoreEvent>]] = coreBells.map { _ in [] }
        var writerLinks: [WriterLink] = []
        for (core, bell) in coreBells.enumerated() {
            let units = Ring<CommitUnit>(capacity: Limits.storeRingCapacity)
            let events = Ring<StoreEvent>(capacity: Limits.storeRingCapacity)
            unitPorts.append(Port(units.producer, doorbell: writerBell))
            inlets[core].append(Inlet(events.consumer))
            writerLinks.append(
                WriterLink(
                    units: Inlet(units.consumer), events: Port(events.producer, doorbell: bell)))
        }
        let writer = try MessageWriter(
            connection: connection, tail: tail, rules: foldRules, directory: directory,
            links: writerLinks, bell: writerBell, followerBell: search?.bell, metrics: metrics,
            isStopping: isStopping, log: log)
        try writer.recover()
        bells.append(writerBell)
        threads.append(Self.thread("store-write", writer) { $0.run() })

        var jobPorts: [[Port<ReadJob>]] = coreBells.map { _ in [] }
        for index in 0..<(search == nil ? readerCount : readerCount + 1) {
            let isSearch = index == readerCount
            let readerBell = Doorbell.make()
            let links = Self.links(coreBells, readerBell, &jobPorts, &inlets)
            let reader = try MessageReader(
                path: path, tail: tail, directoryStore: try DirectoryStore(path: directoryPath),
                directory: directory, links: links, bell: readerBell, metrics: metrics,
                isStopping: isStopping,
                finder: isSearch ? search?.makeFinder(try follower(path: path)) : nil, log: log)
            bells.append(readerBell)
            threads.append(
                Self.thread(isSearch ? "store-search" : "store-read-\(index)", reader) { $0.run() })
        }
        return coreBells.indices.map {
            StoreClient(
                units: unitPorts[$0], jobs: Array(jobPorts[$0].prefix(readerCount)),
                searches: search == nil ? nil : jobPorts[$0].last, inlets: inlets[$0])
        }
    }

    /// Reads the log of the store at `path`, which this store has opened, on a thread of its own.
    public func follower(path: String) throws(SQLiteError) -> LogFollower {
        try LogFollower(path: path, tail: tail)
    }

    /// A reader's links to all cores; each core gets the other ends.
    private static func links(
        _ coreBells: [Doorbell], _ readerBell: Doorbell, _ jobPorts: inout [[Port<ReadJob>]],
        _ inlets: inout [[Inlet<StoreEvent>]]
    ) -> [ReaderLink] {
        var links: [ReaderLink] = []
        for (core, bell) in coreBells.enumerated() {
            let jobs = Ring<ReadJob>(capacity: Limits.storeRingCapacity)
            let events = Ring<StoreEvent>(capacity: Limits.storeRingCapacity)
            jobPorts[core].append(Port(jobs.producer, doorbell: readerBell))
            inlets[core].append(Inlet(events.consumer))
            links.append(
                ReaderLink(
                    jobs: Inlet(jobs.consumer), events: Port(events.producer, doorbell: bell)))
        }
        return links
    }

    /// Hands an object over to the thread that will be its only user from then on.
    private static func thread<Worker>(
        _ name: String, _ worker: Worker, _ body: @escaping @Sendable (Worker) -> Void
    ) -> WorkerThread {
        let handover = Handover(worker)
        return WorkerThread(name: name) { body(handover.worker) }
    }

    /// Commits what has been handed over, ends the threads and waits for them.
    public func stop() {
        isStopping.set()
        for bell in bells { bell.ringIfAsleep() }
        for thread in threads { thread.join() }
        threads = []
    }
}

/// Carries an object to its thread. The giver does not touch it again.
public struct Handover<Worker>: @unchecked Sendable {
    // Safety: used by one thread after the hand-over, as the maker promises.
    public let worker: Worker
    public init(_ worker: Worker) { self.worker = worker }
}

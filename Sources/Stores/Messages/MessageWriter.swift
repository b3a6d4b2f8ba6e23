// Owner: the one thread that writes. Units come by ring from every core; all that wait are put into
// one transaction (group commit), and each core is told what became of its units after the commit
// is on disk. While the disk works the next units gather, so that the batch grows with the load by
// itself.
//
// A unit's entries go into one row of `log` together with those of its whole batch: a few pages in
// a row instead of one page for each conversation. Where they stand is entered into `entries`
// later, for many of one conversation at a time, inside later transactions (MessageWriter+Folding)
// or when nobody writes.
//
// Budget: 10 µs of this thread for a message and its reply, folding and checkpoints included
// (1,000 conversations, 64 connections); Benchmarks/README.md has what was measured.

import Bytes
import CLinux
import ChatModel
import Observability
import Reactor
import Rings
import Synchronization

/// What a store tells a core.
public enum StoreEvent: Sendable {
    case committed(CommitResult)
    case ownerRead(OwnerReadResult)
    case answer(Answer)
    case replayed(ReplayPage)
    /// The message that a change is about; one that is not there is answered.
    case target(TargetQuery, ChangeTarget)
    case inactive(InactivePage)
    case apiKey(id: UInt64, APIKeyRecord?)
}

public final class StoreMetrics: Sendable {
    public let batchUnits = Histogram.items()
    public let commitMicroseconds = Histogram.microseconds()
    public let entries = Counter()
    public let failures = Counter()
    /// The last row of the log.
    public let lastRow = Counter()
    /// Pages of lists that ended before they were full because they had looked at enough.
    public let listsCutOff = Atomic<UInt64>(0)
    /// 1 while the last commit succeeded.
    public let isWritable = Counter()
    public init() { isWritable.set(1) }
}

/// The writer's ends towards one core.
struct WriterLink {
    let units: Inlet<CommitUnit>
    let events: Port<StoreEvent>
}

final class MessageWriter {
    static let unitsPerBatchMax = 2048

    let connection: SQLiteConnection
    let statements: WriterStatements
    let tail: LogTail
    var directory: TenantDirectory
    let metrics: StoreMetrics
    let log: @Sendable (StoreNotice) -> Void
    private let links: [WriterLink]
    private let bell: Doorbell
    /// Of whoever follows the log; rung after a commit, and after those who wait for it are told.
    private let followerBell: Doorbell?
    private let isStopping: StopFlag

    var ledger: FoldLedger
    /// Where the entries in the tail, and those of the batch in hand, have their idempotency keys.
    var keys: [Digest: KeyPlace] = [:]
    var batch: [(core: Int, unit: CommitUnit)] = []
    var outcomes: [CommitOutcome] = []
    /// The batch's units that are kept when its transaction is.
    var staged: [LoggedUnit] = []
    let rowWriter = ByteWriter(capacity: 65_536)
    let scratch = ByteWriter(capacity: 4096)
    /// What progress.folded_through says.
    var progress: Int64 = 0
    /// `entries` refused what the tail holds: the file is damaged, and nothing is written any more.
    var isDamaged = false
    /// Set by a fold that failed, until one succeeds.
    var isFoldingBroken = false
    var foldNotBeforeNanoseconds: UInt64 = 0
    var lastUnitNanoseconds: UInt64 = 0
    /// When to look again whether a store that could not write can.
    var probeNanoseconds: UInt64 = 0

    init(
        connection: SQLiteConnection, tail: LogTail, rules: FoldRules, directory: TenantDirectory,
        links: [WriterLink], bell: Doorbell, followerBell: Doorbell? = nil, metrics: StoreMetrics,
        isStopping: StopFlag,
        log: @escaping @Sendable (StoreNotice) -> Void
    ) throws(SQLiteError) {
        self.connection = connection
        self.tail = tail
        self.directory = directory
        self.links = links
        self.bell = bell
        self.followerBell = followerBell
        self.metrics = metrics
        self.isStopping = isStopping
        self.log = log
        ledger = FoldLedger(rules: rules)
        statements = try WriterStatements(connection)
    }

    func run() {
        while true {
            gather()
            if !batch.isEmpty {
                commit()
                tell()
            } else if isStopping.isSet {
                return finish()
            } else if isIdle {
                foldWhileIdle()
            } else if isProbeDue {
                probe()
            } else {
                sleep()
            }
        }
    }

    private func gather() {
        for (core, link) in links.enumerated() {
            let room = Self.unitsPerBatchMax - batch.count
            if room == 0 { return }
            _ = link.units.drain(limit: room) { batch.append((core, $0)) }
        }
    }

    private func tell() {
        for (index, item) in batch.enumerated() {
            let result = CommitResult(unit: item.unit, outcome: outcomes[index])
            links[item.core].events.send(.committed(result))
        }
        batch.removeAll(keepingCapacity: true)
        flush()
        followerBell?.ringIfAsleep()
    }

    /// Outcomes are never dropped: while a core's ring is full, they wait and are tried again.
    private func flush() {
        for link in links { link.events.flush() }
        while links.contains(where: { $0.events.isCongested }) {
            for _ in 0..<256 { cl_pause() }
            for link in links { link.events.flush() }
        }
    }

    /// Until the bell rings, or until it is time to fold or to probe.
    private func sleep() {
        bell.announceSleep()
        if !links.contains(where: { !$0.units.isEmpty() }) && !isStopping.isSet {
            bell.block(milliseconds: millisecondsToSleep())
        }
        bell.announceAwake()
    }
}

/// The message that an idempotency key names.
struct KeyPlace: BitwiseCopyable {
    let conversation: Identifier
    let seq: UInt64
}

/// Set once, by whoever stops a thread.
public final class StopFlag: Sendable {
    private let value = Atomic<Bool>(false)
    public init() {}
    public var isSet: Bool { value.load(ordering: .acquiring) }
    public func set() { value.store(true, ordering: .releasing) }
}

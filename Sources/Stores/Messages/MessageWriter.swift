// Owner: the one thread that writes. Units come by ring from every core; all that wait are put into one
// transaction (group commit), and each core is told what became of its units after the commit is on disk.
// While the disk works the next units gather, so that the batch grows with the load by itself.

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
    case apiKey(id: UInt64, APIKeyRecord?)
}

public final class StoreMetrics: Sendable {
    public let batchUnits = Histogram.items()
    public let commitMicroseconds = Histogram.microseconds()
    public let entries = Counter()
    public let failures = Counter()
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

    private let connection: SQLiteConnection
    private let links: [WriterLink]
    private let bell: Doorbell
    private let metrics: StoreMetrics
    private let isStopping: StopFlag
    private let log: @Sendable (String) -> Void
    private let insertEntry: SQLiteStatement
    private let insertConversation: SQLiteStatement
    private let updateConversation: SQLiteStatement
    private let findKey: SQLiteStatement
    private let findReply: SQLiteStatement
    private let findHead: SQLiteStatement
    private let removeEntry: SQLiteStatement
    private var batch: [(core: Int, unit: CommitUnit)] = []
    private var outcomes: [CommitOutcome] = []
    private var directory: TenantDirectory

    init(
        connection: SQLiteConnection, directory: TenantDirectory, links: [WriterLink], bell: Doorbell,
        metrics: StoreMetrics, isStopping: StopFlag, log: @escaping @Sendable (String) -> Void
    ) throws(SQLiteError) {
        self.connection = connection
        self.directory = directory
        self.links = links
        self.bell = bell
        self.metrics = metrics
        self.isStopping = isStopping
        self.log = log
        insertEntry = try connection.prepare("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?,?)")
        insertConversation = try connection.prepare("INSERT INTO conversations VALUES(?,?,?,?,?,?,?,?,?,?)")
        updateConversation = try connection.prepare(
            "UPDATE conversations SET status=?2, handler_type=?3, handler_token=?4, updated_at=?5, version=?6 WHERE id=?1")
        findKey = try connection.prepare(
            "SELECT conversation, seq, id, fingerprint, session, body, flags FROM entries WHERE idempotency=?")
        findReply = try connection.prepare(
            """
            SELECT body FROM (SELECT answers, body, kind FROM entries WHERE conversation=? AND seq>?2
            ORDER BY seq LIMIT 256) WHERE answers=?2 AND kind=0 LIMIT 1
            """)
        findHead = try connection.prepare("SELECT max(seq) FROM entries WHERE conversation=?")
        removeEntry = try connection.prepare("DELETE FROM entries WHERE conversation=? AND seq=?")
    }

    func run() {
        while true {
            gather()
            if batch.isEmpty {
                if isStopping.isSet { return }
                bell.announceSleep()
                if !links.contains(where: { !$0.units.isEmpty() }) && !isStopping.isSet { bell.block(milliseconds: -1) }
                bell.announceAwake()
                continue
            }
            commit()
            for (index, item) in batch.enumerated() {
                links[item.core].events.send(.committed(CommitResult(unit: item.unit, outcome: outcomes[index])))
            }
            batch.removeAll(keepingCapacity: true)
            flush()
        }
    }

    private func gather() {
        for (core, link) in links.enumerated() {
            let room = Self.unitsPerBatchMax - batch.count
            if room == 0 { return }
            _ = link.units.drain(limit: room) { batch.append((core, $0)) }
        }
    }

    /// Outcomes are never dropped: while a core's ring is full, they wait and are tried again.
    private func flush() {
        for link in links { link.events.flush() }
        while links.contains(where: { $0.events.isCongested }) {
            for _ in 0..<256 { cl_pause() }
            for link in links { link.events.flush() }
        }
    }

    // MARK: One transaction

    private func commit() {
        outcomes.removeAll(keepingCapacity: true)
        let start = cl_monotonic_nanoseconds()
        do {
            try connection.run("BEGIN IMMEDIATE")
            for item in batch { outcomes.append(try apply(item.unit)) }
            try connection.run("COMMIT")
            metrics.isWritable.set(1)
        } catch {
            if connection.isInTransaction { try? connection.run("ROLLBACK") }
            if metrics.isWritable.current == 1 { log("the message store cannot write: \(error)") }
            metrics.isWritable.set(0)
            metrics.failures.add()
            outcomes = Array(repeating: .unavailable, count: batch.count)
        }
        metrics.batchUnits.record(UInt64(batch.count))
        metrics.commitMicroseconds.record((cl_monotonic_nanoseconds() - start) / 1000)
    }

    private func apply(_ unit: CommitUnit) throws(SQLiteError) -> CommitOutcome {
        for (index, entry) in unit.entries.enumerated() {
            if let key = entry.idempotency, let found = try stored(under: key) {
                return .duplicate(index: index, found)
            }
        }
        for (index, entry) in unit.entries.enumerated() {
            do {
                try insert(entry, unit.conversation.id)
            } catch {
                guard error.isConstraint else { throw error }
                try removeEntries(unit, before: index)
                return .conflict(lastSeq: try head(of: unit.conversation.id))
            }
        }
        // The row comes last: a unit that met a conflict above has changed nothing.
        switch unit.rowChange {
        case .insert: try insert(unit.conversation)
        case .update: try update(unit.conversation)
        case .none: break
        }
        metrics.entries.add(UInt64(unit.entries.count))
        return .committed
    }

    private func insert(_ entry: StoredEntry, _ conversation: Identifier) throws(SQLiteError) {
        let statement = insertEntry
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, entry.seq)
        statement.bind(3, entry.id)
        statement.bind(4, UInt64(entry.kind.rawValue))
        statement.bind(5, UInt64(entry.isInbound ? 1 : 0) | UInt64(entry.isAcceptedOnly ? 2 : 0))
        statement.bind(6, entry.createdAtMilliseconds)
        statement.bind(7, entry.answersSeq)
        statement.bind(8, entry.session)
        if let key = entry.idempotency {
            statement.bind(9, high: key.high, low: key.low)
            statement.bind(10, entry.fingerprint)
        } else {
            statement.bindNull(9)
            statement.bindNull(10)
        }
        statement.bind(11, blob: entry.body)
        _ = try statement.step()
    }

    private func insert(_ row: Conversation) throws(SQLiteError) {
        let statement = insertConversation
        defer { statement.reset() }
        statement.bind(1, row.id)
        statement.bind(2, text: directory[row.tenant].name)
        statement.bind(3, text: row.userID)
        statement.bind(4, UInt64(row.channel.rawValue))
        statement.bind(5, UInt64(row.status.rawValue))
        statement.bind(6, UInt64(row.handler.type.rawValue))
        statement.bind(7, row.handler.token)
        statement.bind(8, row.createdAtMilliseconds)
        statement.bind(9, row.updatedAtMilliseconds)
        statement.bind(10, row.version)
        _ = try statement.step()
    }

    private func update(_ row: Conversation) throws(SQLiteError) {
        let statement = updateConversation
        defer { statement.reset() }
        statement.bind(1, row.id)
        statement.bind(2, UInt64(row.status.rawValue))
        statement.bind(3, UInt64(row.handler.type.rawValue))
        statement.bind(4, row.handler.token)
        statement.bind(5, row.updatedAtMilliseconds)
        statement.bind(6, row.version)
        _ = try statement.step()
    }

    private func stored(under key: Digest) throws(SQLiteError) -> StoredAnswer? {
        let statement = findKey
        defer { statement.reset() }
        statement.bind(1, high: key.high, low: key.low)
        guard try statement.step() else { return nil }
        let conversation = statement.identifier(0)
        let seq = statement.unsigned(1)
        return StoredAnswer(
            conversation: conversation, messageID: statement.identifier(2), seq: seq,
            fingerprint: statement.unsigned(3), session: statement.identifier(4),
            message: ByteBlock(copying: statement.bytes(5)),
            reply: statement.unsigned(6) & 2 == 0 ? try reply(to: seq, in: conversation) : nil)
    }

    private func reply(to seq: UInt64, in conversation: Identifier) throws(SQLiteError) -> ByteBlock? {
        let statement = findReply
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        return try statement.step() ? ByteBlock(copying: statement.bytes(0)) : nil
    }

    private func head(of conversation: Identifier) throws(SQLiteError) -> UInt64 {
        let statement = findHead
        defer { statement.reset() }
        statement.bind(1, conversation)
        return try statement.step() ? statement.unsigned(0) : 0
    }

    private func removeEntries(_ unit: CommitUnit, before index: Int) throws(SQLiteError) {
        for entry in unit.entries[..<index] {
            defer { removeEntry.reset() }
            removeEntry.bind(1, unit.conversation.id)
            removeEntry.bind(2, entry.seq)
            _ = try removeEntry.step()
        }
    }
}

/// Set once, by whoever stops a thread.
public final class StopFlag: Sendable {
    private let value = Atomic<Bool>(false)
    public init() {}
    public var isSet: Bool { value.load(ordering: .acquiring) }
    public func set() { value.store(true, ordering: .releasing) }
}

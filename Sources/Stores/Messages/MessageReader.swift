// Owner: one reader thread, with its own read-only connection: in WAL mode readers neither wait for
// the writer nor make it wait. Answers are encoded here, so that a loop only passes bytes on.
//
// A log is read in two parts: its end from the tail that is shared with the writer, what comes
// before from the table (LogReader).

import Bytes
import CLinux
import ChatModel
import Reactor
import Rings

struct ReaderLink {
    let jobs: Inlet<ReadJob>
    let events: Port<StoreEvent>
}

final class MessageReader {
    let connection: SQLiteConnection
    private let directoryStore: DirectoryStore
    private(set) var directory: TenantDirectory
    private let links: [ReaderLink]
    private let bell: Doorbell
    private let isStopping: StopFlag
    private let log: @Sendable (StoreNotice) -> Void
    let metrics: StoreMetrics
    /// Changed by tests, before the first job.
    var listScannedMax = Limits.listScannedMax
    /// nil: this reader does not search.
    let finder: (any ConversationFinder)?
    let logs: LogReader
    let writer = ByteWriter(capacity: 65_536)
    private let conversationByID: SQLiteStatement
    private let openOfUser: SQLiteStatement
    private let anyOfUser: SQLiteStatement
    let olderThan: SQLiteStatement
    let cursorsOfConversation: SQLiteStatement
    let cursorOfEndUser: SQLiteStatement
    var lists: [String: SQLiteStatement] = [:]

    static let columns = """
        id, tenant, user_id, channel, status, handler_type, handler_token, created_at, \
        updated_at, version, assignee, handler_id, labels, priority, attributes
        """

    init(
        path: String, tail: LogTail, directoryStore: DirectoryStore, directory: TenantDirectory,
        links: [ReaderLink], bell: Doorbell, metrics: StoreMetrics, isStopping: StopFlag,
        finder: (any ConversationFinder)? = nil, log: @escaping @Sendable (StoreNotice) -> Void
    ) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path, isReadOnly: true)
        try connection.run(MessageSchema.readerSettings)
        self.directoryStore = directoryStore
        self.directory = directory
        self.links = links
        self.bell = bell
        self.metrics = metrics
        self.finder = finder
        self.isStopping = isStopping
        self.log = log
        logs = try LogReader(connection, tail)
        conversationByID = try connection.prepare(
            "SELECT \(Self.columns) FROM conversations WHERE id=?")
        openOfUser = try connection.prepare(
            """
            SELECT \(Self.columns) FROM conversations WHERE tenant=? AND user_id=? AND status<>3
            ORDER BY id DESC LIMIT 64
            """)
        olderThan = try connection.prepare(
            """
            SELECT id, status, updated_at FROM conversations WHERE tenant=? AND id>? AND id<?
            ORDER BY id LIMIT \(Limits.inactiveVisitedMax)
            """)
        cursorsOfConversation = try connection.prepare(
            "SELECT user_id, read_seq, delivered_seq FROM cursors WHERE conversation=? LIMIT 64")
        cursorOfEndUser = try connection.prepare(
            """
            SELECT read_seq, delivered_seq FROM cursors WHERE conversation=?1
            AND user_id=(SELECT user_id FROM conversations WHERE id=?1)
            """)
        anyOfUser = try connection.prepare(
            "SELECT 1 FROM conversations WHERE tenant=? AND user_id=? LIMIT 1")
    }

    func run() {
        while true {
            var worked = false
            for link in links {
                var taken = 0
                while taken < 64, let job = link.jobs.pop() {
                    link.events.send(perform(job))
                    taken += 1
                }
                if taken > 0 { worked = true }
                link.events.flush()
            }
            if worked || links.contains(where: { $0.events.isCongested }) { continue }
            if isStopping.isSet { return }
            bell.announceSleep()
            if !links.contains(where: { !$0.jobs.isEmpty() }) && !isStopping.isSet {
                bell.block(milliseconds: -1)
            }
            bell.announceAwake()
        }
    }

    func perform(_ job: ReadJob) -> StoreEvent {
        // A core knows no newer one than this: it published nothing before it had it.
        if directory.hasSuccessor { directory = directory.newest }
        do {
            switch job {
            case .owner(.conversation(let id)):
                return .ownerRead(.conversation(id, try stored(try conversation(id))))
            case .owner(.user(let key)):
                return .ownerRead(.user(key, try openConversations(of: key)))
            case .conversation(let query): return .answer(try show(query))
            case .history(let query): return .answer(try history(query))
            case .list(let query):
                if let terms = query.terms { return .answer(try search(query, terms)) }
                return .answer(try list(query))
            case .replay(let query): return .replayed(try replay(query))
            case .message(let query): return .answer(try message(query))
            case .target(let query): return try target(query)
            case .inactive(let query): return .inactive(try inactive(query))
            case .apiKey(let id): return .apiKey(id: id, try directoryStore.apiKey(id: id))
            case .claim(let origin, let key): return .answer(try claim(origin, key))
            }
        } catch {
            log(.trouble("the message store cannot be read: \(error)"))
            return failure(of: job)
        }
    }

    private func failure(of job: ReadJob) -> StoreEvent {
        let problem = Problem(
            .temporarilyUnavailable, "The message store cannot be read now. Try again.",
            retryAfterSeconds: 2)
        switch job {
        case .owner(let read): return .ownerRead(.unavailable(read))
        case .conversation(let query):
            return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .history(let query):
            return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .list(let query):
            return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .message(let query):
            return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .target(let query):
            return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .replay(let query):
            return .replayed(
                ReplayPage(
                    origin: query.origin, conversation: query.conversation, frames: nil,
                    lastSeq: query.afterSeq))
        case .apiKey(let id): return .apiKey(id: id, nil)
        case .inactive:
            return .inactive(InactivePage(found: [], last: nil, isReadable: false))
        case .claim(let origin, _):
            return .answer(Answer(origin: origin, frameID: nil, result: .failure(problem)))
        }
    }

    private func claim(_ origin: Origin, _ key: UserKey) throws(SQLiteError) -> Answer {
        let statement = anyOfUser
        defer { statement.reset() }
        statement.bind(1, text: directory[key.tenant].name)
        statement.bind(2, text: key.userID)
        if try statement.step() {
            return Answer(
                origin: origin, frameID: nil,
                result: .failure(
                    Problem(
                        .forbidden,
                        "This user_id is in use; send its last guest token to go on with it.")))
        }
        return answer(origin, key.userID)
    }

    // MARK: Rows

    /// A row whose tenant is no longer known is as good as absent.
    func row(_ statement: SQLiteStatement) -> Conversation? {
        guard let tenant = directory.find(statement.bytes(1)),
            let channel = Channel(rawValue: UInt8(statement.integer(3))),
            let status = ConversationStatus(rawValue: UInt8(statement.integer(4))),
            let handler = HandlerType(rawValue: UInt8(statement.integer(5)))
        else { return nil }
        var found = Conversation(
            id: statement.identifier(0), tenant: tenant.index,
            userID: ByteBlock(copying: statement.bytes(2)),
            channel: channel, status: status,
            handler: Handler(type: handler, token: statement.unsigned(6)),
            lastSeq: 0, createdAtMilliseconds: statement.unsigned(7),
            updatedAtMilliseconds: statement.unsigned(8),
            version: statement.unsigned(9))
        found.details = details(statement)
        return found
    }

    private func details(_ statement: SQLiteStatement) -> ConversationDetails {
        var details = ConversationDetails()
        details.assignee = statement.block(10)
        details.handlerID = statement.block(11)
        details.labels = statement.block(12)
        details.priority =
            ConversationPriority(rawValue: UInt8(truncatingIfNeeded: statement.integer(13)))
            ?? .normal
        details.attributes = statement.block(14)
        return details
    }

    /// A conversation's row without what its log says.
    func plainRow(_ id: Identifier) throws(SQLiteError) -> Conversation? {
        let statement = conversationByID
        // A statement that is open holds the table as it was when it began. Logs are read in two
        // parts, the table after the tail, so it must be closed first.
        defer { statement.reset() }
        statement.bind(1, id)
        return try statement.step() ? row(statement) : nil
    }

    func conversation(_ id: Identifier) throws(SQLiteError) -> Conversation? {
        guard var found = try plainRow(id) else { return nil }
        found.show(try logs.activity(of: logs.tail(of: id), in: id))
        return found
    }

    private func openConversations(of key: UserKey) throws(SQLiteError) -> [StoredConversation] {
        let statement = openOfUser
        defer { statement.reset() }
        statement.bind(1, text: directory[key.tenant].name)
        statement.bind(2, text: key.userID)
        var found: [Conversation] = []
        while try statement.step() {
            guard let next = row(statement), !found.contains(where: { $0.channel == next.channel })
            else { continue }
            found.append(next)
        }
        // The logs are read next, each in two parts; see conversation(_:).
        statement.reset()
        var taken: [StoredConversation] = []
        for var row in found {
            row.show(try logs.activity(of: logs.tail(of: row.id), in: row.id))
            if let next = try stored(row) { taken.append(next) }
        }
        return taken
    }

    func answer(_ origin: Origin, _ body: ByteBlock) -> Answer {
        Answer(
            origin: origin, frameID: nil,
            result: .success(status: 200, body: ByteSlice(body), isReplay: false, follow: nil))
    }
}

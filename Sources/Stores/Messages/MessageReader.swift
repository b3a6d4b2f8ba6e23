// Owner: one reader thread, with its own read-only connection: in WAL mode readers neither wait for the
// writer nor make it wait. Answers are encoded here, so that a loop only passes bytes on.

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
    private let connection: SQLiteConnection
    private let directoryStore: DirectoryStore
    private let directory: TenantDirectory
    private let links: [ReaderLink]
    private let bell: Doorbell
    private let isStopping: StopFlag
    private let log: @Sendable (String) -> Void
    private let writer = ByteWriter(capacity: 65_536)
    private let conversationByID: SQLiteStatement
    private let lastEntries: SQLiteStatement
    private let openOfUser: SQLiteStatement
    private let anyOfUser: SQLiteStatement
    private let ascending: SQLiteStatement
    private let descending: SQLiteStatement
    private var lists: [String: SQLiteStatement] = [:]

    static let columns = "id, tenant, user_id, channel, status, handler_type, handler_token, created_at, updated_at, version"

    init(
        path: String, directoryStore: DirectoryStore, directory: TenantDirectory, links: [ReaderLink],
        bell: Doorbell, isStopping: StopFlag, log: @escaping @Sendable (String) -> Void
    ) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path, isReadOnly: true)
        try connection.run(MessageSchema.readerSettings)
        self.directoryStore = directoryStore
        self.directory = directory
        self.links = links
        self.bell = bell
        self.isStopping = isStopping
        self.log = log
        conversationByID = try connection.prepare("SELECT \(Self.columns) FROM conversations WHERE id=?")
        lastEntries = try connection.prepare(
            "SELECT seq, created_at, flags & 1 FROM entries WHERE conversation=? ORDER BY seq DESC LIMIT 100")
        openOfUser = try connection.prepare(
            "SELECT \(Self.columns) FROM conversations WHERE tenant=? AND user_id=? AND status<>3 ORDER BY id DESC LIMIT 64")
        anyOfUser = try connection.prepare("SELECT 1 FROM conversations WHERE tenant=? AND user_id=? LIMIT 1")
        ascending = try connection.prepare(
            "SELECT seq, body FROM entries WHERE conversation=? AND seq>? AND seq<? ORDER BY seq LIMIT ?")
        descending = try connection.prepare(
            "SELECT seq, body FROM entries WHERE conversation=? AND seq>? AND seq<? ORDER BY seq DESC LIMIT ?")
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
            if !links.contains(where: { !$0.jobs.isEmpty() }) && !isStopping.isSet { bell.block(milliseconds: -1) }
            bell.announceAwake()
        }
    }

    private func perform(_ job: ReadJob) -> StoreEvent {
        do {
            switch job {
            case .owner(.conversation(let id)): return .ownerRead(.conversation(id, try conversation(id)))
            case .owner(.user(let key)): return .ownerRead(.user(key, try openConversations(of: key)))
            case .history(let query): return .answer(try history(query))
            case .list(let query): return .answer(try list(query))
            case .replay(let query): return .replayed(try replay(query))
            case .apiKey(let id): return .apiKey(id: id, try directoryStore.apiKey(id: id))
            case .claim(let origin, let key): return .answer(try claim(origin, key))
            }
        } catch {
            log("the message store cannot be read: \(error)")
            return failure(of: job)
        }
    }

    private func failure(of job: ReadJob) -> StoreEvent {
        let problem = Problem(
            .temporarilyUnavailable, "The message store cannot be read now. Try again.", retryAfterSeconds: 2)
        switch job {
        case .owner(let read): return .ownerRead(.unavailable(read))
        case .history(let query): return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .list(let query): return .answer(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .replay(let query):
            return .replayed(
                ReplayPage(origin: query.origin, conversation: query.conversation, frames: nil, lastSeq: query.afterSeq))
        case .apiKey(let id): return .apiKey(id: id, nil)
        case .claim(let origin, _): return .answer(Answer(origin: origin, frameID: nil, result: .failure(problem)))
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
                    Problem(.forbidden, "This user_id is in use; send its last guest token to go on with it.")))
        }
        return answer(origin, key.userID)
    }

    // MARK: Rows

    private struct Activity {
        var lastSeq: UInt64 = 0
        var lastMilliseconds: UInt64 = 0
        var unread: UInt64 = 0
    }

    private func activity(of id: Identifier) throws(SQLiteError) -> Activity {
        let statement = lastEntries
        defer { statement.reset() }
        statement.bind(1, id)
        var found = Activity()
        var isFirst = true
        while try statement.step() {
            if isFirst {
                found.lastSeq = statement.unsigned(0)
                found.lastMilliseconds = statement.unsigned(1)
                isFirst = false
            }
            if statement.integer(2) == 1 { break }
            found.unread += 1
        }
        return found
    }

    /// A row whose tenant is no longer known is as good as absent.
    private func row(_ statement: SQLiteStatement) -> Conversation? {
        guard let tenant = directory.find(statement.bytes(1)), let channel = Channel(rawValue: UInt8(statement.integer(3))),
            let status = ConversationStatus(rawValue: UInt8(statement.integer(4))),
            let handler = HandlerType(rawValue: UInt8(statement.integer(5)))
        else { return nil }
        return Conversation(
            id: statement.identifier(0), tenant: tenant.index, userID: ByteBlock(copying: statement.bytes(2)),
            channel: channel, status: status, handler: Handler(type: handler, token: statement.unsigned(6)),
            lastSeq: 0, createdAtMilliseconds: statement.unsigned(7), updatedAtMilliseconds: statement.unsigned(8),
            version: statement.unsigned(9))
    }

    private func conversation(_ id: Identifier) throws(SQLiteError) -> Conversation? {
        let statement = conversationByID
        defer { statement.reset() }
        statement.bind(1, id)
        guard try statement.step(), var found = row(statement) else { return nil }
        found.lastSeq = try activity(of: id).lastSeq
        return found
    }

    private func openConversations(of key: UserKey) throws(SQLiteError) -> [Conversation] {
        let statement = openOfUser
        defer { statement.reset() }
        statement.bind(1, text: directory[key.tenant].name)
        statement.bind(2, text: key.userID)
        var found: [Conversation] = []
        while try statement.step() {
            guard var next = row(statement), !found.contains(where: { $0.channel == next.channel }) else { continue }
            next.lastSeq = try activity(of: next.id).lastSeq
            found.append(next)
        }
        return found
    }

    // MARK: History

    private func answer(_ origin: Origin, _ body: ByteBlock) -> Answer {
        Answer(origin: origin, frameID: nil, result: .success(status: 200, body: body, isReplay: false, follow: nil))
    }

    private func history(_ query: HistoryQuery) throws(SQLiteError) -> Answer {
        guard var found = try conversation(query.conversation), found.tenant == query.scope.tenant,
            query.scope.userID.map({ $0.equals(found.userID) }) ?? true
        else {
            return Answer(
                origin: query.origin, frameID: nil,
                result: .failure(Problem(.notFound, "There is no such conversation.")))
        }
        let activity = try activity(of: query.conversation)
        found.lastSeq = activity.lastSeq
        found.updatedAtMilliseconds = max(found.updatedAtMilliseconds, activity.lastMilliseconds)
        let page = try entries(query)
        writer.removeAll()
        writer.append("{\"conversation\":")
        found.write(into: writer, unread: activity.unread)
        writer.append(",\"data\":[")
        for (index, entry) in page.rows.enumerated() {
            if index > 0 { writer.append(0x2C) }
            writer.append(entry.body)
        }
        writer.append("],\"page\":{\"next_cursor\":")
        let isForward = query.direction == .forward
        appendCursor(seq: page.hasMore || !isForward ? page.rows.last?.seq : nil, query.order, .forward)
        writer.append(",\"prev_cursor\":")
        let first = page.rows.first?.seq
        let hasEarlier = isForward
            ? first.map { query.order == .ascending ? $0 > 1 : $0 < found.lastSeq } ?? false : page.hasMore
        appendCursor(seq: hasEarlier ? first : nil, query.order, .backward)
        writer.append(page.hasMore || !isForward ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        return answer(query.origin, writer.block())
    }

    private struct EntryRow {
        let seq: UInt64
        let body: ByteBlock
    }

    /// The rows of a page in the order in which they are shown, and whether more lie behind the last read.
    private func entries(_ query: HistoryQuery) throws(SQLiteError) -> (rows: [EntryRow], hasMore: Bool) {
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        let statement = readOrder == .ascending ? ascending : descending
        defer { statement.reset() }
        statement.bind(1, query.conversation)
        statement.bind(2, query.afterSeq ?? 0)
        statement.bind(3, min(query.beforeSeq ?? UInt64(Int64.max), UInt64(Int64.max)))
        statement.bind(4, UInt64(query.limit + 1))
        var rows: [EntryRow] = []
        while try statement.step() {
            rows.append(EntryRow(seq: statement.unsigned(0), body: ByteBlock(copying: statement.bytes(1))))
        }
        let hasMore = rows.count > query.limit
        if hasMore { rows.removeLast() }
        if query.direction == .backward { rows.reverse() }
        return (rows, hasMore)
    }

    private func appendCursor(seq: UInt64?, _ order: PageOrder, _ direction: PageDirection) {
        guard let seq else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(seq: seq, order, direction, into: writer)
        writer.append(0x22)
    }

    private func replay(_ query: ReplayQuery) throws(SQLiteError) -> ReplayPage {
        let statement = ascending
        defer { statement.reset() }
        statement.bind(1, query.conversation)
        statement.bind(2, query.afterSeq)
        statement.bind(3, query.throughSeq + 1)
        statement.bind(4, UInt64(Limits.replayBatch))
        var frames: [ByteBlock] = []
        var last = query.afterSeq
        var bytes = 0
        while bytes < Limits.replayPageBytes, try statement.step() {
            last = statement.unsigned(0)
            writer.removeAll()
            writer.append("{\"type\":\"message\",\"conversation_id\":\"")
            query.conversation.write(.conversation, into: writer)
            writer.append("\",\"message\":")
            writer.append(statement.bytes(1))
            writer.append(0x7D)
            bytes += writer.count
            frames.append(writer.block())
        }
        return ReplayPage(origin: query.origin, conversation: query.conversation, frames: frames, lastSeq: last)
    }

    // MARK: Lists

    private func list(_ query: ListQuery) throws(SQLiteError) -> Answer {
        let statement = try listStatement(query)
        defer { statement.reset() }
        bind(query, to: statement)
        var rows: [Conversation] = []
        while rows.count <= query.limit, try statement.step() {
            if let next = row(statement) { rows.append(next) }
        }
        let hasMore = rows.count > query.limit
        if hasMore { rows.removeLast() }
        if query.direction == .backward { rows.reverse() }
        writer.removeAll()
        writer.append("{\"data\":[")
        for (index, row) in rows.enumerated() {
            if index > 0 { writer.append(0x2C) }
            let activity = try activity(of: row.id)
            var shown = row
            shown.lastSeq = activity.lastSeq
            shown.updatedAtMilliseconds = max(row.updatedAtMilliseconds, activity.lastMilliseconds)
            shown.write(into: writer, unread: activity.unread)
        }
        let isForward = query.direction == .forward
        writer.append("],\"page\":{\"next_cursor\":")
        appendCursor(hasMore || !isForward ? rows.last?.id : nil, query.order, .forward)
        writer.append(",\"prev_cursor\":")
        let cameFromCursor = query.after != nil || query.before != nil
        appendCursor(isForward ? (cameFromCursor ? rows.first?.id : nil) : (hasMore ? rows.first?.id : nil),
            query.order, .backward)
        writer.append(hasMore || !isForward ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        return answer(query.origin, writer.block())
    }

    private func appendCursor(_ id: Identifier?, _ order: PageOrder, _ direction: PageDirection) {
        guard let id else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(id: id, order, direction, into: writer)
        writer.append(0x22)
    }

    private func listStatement(_ query: ListQuery) throws(SQLiteError) -> SQLiteStatement {
        var sql = "SELECT \(Self.columns) FROM conversations WHERE tenant=?1"
        if query.scope.userID != nil { sql += " AND user_id=?2" }
        if query.status != nil { sql += " AND status=?3" }
        if query.channel != nil { sql += " AND channel=?4" }
        if query.after != nil { sql += " AND id>?5" }
        if query.before != nil { sql += " AND id<?6" }
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        sql += readOrder == .ascending ? " ORDER BY id" : " ORDER BY id DESC"
        sql += " LIMIT ?7"
        if let known = lists[sql] { return known }
        let made = try connection.prepare(sql)
        lists[sql] = made
        return made
    }

    private func bind(_ query: ListQuery, to statement: SQLiteStatement) {
        statement.bind(1, text: query.scope.tenantName)
        if let userID = query.scope.userID { statement.bind(2, text: userID) }
        if let status = query.status { statement.bind(3, UInt64(status.rawValue)) }
        if let channel = query.channel { statement.bind(4, UInt64(channel.rawValue)) }
        if let after = query.after { statement.bind(5, after) }
        if let before = query.before { statement.bind(6, before) }
        statement.bind(7, UInt64(query.limit + 1))
    }
}

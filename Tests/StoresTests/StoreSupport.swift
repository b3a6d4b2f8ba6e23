// A real store on files in a directory of its own, driven from the test's thread as a core would.

import Bytes
import ChatModel
import Glibc
import Reactor
import Rings
import Synchronization
import Testing
import Wire

@testable import Stores

extension ByteBlock {
    var text: String { bytes.string() }
}

extension ByteSlice {
    var text: String { bytes.string() }
}

/// An entry that is not part of a unit yet, with its body.
@dynamicMemberLookup struct Draft {
    var stored: StoredEntry
    let body: ByteBlock

    subscript<Value>(dynamicMember path: WritableKeyPath<StoredEntry, Value>) -> Value {
        get { stored[keyPath: path] }
        set { stored[keyPath: path] = newValue }
    }
}

extension [Draft] {
    /// As they stand in a unit: the bodies in a row, the first at 0.
    var placed: (entries: [StoredEntry], bodies: ByteBlock) {
        let writer = ByteWriter()
        let entries = map { draft in
            var entry = draft.stored
            let start = writer.count
            writer.append(draft.body)
            entry.body = ByteRange(start, writer.count)
            entry.part = ByteRange(
                start + draft.stored.part.range.lowerBound,
                start + draft.stored.part.range.upperBound)
            return entry
        }
        return (entries, writer.block())
    }
}

/// A new directory, removed with everything in it when the object goes.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/chat-stores-XXXXXX".utf8CString)
        // Safety: mkdtemp changes the six letters in place.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            unsafe String(cString: mkdtemp(buffer.baseAddress!)!)
        }
    }

    func file(_ name: String) -> String { path + "/" + name }

    deinit {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            for name in ["messages.db", "directory.db", "other.db", "copy.db"] {
                unsafe unlink(path + "/" + name + suffix)
            }
        }
        unsafe rmdir(path)
    }
}

func writeFile(_ path: String, _ bytes: [UInt8]) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    // Safety: the array's bytes are read while it lives.
    let written = unsafe bytes.withUnsafeBytes {
        unsafe write(descriptor, $0.baseAddress, $0.count)
    }
    precondition(written == bytes.count, "the test's own file could not be written")
    close(descriptor)
}

func tenants(_ names: [String] = ["acme", "globex"]) -> TenantDirectory {
    TenantDirectory(
        names.enumerated().map { index, name in
            Tenant(
                index: TenantIndex(UInt16(index)), name: name, allowsGuests: true, ratePerMinute: 1,
                burst: 1, userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
        })
}

/// What the store logged.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}

/// A store that runs, with a client for each core.
final class Rig {
    let files: TemporaryDirectory
    let store = MessageStore()
    let lines = LogLines()
    private let bells: [Doorbell]
    private let clients: [StoreClient]
    private var events: [[StoreEvent]]
    private var isStopped = false
    static let waitMilliseconds: Int32 = 20_000

    init(
        _ files: TemporaryDirectory = TemporaryDirectory(), directory: TenantDirectory = tenants(),
        coreCount: Int = 1, readerCount: Int = 1, rules: FoldRules = FoldRules()
    ) throws(SQLiteError) {
        self.files = files
        bells = (0..<coreCount).map { _ in Doorbell.make() }
        events = bells.map { _ in [] }
        let lines = lines
        store.foldRules = rules
        clients = try store.start(
            path: files.file("messages.db"), directoryPath: files.file("directory.db"),
            directory: directory, coreBells: bells, readerCount: readerCount,
            log: { lines.add($0.text) }
        )
    }

    deinit { stop() }

    func stop() {
        guard !isStopped else { return }
        isStopped = true
        store.stop()
        for bell in bells { close(bell.descriptor) }
    }

    /// The next event of a core; nil, and a failure, when none comes in a generous time.
    func next(core: Int = 0) -> StoreEvent? {
        if events[core].isEmpty { drain(core) }
        var blockedInVain = 0
        while events[core].isEmpty {
            bells[core].announceSleep()
            if !clients[core].hasEvents() {
                bells[core].block(milliseconds: Self.waitMilliseconds)
                blockedInVain += clients[core].hasEvents() ? 0 : 1
            }
            bells[core].announceAwake()
            drain(core)
            // The bell may have been rung for events that were seen without it: then one block ends
            // at once. A second one lasts.
            if events[core].isEmpty, blockedInVain > 2 {
                Issue.record("the store said nothing")
                return nil
            }
        }
        return events[core].removeFirst()
    }

    private func drain(_ core: Int) {
        clients[core].drain(limit: 4096) { events[core].append($0) }
    }

    /// Hands all units over at once and waits for their outcomes, in order.
    func commit(_ units: [CommitUnit], core: Int = 0) -> [CommitOutcome] {
        send(units, core: core)
        return outcomes(of: units, core: core)
    }

    func send(_ units: [CommitUnit], core: Int) {
        for unit in units { clients[core].commit(unit) }
        clients[core].flush()
    }

    func sendWithoutFlush(_ unit: CommitUnit) { clients[0].commit(unit) }

    /// A core flushes once a turn; here each turn also takes what has come, so that no ring stays
    /// full.
    func flushUntilSent() {
        while clients[0].isCongested {
            clients[0].flush()
            drain(0)
        }
        clients[0].flush()
    }

    func outcomes(of units: [CommitUnit], core: Int) -> [CommitOutcome] {
        units.compactMap { unit in
            guard case .committed(let result)? = next(core: core) else { return nil }
            #expect(result.unit === unit, "outcomes come in the order of their units")
            return result.outcome
        }
    }

    func commit(_ unit: CommitUnit) -> CommitOutcome? { commit([unit]).first }

    func read(_ job: ReadJob, core: Int = 0) -> StoreEvent? {
        clients[core].read(job)
        clients[core].flush()
        return next(core: core)
    }

    func conversation(_ id: Identifier) -> Conversation? {
        guard case .ownerRead(.conversation(let found, let row))? = read(.owner(.conversation(id)))
        else {
            Issue.record("a conversation was asked for")
            return nil
        }
        #expect(found == id)
        return row?.row
    }

    func open(_ user: UserKey) -> [Conversation] {
        guard case .ownerRead(.user(let found, let rows))? = read(.owner(.user(user))) else {
            Issue.record("a user was asked for")
            return []
        }
        #expect(found == user)
        return rows.map(\.row)
    }

    func page(_ job: ReadJob) -> Page? {
        guard case .answer(let answer)? = read(job) else { return nil }
        switch answer.result {
        case .success(_, let body, _, _): return Page(ByteBlock(copying: body.bytes))
        case .failure(let problem): return Page(problem)
        }
    }

    /// Runs SQL on the messages' file from outside, as an operator or another process would.
    func runOutside(_ sql: String) throws(SQLiteError) {
        try SQLiteConnection(path: files.file("messages.db")).run(sql)
    }
}

/// A page as a client reads it.
struct Page {
    var seqs: [UInt64] = []
    var ids: [String] = []
    var next: String?
    var previous: String?
    var hasMore = false
    var text = ""
    var problem: Problem?

    init(_ problem: Problem) { self.problem = problem }

    init?(_ body: ByteBlock) {
        text = body.text
        let parser = JSONParser(documentBytesMax: 1 << 22, depthMax: 32)
        guard parser.parse(body.bytes), let data = parser.field(JSONParser.root, "data"),
            let page = parser.field(JSONParser.root, "page")
        else { return nil }
        var element = parser.first(in: data)
        while let current = element {
            if let seq = parser.field(current, "seq") { seqs.append(parser.unsigned(seq) ?? 0) }
            if let id = parser.field(current, "id") { ids.append(parser.string(id).string()) }
            element = parser.nextElement(after: current)
        }
        next = Self.string(parser, parser.field(page, "next_cursor"))
        previous = Self.string(parser, parser.field(page, "prev_cursor"))
        hasMore = parser.field(page, "has_more").map { parser.kind($0) == .yes } ?? false
    }

    private static func string(_ parser: JSONParser, _ node: JSONNode?) -> String? {
        guard let node, parser.kind(node) == .string else { return nil }
        return parser.string(node).string()
    }
}

let origin = Origin(core: 0, isSocket: false, token: Token(slot: 1, generation: 2), ordinal: 3)

/// Makes units of a conversation, as its owner would.
struct Log {
    var row: Conversation
    private static let ids = Mutex(IdentifierSource(seed: 5))

    static func id(_ milliseconds: UInt64 = 1_700_000_000_000) -> Identifier {
        ids.withLock { $0.next(milliseconds: milliseconds, shardKey: 77) }
    }

    init(
        user: String = "ann", tenant: UInt16 = 0, channel: Channel = .web,
        status: ConversationStatus = .open
    ) {
        row = Conversation(
            id: Log.id(), tenant: TenantIndex(tenant), userID: ByteBlock(user), channel: channel,
            status: status, createdAtMilliseconds: 1000, updatedAtMilliseconds: 1000)
    }

    var user: UserKey { UserKey(tenant: row.tenant, userID: row.userID) }

    func entry(
        _ seq: UInt64, key: UInt64? = nil, fingerprint: UInt64 = 0, answers: UInt64 = 0,
        isInbound: Bool = true, isInternal: Bool = false,
        kind: EntryKind = .message, text: String = "hi"
    ) -> Draft {
        let id = Log.id()
        let writer = ByteWriter(capacity: 512)
        let content = ByteWriter(capacity: 64)
        content.append("{\"type\":\"text\",\"text\":")
        content.append(json: text)
        content.append("}")
        let part = Entry(
            id: id, conversation: row.id, seq: seq, kind: kind, isInbound: isInbound,
            isInternal: isInternal, senderType: isInbound ? .user : .bot, senderID: row.userID,
            channel: row.channel,
            content: content.block(), createdAtMilliseconds: 2000 + seq
        ).write(into: writer)
        let stored = StoredEntry(
            id: id, seq: seq, kind: kind, isInbound: isInbound, isInternal: isInternal,
            createdAtMilliseconds: 2000 + seq,
            idempotency: key.map { Digest(high: .max, low: $0) }, fingerprint: fingerprint,
            answersSeq: answers, session: Identifier(high: 4, low: 5), body: .empty, part: part)
        return Draft(stored: stored, body: writer.block())
    }

    func unit(_ drafts: [Draft], _ change: RowChange = .none) -> CommitUnit {
        var row = row
        let (entries, bodies) = drafts.placed
        row.lastSeq = entries.last?.seq ?? 0
        return CommitUnit(
            conversation: row, rowChange: change, entries: entries, bodies: bodies,
            submittedNanoseconds: 0)
    }

    /// A first unit of `count` messages.
    func first(_ count: Int = 1) -> CommitUnit {
        unit((1...UInt64(count)).map { entry($0) }, .insert)
    }
}

extension CommitOutcome {
    var isCommitted: Bool { if case .committed = self { true } else { false } }
    var isUnavailable: Bool { if case .unavailable = self { true } else { false } }
    var conflictSeq: UInt64? { if case .conflict(let seq) = self { seq } else { nil } }
    var duplicate: (index: Int, answer: StoredAnswer)? {
        if case .duplicate(let index, let answer) = self { (index, answer) } else { nil }
    }
}

func scope(_ tenant: UInt16 = 0, _ name: String = "acme", user: String? = nil) -> Scope {
    Scope(
        tenant: TenantIndex(tenant), tenantName: ByteBlock(name), userID: user.map { ByteBlock($0) }
    )
}

func history(
    _ id: Identifier, _ scope: Scope = scope(), order: PageOrder = .ascending,
    direction: PageDirection = .forward, after: UInt64? = nil, before: UInt64? = nil,
    limit: Int = 50
) -> ReadJob {
    .history(
        HistoryQuery(
            origin: origin, scope: scope, conversation: id, order: order, direction: direction,
            afterSeq: after, beforeSeq: before, limit: limit))
}

// A store, an indexer and a finder on real files, driven from the test's thread.

import Bytes
import ChatModel
import Glibc
import Reactor
import Rings
import Synchronization
import Testing

@testable import Search
@testable import Stores

final class Folder {
    let path: String

    init() {
        var template = Array("/tmp/search-tests-XXXXXX".utf8CString)
        // Safety: the array is the template that mkdtemp fills in.
        let made = unsafe template.withUnsafeMutableBufferPointer {
            unsafe mkdtemp($0.baseAddress!) != nil
        }
        precondition(made, "no directory can be made in /tmp")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    deinit {
        for store in ["messages", "directory", "search"] {
            for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(file("\(store).db\(suffix)")) }
        }
        _ = unsafe rmdir(path)
    }
}

func write(_ path: String, _ bytes: [UInt8]) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0, "\(path) cannot be written")
    // Safety: the array's bytes are read while it lives.
    let written = unsafe bytes.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    precondition(written == bytes.count, "\(path) was not written whole")
    close(descriptor)
}

func bytes(of path: String) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        // Safety: the array's bytes are written while it lives.
        let count = unsafe chunk.withUnsafeMutableBytes {
            unsafe read(descriptor, $0.baseAddress, $0.count)
        }
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: chunk[..<count])
    }
}

/// A conversation that entries are added to.
final class Talk {
    private static let ids = Mutex(IdentifierSource(seed: 7))
    var row: Conversation
    var lastSeq: UInt64 = 0

    init(user: String = "ann", tenant: UInt16 = 0) {
        row = Conversation(
            id: Self.id(), tenant: TenantIndex(tenant), userID: ByteBlock(user), channel: .web,
            createdAtMilliseconds: 1000, updatedAtMilliseconds: 1000)
    }

    static func id() -> Identifier {
        ids.withLock { $0.next(milliseconds: 1_700_000_000_000, shardKey: 7) }
    }

    /// The next unit: one entry.
    func unit(
        _ text: String, kind: EntryKind = .message, isInternal: Bool = false, about: UInt64 = 0
    ) -> CommitUnit {
        lastSeq += 1
        let content = ByteWriter(capacity: 64)
        content.append("{\"type\":\"text\",\"text\":")
        content.append(json: text)
        content.append("}")
        let writer = ByteWriter(capacity: 512)
        let id = Self.id()
        let part = Entry(
            id: id, conversation: row.id, seq: lastSeq, kind: kind, isInbound: !isInternal,
            isInternal: isInternal, senderType: .user, senderID: row.userID, channel: .web,
            content: content.block(), createdAtMilliseconds: 2000
        ).write(into: writer)
        let entry = StoredEntry(
            id: id, seq: lastSeq, kind: kind, isInbound: !isInternal, isInternal: isInternal,
            createdAtMilliseconds: 2000, idempotency: nil, fingerprint: 0, answersSeq: about,
            session: .none, body: ByteRange(0, writer.count), part: part)
        return CommitUnit(
            conversation: row, rowChange: lastSeq == 1 ? .insert : .none, entries: [entry],
            bodies: writer.block(), submittedNanoseconds: 0)
    }
}

final class SearchDesk {
    let folder: Folder
    let notices: Mutex<[String]> = Mutex([])
    let tail = LogTail()
    let writer: MessageWriter
    let state: SearchState
    let indexer: SearchIndexer
    let finder: SearchFinder
    private let bell = Doorbell.make()
    private let directory = TenantDirectory(
        ["acme", "globex"].enumerated().map { index, name in
            Tenant(
                index: TenantIndex(UInt16(index)), name: name, allowsGuests: true, ratePerMinute: 1,
                burst: 1, userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
        })

    deinit {
        close(bell.descriptor)
        close(state.bell.descriptor)
    }

    /// `isFolding`: the places of entries are in the table rather than in the tail.
    init(_ folder: Folder = Folder(), isFolding: Bool = false) throws(SQLiteError) {
        self.folder = folder
        var rules = FoldRules()
        rules.readyEntries = isFolding ? 1 : .max
        let path = folder.file("messages.db")
        writer = try MessageWriter(
            connection: try MessageSchema.open(path: path), tail: tail, rules: rules,
            directory: directory, links: [], bell: bell, metrics: StoreMetrics(),
            isStopping: StopFlag(), log: { _ in })
        try writer.recover()
        state = SearchState(path: folder.file("search.db"))
        indexer = SearchIndexer(state, try LogFollower(path: path, tail: tail), tell: { _ in })
        finder = SearchFinder(state, try LogFollower(path: path, tail: tail))
        _ = indexer.open()
    }

    /// Each unit in a commit of its own, or all in one.
    func commit(_ units: [CommitUnit], together: Bool = false) {
        for batch in together ? [units] : units.map({ [$0] }) {
            writer.batch = batch.map { (core: 0, unit: $0) }
            writer.commit()
            for outcome in writer.outcomes {
                guard case .committed = outcome else {
                    Issue.record("the store refused a unit: \(outcome)")
                    continue
                }
            }
            writer.batch = []
        }
    }

    /// Indexes all that is there.
    func index() throws(SQLiteError) {
        while try indexer.step() != .nothing {}
    }

    func scope(_ tenant: Int = 0, user: String? = nil, isAgent: Bool = true) -> Scope {
        Scope(
            tenant: TenantIndex(UInt16(tenant)),
            tenantName: directory.tenants[tenant].name, userID: user.map { ByteBlock($0) },
            showsInternal: isAgent)
    }

    func page(
        _ text: String, _ scope: Scope, at position: SearchPosition? = nil,
        _ direction: PageDirection = .forward, limit: Int = 50,
        admits: (Identifier) -> Bool = { _ in true }
    ) -> FoundPage? {
        let typed = ByteBlock(text)
        guard let words = try? SearchWords(typed.bytes) else { return nil }
        return finder.find(
            SearchQuery(
                scope: scope, expression: words.expression, position: position,
                direction: direction, limit: limit), admits: admits)
    }

    /// The seqs of the matches on the first page, with their conversations.
    func found(_ text: String, _ scope: Scope? = nil) -> [Place] {
        (page(text, scope ?? self.scope())?.found ?? []).map {
            Place(conversation: $0.conversation, seq: $0.seq)
        }
    }

    func isUnderstood(_ expression: String) -> Bool {
        let writer = ByteWriter(capacity: 256)
        let owner = OwnerTokens(tenant: ByteBlock("acme").bytes, userID: nil)
        owner.write(
            finding: ByteBlock(expression.isEmpty ? "\"\"" : expression), in: scope(),
            into: writer)
        guard let reading = try? SearchReading(path: state.path, generation: 1) else {
            return false
        }
        return (try? reading.hasMatch(writer.block(), behind: 0, through: 1)) != nil
    }

    func count(_ table: String) -> Int {
        guard let connection = try? SQLiteConnection(path: state.path, isReadOnly: true),
            let select = try? connection.prepare("SELECT count(*) FROM \(table)"),
            (try? select.step()) == true
        else { return -1 }
        return Int(select.integer(0))
    }
}

struct Place: Equatable, CustomStringConvertible {
    let conversation: Identifier
    let seq: UInt64
    var description: String { "\(conversation.low & 0xFFFF_FFFF):\(seq)" }
}

extension ByteBlock {
    var text: String { bytes.string() }
}

// Owner: one reader. A conversation's log as one sequence, though the end of its index is in the
// shared tail and what comes before that in the table `entries`.
//
// The caller takes the tail's entries first and has no statement open that reads; each look at the
// tables is a read transaction that begins after that. Let the copy begin with seq k. All entries
// before k were folded and committed before the copy was taken, so `entries` shows them, whatever
// is folded meanwhile; and none of the copy's are asked of it, so none comes twice. When the copy
// is empty, all that was acknowledged before it is in `entries`. So nothing is lost, and a page has
// no hole. The bytes of all of them are in `log`.

import Bytes
import ChatModel

struct LogRow {
    let seq: UInt64
    let kind: EntryKind
    /// The seq of the message that it is about, or answers; 0 for none.
    let answersSeq: UInt64
    let body: ByteSlice
}

/// Which entries are wanted; the bounds are exclusive. Who may not see internal entries is shown a
/// log without them: there, a seq may be missing between two others.
struct LogBounds {
    let after: UInt64
    let before: UInt64
    let showsInternal: Bool

    func contains(_ entry: IndexedEntry) -> Bool {
        after < entry.seq && entry.seq < before && (showsInternal || !entry.isInternal)
    }

    /// Flags that an entry must not have.
    var hiddenFlags: UInt64 { showsInternal ? 0 : UInt64(StoredEntry.internalFlag) }
}

/// What lists show of a log.
struct LogActivity {
    var lastSeq: UInt64 = 0
    var lastMilliseconds: UInt64 = 0
    /// Public outbound messages behind the user's own last entry and what it has read, counted
    /// among the last `unreadMax` entries.
    var unread: UInt64 = 0
}

final class LogReader {
    static let unreadMax = 100

    private let connection: SQLiteConnection
    private let tail: LogTail
    let scratch = ByteWriter(capacity: 4096)
    let lookups: ChangeStatements
    /// Of the page that is being read.
    private var progress = LogProgress.none
    private let begin: SQLiteStatement
    private let end: SQLiteStatement
    let logged: SQLiteStatement
    private let lastEntries: SQLiteStatement
    private let lastPublic: SQLiteStatement
    let ascending: SQLiteStatement
    private let descending: SQLiteStatement

    init(_ connection: SQLiteConnection, _ tail: LogTail) throws(SQLiteError) {
        self.connection = connection
        self.tail = tail
        lookups = try ChangeStatements(connection)
        begin = try connection.prepare("BEGIN")
        end = try connection.prepare("COMMIT")
        logged = try connection.prepare(LoggedEntry.query)
        lastEntries = try connection.prepare(
            """
            SELECT seq, created_at, flags & 1, kind = 0 AND flags & 8 = 0 FROM entries
            WHERE conversation=? AND seq<? ORDER BY seq DESC LIMIT ?
            """)
        lastPublic = try connection.prepare(
            """
            SELECT seq FROM entries WHERE conversation=? AND seq<? AND flags & 8 = 0
            ORDER BY seq DESC LIMIT 1
            """)
        ascending = try connection.prepare(
            """
            SELECT \(LoggedEntry.column) FROM entries AS place
            WHERE conversation=? AND seq>? AND seq<? AND flags & ? = 0 ORDER BY seq LIMIT ?
            """)
        descending = try connection.prepare(
            """
            SELECT \(LoggedEntry.column) FROM entries AS place
            WHERE conversation=? AND seq>? AND seq<? AND flags & ? = 0 ORDER BY seq DESC LIMIT ?
            """)
    }

    func tail(of conversation: Identifier) -> [IndexedEntry] {
        // A table that is older than the copy may lack what was folded between the two.
        precondition(!connection.isReading, "the tail is copied before the table is read")
        return tail.entries(of: conversation)
    }

    // MARK: Activity

    func activity(
        of tail: [IndexedEntry], in conversation: Identifier, readSeq: UInt64 = 0
    ) throws(SQLiteError) -> LogActivity {
        var found = LogActivity()
        if let last = tail.last {
            found.lastSeq = last.seq
            found.lastMilliseconds = last.createdAtMilliseconds
        }
        for entry in tail.suffix(Self.unreadMax).reversed() {
            if entry.isInbound || entry.seq <= readSeq { return found }
            if entry.kind == EntryKind.message.rawValue, !entry.isInternal { found.unread += 1 }
        }
        let rest = Self.unreadMax - tail.count
        guard rest > 0 else { return found }
        let statement = lastEntries
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, Self.tableEnd(tail))
        statement.bind(3, UInt64(rest))
        while try statement.step() {
            if found.lastSeq == 0 {
                found.lastSeq = statement.unsigned(0)
                found.lastMilliseconds = statement.unsigned(1)
            }
            if statement.integer(2) == 1 || statement.unsigned(0) <= readSeq { break }
            if statement.integer(3) == 1 { found.unread += 1 }
        }
        return found
    }

    /// The last entry that the end user may see; 0 for none.
    func lastPublicSeq(
        of tail: [IndexedEntry], in conversation: Identifier
    ) throws(SQLiteError) -> UInt64 {
        if let last = tail.last(where: { !$0.isInternal }) { return last.seq }
        let statement = lastPublic
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, Self.tableEnd(tail))
        return try statement.step() ? statement.unsigned(0) : 0
    }

    // MARK: Rows

    /// At most `limit` rows within the bounds, the nearest to the end where `order` begins, each as
    /// it is now.
    func rows(
        of conversation: Identifier, _ tail: [IndexedEntry], _ bounds: LogBounds,
        _ order: PageOrder, limit: Int, _ progress: LogProgress = .none
    ) throws(SQLiteError) -> [LogRow] {
        self.progress = progress
        // One transaction for the whole page: each has its price.
        try begin.run()
        defer { try? end.run() }
        var rows: [LogRow] = []
        if order == .ascending {
            try readTable(conversation, tail, bounds, order, limit: limit, into: &rows)
            try read(tail, bounds, limit: limit, into: &rows)
        } else {
            try read(tail.reversed(), bounds, limit: limit, into: &rows)
            try readTable(conversation, tail, bounds, order, limit: limit, into: &rows)
        }
        return try current(rows, of: conversation, tail)
    }

    private func read(
        _ entries: some Sequence<IndexedEntry>, _ bounds: LogBounds, limit: Int,
        into rows: inout [LogRow]
    ) throws(SQLiteError) {
        for entry in entries {
            if rows.count >= limit { return }
            guard bounds.contains(entry) else { continue }
            defer { logged.reset() }
            logged.bind(entry.place)
            _ = try logged.step()
            rows.append(try row(logged))
        }
    }

    private func row(_ statement: SQLiteStatement) throws(SQLiteError) -> LogRow {
        let found = try statement.loggedEntry(scratch, progress)
        return LogRow(
            seq: found.entry.seq, kind: found.entry.kind, answersSeq: found.entry.answersSeq,
            body: found.body)
    }

    private func readTable(
        _ conversation: Identifier, _ tail: [IndexedEntry], _ bounds: LogBounds, _ order: PageOrder,
        limit: Int, into rows: inout [LogRow]
    ) throws(SQLiteError) {
        let before = min(bounds.before, Self.tableEnd(tail))
        // Most pages that are asked for are the newest: the tail knows all of them.
        guard rows.count < limit, bounds.after < before, before - bounds.after > 1 else { return }
        let statement = order == .ascending ? ascending : descending
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, bounds.after)
        statement.bind(3, before)
        statement.bind(4, bounds.hiddenFlags)
        statement.bind(5, UInt64(limit - rows.count))
        while try statement.step() {
            rows.append(try row(statement))
        }
    }

    /// The seq before which the table is asked; SQLite's integers have a sign.
    static func tableEnd(_ tail: [IndexedEntry]) -> UInt64 {
        tail.first?.seq ?? UInt64(Int64.max)
    }
}

// Owner: one reader. A conversation's log as one sequence, though its end is in the shared tail and
// what comes before that in the table.
//
// The caller takes the tail's entries first and has no statement open that reads the table; each
// look at the table is a read transaction that begins after that. Let the copy begin with seq k.
// All entries before k were folded and committed before the copy was taken, so the table shows
// them, whatever is folded meanwhile; and none of the copy's are asked of the table, so none comes
// twice. When the copy is empty, all that was acknowledged before it is in the table. So nothing is
// lost, and a page has no hole.

import Bytes
import ChatModel

struct LogRow {
    let seq: UInt64
    let body: ByteBlock
}

/// Both exclusive.
struct LogBounds {
    let after: UInt64
    let before: UInt64

    func contains(_ seq: UInt64) -> Bool { after < seq && seq < before }
}

/// What lists show of a log.
struct LogActivity {
    var lastSeq: UInt64 = 0
    var lastMilliseconds: UInt64 = 0
    /// Outbound entries after the user's own last one, counted among the last `unreadMax` entries.
    var unread: UInt64 = 0
}

final class LogReader {
    static let unreadMax = 100

    private let connection: SQLiteConnection
    private let tail: LogTail
    private let lastEntries: SQLiteStatement
    private let ascending: SQLiteStatement
    private let descending: SQLiteStatement

    init(_ connection: SQLiteConnection, _ tail: LogTail) throws(SQLiteError) {
        self.connection = connection
        self.tail = tail
        lastEntries = try connection.prepare(
            """
            SELECT seq, created_at, flags & 1 FROM entries WHERE conversation=? AND seq<?
            ORDER BY seq DESC LIMIT ?
            """)
        ascending = try connection.prepare(
            """
            SELECT seq, body FROM entries WHERE conversation=? AND seq>? AND seq<?
            ORDER BY seq LIMIT ?
            """)
        descending = try connection.prepare(
            """
            SELECT seq, body FROM entries WHERE conversation=? AND seq>? AND seq<?
            ORDER BY seq DESC LIMIT ?
            """)
    }

    func tail(of conversation: Identifier) -> [StoredEntry] {
        // A table that is older than the copy may lack what was folded between the two.
        precondition(!connection.isReading, "the tail is copied before the table is read")
        return tail.units(of: conversation).flatMap(\.entries)
    }

    // MARK: Activity

    func activity(
        of tail: [StoredEntry], in conversation: Identifier
    ) throws(SQLiteError) -> LogActivity {
        var found = LogActivity()
        if let last = tail.last {
            found.lastSeq = last.seq
            found.lastMilliseconds = last.createdAtMilliseconds
        }
        for entry in tail.suffix(Self.unreadMax).reversed() {
            if entry.isInbound { return found }
            found.unread += 1
        }
        let rest = Self.unreadMax - Int(found.unread)
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
            if statement.integer(2) == 1 { break }
            found.unread += 1
        }
        return found
    }

    // MARK: Rows

    /// At most `limit` rows within the bounds, the nearest to the end where `order` begins.
    func rows(
        of conversation: Identifier, _ tail: [StoredEntry], _ bounds: LogBounds, _ order: PageOrder,
        limit: Int
    ) throws(SQLiteError) -> [LogRow] {
        var rows: [LogRow] = []
        if order == .ascending {
            try readTable(conversation, tail, bounds, order, limit: limit, into: &rows)
            Self.read(tail, bounds, limit: limit, into: &rows)
        } else {
            Self.read(tail.reversed(), bounds, limit: limit, into: &rows)
            try readTable(conversation, tail, bounds, order, limit: limit, into: &rows)
        }
        return rows
    }

    private static func read(
        _ entries: some Sequence<StoredEntry>, _ bounds: LogBounds, limit: Int,
        into rows: inout [LogRow]
    ) {
        for entry in entries {
            if rows.count >= limit { return }
            guard bounds.contains(entry.seq) else { continue }
            rows.append(LogRow(seq: entry.seq, body: entry.body))
        }
    }

    private func readTable(
        _ conversation: Identifier, _ tail: [StoredEntry], _ bounds: LogBounds, _ order: PageOrder,
        limit: Int, into rows: inout [LogRow]
    ) throws(SQLiteError) {
        let before = min(bounds.before, Self.tableEnd(tail))
        // Most pages that are asked for are the newest: the tail has them, and no page is read.
        guard rows.count < limit, bounds.after < before, before - bounds.after > 1 else { return }
        let statement = order == .ascending ? ascending : descending
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, bounds.after)
        statement.bind(3, before)
        statement.bind(4, UInt64(limit - rows.count))
        while try statement.step() {
            let body = ByteBlock(copying: statement.bytes(1))
            rows.append(LogRow(seq: statement.unsigned(0), body: body))
        }
    }

    /// The seq before which the table is asked; SQLite's integers have a sign.
    private static func tableEnd(_ tail: [StoredEntry]) -> UInt64 {
        tail.first?.seq ?? UInt64(Int64.max)
    }
}

// Owner: one thread that follows the log behind the writer: it reads rows in their order, long
// after they were committed if it likes, and finds single entries again.
//
// An entry has a place, one number: its row in the upper bits, its offset in that row in the lower
// 24. Places grow in the order of arrival and never change, since rows are only appended. A row
// ends with the unit that brings it to FoldRules.rowBytes, so an offset is far below 2^24.

import Bytes
import ChatModel

/// An entry as it stands in the log.
public struct FollowedEntry {
    public let place: Int64
    public let conversation: Identifier
    public let seq: UInt64
    public let id: Identifier
    public let kind: EntryKind
    public let isInternal: Bool
    /// The seq of the entry that this one is about; 0 for none.
    public let answersSeq: UInt64
    /// Its Message object.
    public let body: ByteBlock

    init(_ logged: LoggedEntry, row: Int64, offset: Int) {
        place = LogFollower.place(row: row, offset: UInt32(offset))
        conversation = logged.conversation
        seq = logged.entry.seq
        id = logged.entry.id
        kind = logged.entry.kind
        isInternal = logged.entry.isInternal
        answersSeq = logged.entry.answersSeq
        body = logged.bodies
    }
}

/// A row of the log, copied; its entries are read later.
public struct FollowedRow: Sendable {
    public let number: Int64
    let bytes: ByteBlock
    public var byteCount: Int { bytes.count }
    /// Its first bytes, its first entry's ids among them: two logs that have the same head in the
    /// same row are the same up to there.
    public var head: ByteBlock { LogFollower.head(of: bytes.bytes) }
}

public final class LogFollower {
    static let offsetBits: Int64 = 24

    private let connection: SQLiteConnection
    private let tail: LogTail
    private let scratch = ByteWriter(capacity: 4096)
    private let lastRow: SQLiteStatement
    private let rowsBehind: SQLiteStatement
    private let restOfRow: SQLiteStatement
    private let placeOfSeq: SQLiteStatement
    private let owner: SQLiteStatement

    init(path: String, tail: LogTail) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path, isReadOnly: true)
        try connection.run(MessageSchema.readerSettings)
        self.tail = tail
        lastRow = try connection.prepare("SELECT max(number) FROM log")
        rowsBehind = try connection.prepare(
            "SELECT number, entries FROM log WHERE number>? ORDER BY number LIMIT ?")
        restOfRow = try connection.prepare(
            "SELECT substr(entries, ?2 + 1) FROM log WHERE number=?1")
        placeOfSeq = try connection.prepare(
            "SELECT row, offset FROM entries WHERE conversation=? AND seq=?")
        owner = try connection.prepare("SELECT tenant, user_id FROM conversations WHERE id=?")
    }

    static func place(row: Int64, offset: UInt32) -> Int64 {
        precondition(offset < 1 << offsetBits, "a row of the log has entries behind 16 MiB")
        return row << offsetBits | Int64(offset)
    }

    /// The first place of a row.
    public static func firstPlace(inRow row: Int64) -> Int64 { row << offsetBits }

    /// The number of the last row; 0 when there is none.
    public func newestRow() throws(SQLiteError) -> Int64 {
        let statement = lastRow
        defer { statement.reset() }
        return try statement.step() ? statement.integer(0) : 0
    }

    /// Rows behind `number`, in order: at most `limit`, and none behind the one that brings them to
    /// `bytesMax`.
    public func rows(
        after number: Int64, limit: Int, bytesMax: Int
    ) throws(SQLiteError) -> [FollowedRow] {
        let statement = rowsBehind
        defer { statement.reset() }
        statement.bind(1, number)
        statement.bind(2, Int64(limit))
        var rows: [FollowedRow] = []
        var bytes = 0
        var expected = number
        while bytes < bytesMax, try statement.step() {
            expected += 1
            guard statement.integer(0) == expected else { throw Self.damaged(row: expected) }
            rows.append(
                FollowedRow(number: expected, bytes: ByteBlock(copying: statement.bytes(1))))
            bytes += rows[rows.count - 1].byteCount
        }
        return rows
    }

    /// The entries of a row. Touches no file.
    public func entries(of row: FollowedRow) throws(SQLiteError) -> [FollowedEntry] {
        guard let found = LogCoding.read(row.bytes.bytes, scratch) else {
            throw Self.damaged(row: row.number)
        }
        return found.map { FollowedEntry($0, row: row.number, offset: $0.offset) }
    }

    static func head(of row: RawSpan) -> ByteBlock {
        let count = min(row.byteCount, LogCoding.headBytes + LogCoding.entryBytes)
        return ByteBlock(copying: row.extracting(0..<count))
    }

    /// FollowedRow.head of a row; nil when there is no such row.
    public func head(ofRow number: Int64) throws(SQLiteError) -> ByteBlock? {
        let statement = restOfRow
        defer { statement.reset() }
        statement.bind(1, number)
        statement.bind(2, Int64(0))
        guard try statement.step() else { return nil }
        return Self.head(of: statement.bytes(0))
    }

    /// The entry at a place that a row named.
    public func entry(at place: Int64) throws(SQLiteError) -> FollowedEntry? {
        let statement = restOfRow
        defer { statement.reset() }
        let row = place >> Self.offsetBits
        let offset = Int(place & (1 << Self.offsetBits - 1))
        statement.bind(1, row)
        statement.bind(2, Int64(offset))
        guard try statement.step() else { return nil }
        guard let logged = LogCoding.entry(statement.bytes(0), scratch) else {
            throw Self.damaged(row: row)
        }
        return FollowedEntry(logged, row: row, offset: offset)
    }

    /// Where an entry of a conversation stands; nil when it has no such seq.
    public func place(
        of seq: UInt64, in conversation: Identifier
    ) throws(SQLiteError) -> Int64? {
        // The tail first, the table after it: see LogReader.
        precondition(!connection.isReading, "the tail is copied before the table is read")
        if let entry = tail.entries(of: conversation).first(where: { $0.seq == seq }) {
            return Self.place(row: entry.place.row, offset: entry.place.offset)
        }
        let statement = placeOfSeq
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        guard try statement.step() else { return nil }
        return Self.place(
            row: statement.integer(0), offset: UInt32(truncatingIfNeeded: statement.integer(1)))
    }

    /// The tenant's name and the user id of a conversation; nil when there is none.
    public func owner(
        of conversation: Identifier
    ) throws(SQLiteError) -> (tenant: ByteBlock, userID: ByteBlock)? {
        let statement = owner
        defer { statement.reset() }
        statement.bind(1, conversation)
        guard try statement.step() else { return nil }
        return (
            ByteBlock(copying: statement.bytes(0)), ByteBlock(copying: statement.bytes(1))
        )
    }

    private static func damaged(row: Int64) -> SQLiteError {
        SQLiteError(
            code: SQLiteError.corruption,
            message: "the message store's log is damaged: row \(row) cannot be read")
    }
}

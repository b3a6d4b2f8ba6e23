// The writer's prepared statements, and what each binds.

import Bytes
import ChatModel

/// A row of `entries`.
struct IndexRow: BitwiseCopyable {
    let conversation: Identifier
    let entry: IndexedEntry
}

/// A row of `keys`.
struct KeyRow: BitwiseCopyable {
    let key: Digest
    let place: KeyPlace
}

final class WriterStatements {
    let begin: SQLiteStatement
    let commit: SQLiteStatement
    let rollback: SQLiteStatement
    let findKey: SQLiteStatement
    let findReply: SQLiteStatement
    let findLogged: SQLiteStatement
    private let insertEntry: SQLiteStatement
    private let insertEntries: SQLiteStatement
    private let insertKey: SQLiteStatement
    private let insertConversation: SQLiteStatement
    private let updateConversation: SQLiteStatement
    private let insertRow: SQLiteStatement
    private let removeRow: SQLiteStatement
    private let findHead: SQLiteStatement
    private let findPlace: SQLiteStatement
    private let setProgress: SQLiteStatement
    private let advanceCursor: SQLiteStatement
    private let forgetCursor: SQLiteStatement

    static let entriesPerStatement = 16
    private static let columns: Int32 = 9

    /// OR ROLLBACK: whatever is refused, the writer takes the whole transaction back. Without that
    /// SQLite copies each page that a statement of many rows changes, to undo that statement alone.
    private static func insertion(of rows: Int) -> String {
        let row = "(?,?,?,?,?,?,?,?,?)"
        return "INSERT OR ROLLBACK INTO entries VALUES"
            + repeatElement(row, count: rows).joined(separator: ",")
    }

    init(_ connection: SQLiteConnection) throws(SQLiteError) {
        begin = try connection.prepare("BEGIN IMMEDIATE")
        commit = try connection.prepare("COMMIT")
        rollback = try connection.prepare("ROLLBACK")
        findKey = try connection.prepare(
            """
            SELECT \(LoggedEntry.column) FROM keys CROSS JOIN entries AS place
            ON place.conversation = keys.conversation AND place.seq = keys.seq WHERE keys.key=?
            """)
        findReply = try connection.prepare(
            """
            SELECT \(LoggedEntry.column) FROM (SELECT * FROM entries
            WHERE conversation=? AND seq>?2 ORDER BY seq LIMIT 256) AS place
            WHERE answers=?2 AND kind=0 LIMIT 1
            """)
        findLogged = try connection.prepare(LoggedEntry.query)
        insertEntry = try connection.prepare(Self.insertion(of: 1))
        insertEntries = try connection.prepare(Self.insertion(of: Self.entriesPerStatement))
        insertKey = try connection.prepare("INSERT OR ROLLBACK INTO keys VALUES(?,?,?)")
        insertConversation = try connection.prepare(
            """
            INSERT INTO conversations(id, tenant, user_id, channel, status, handler_type,
            handler_token, created_at, updated_at, version) VALUES(?,?,?,?,?,?,?,?,?,?)
            """)
        updateConversation = try connection.prepare(
            """
            UPDATE conversations SET status=?2, handler_type=?3, handler_token=?4, updated_at=?5,
            version=?6, assignee=?7, handler_id=?8, labels=?9, priority=?10, attributes=?11
            WHERE id=?1
            """)
        insertRow = try connection.prepare("INSERT INTO log VALUES(?,?)")
        removeRow = try connection.prepare("DELETE FROM log WHERE number=?")
        findHead = try connection.prepare("SELECT max(seq) FROM entries WHERE conversation=?")
        findPlace = try connection.prepare(
            "SELECT row, offset, bytes FROM entries WHERE conversation=? AND seq=?")
        setProgress = try connection.prepare("UPDATE progress SET folded_through=?")
        advanceCursor = try connection.prepare(
            """
            INSERT INTO cursors VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET
            read_seq=max(read_seq, excluded.read_seq),
            delivered_seq=max(delivered_seq, excluded.delivered_seq)
            """)
        forgetCursor = try connection.prepare(
            "DELETE FROM cursors WHERE conversation=? AND user_id=?")
    }

    /// Into `entries`, in this order. A statement opens the table whenever it runs: many rows share
    /// that.
    func insert(_ rows: [IndexRow]) throws(SQLiteError) {
        var next = 0
        while rows.count - next >= Self.entriesPerStatement {
            try insert(rows[next..<next + Self.entriesPerStatement], insertEntries)
            next += Self.entriesPerStatement
        }
        while next < rows.count {
            try insert(rows[next...next], insertEntry)
            next += 1
        }
    }

    private func insert(
        _ rows: ArraySlice<IndexRow>, _ statement: SQLiteStatement
    ) throws(SQLiteError) {
        defer { statement.reset() }
        var parameter: Int32 = 0
        for row in rows {
            let entry = row.entry
            statement.bind(parameter + 1, row.conversation)
            statement.bind(parameter + 2, entry.seq)
            statement.bind(parameter + 3, UInt64(entry.kind))
            statement.bind(parameter + 4, UInt64(entry.flags))
            statement.bind(parameter + 5, entry.createdAtMilliseconds)
            statement.bind(parameter + 6, entry.answersSeq)
            statement.bind(parameter + 7, entry.place.row)
            statement.bind(parameter + 8, UInt64(entry.place.offset))
            statement.bind(parameter + 9, UInt64(entry.place.bytes))
            parameter += Self.columns
        }
        _ = try statement.step()
    }

    func insert(_ row: KeyRow) throws(SQLiteError) {
        let statement = insertKey
        defer { statement.reset() }
        statement.bind(1, high: row.key.high, low: row.key.low)
        statement.bind(2, row.place.conversation)
        statement.bind(3, row.place.seq)
        _ = try statement.step()
    }

    func insert(_ row: Conversation, tenant: ByteBlock) throws(SQLiteError) {
        let statement = insertConversation
        defer { statement.reset() }
        statement.bind(1, row.id)
        statement.bind(2, text: tenant)
        statement.bind(3, text: row.userID)
        statement.bind(4, UInt64(row.channel.rawValue))
        statement.bind(5, UInt64(row.status.rawValue))
        statement.bind(6, UInt64(row.handler.type.rawValue))
        statement.bind(7, row.handler.token)
        statement.bind(8, row.createdAtMilliseconds)
        statement.bind(9, row.updatedAtMilliseconds)
        statement.bind(10, row.version)
        _ = try statement.step()
        // Agents know a conversation once it is stored, so a new one has no details as a rule.
        if row.hasDetails { try update(row) }
    }

    func update(_ row: Conversation) throws(SQLiteError) {
        let statement = updateConversation
        defer { statement.reset() }
        statement.bind(1, row.id)
        statement.bind(2, UInt64(row.status.rawValue))
        statement.bind(3, UInt64(row.handler.type.rawValue))
        statement.bind(4, row.handler.token)
        statement.bind(5, row.updatedAtMilliseconds)
        statement.bind(6, row.version)
        let details = row.details
        statement.bind(7, optional: details.assignee)
        statement.bind(8, optional: details.handlerID)
        statement.bind(9, optional: details.labels)
        statement.bind(10, UInt64(details.priority.rawValue))
        statement.bind(11, optional: details.attributes)
        _ = try statement.step()
    }

    /// Appends a row to `log`.
    func insertRow(_ number: Int64, _ entries: ByteWriter) throws(SQLiteError) {
        let statement = insertRow
        defer { statement.reset() }
        statement.bind(1, number)
        statement.bind(2, blob: entries)
        _ = try statement.step()
    }

    func removeRow(_ number: Int64) throws(SQLiteError) {
        let statement = removeRow
        defer { statement.reset() }
        statement.bind(1, number)
        _ = try statement.step()
    }

    /// All rows of `log` up to this one are in `entries`.
    func setProgress(_ number: Int64) throws(SQLiteError) {
        let statement = setProgress
        defer { statement.reset() }
        statement.bind(1, number)
        _ = try statement.step()
    }

    func change(_ change: CursorChange, of conversation: Identifier) throws(SQLiteError) {
        switch change {
        case .advance(let cursor):
            let statement = advanceCursor
            defer { statement.reset() }
            statement.bind(1, conversation)
            statement.bind(2, text: cursor.userID)
            statement.bind(3, cursor.readSeq)
            statement.bind(4, cursor.deliveredSeq)
            _ = try statement.step()
        case .forget(let userID):
            let statement = forgetCursor
            defer { statement.reset() }
            statement.bind(1, conversation)
            statement.bind(2, text: userID)
            _ = try statement.step()
        }
    }

    /// The head of a conversation's part in `entries`; 0 when it has none.
    func head(of conversation: Identifier) throws(SQLiteError) -> UInt64 {
        let statement = findHead
        defer { statement.reset() }
        statement.bind(1, conversation)
        return try statement.step() ? statement.unsigned(0) : 0
    }

    /// Where `entries` says that an entry stands.
    func place(of seq: UInt64, in conversation: Identifier) throws(SQLiteError) -> LogPlace? {
        let statement = findPlace
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        guard try statement.step() else { return nil }
        return LogPlace(
            row: statement.integer(0), offset: UInt32(truncatingIfNeeded: statement.integer(1)),
            bytes: UInt32(truncatingIfNeeded: statement.integer(2)))
    }
}

extension SQLiteStatement {
    /// Runs a statement without parameters and rows.
    func run() throws(SQLiteError) {
        defer { reset() }
        _ = try step()
    }
}

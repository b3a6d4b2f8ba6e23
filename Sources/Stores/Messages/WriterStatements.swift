// The writer's prepared statements, and what each binds.

import Bytes
import ChatModel

/// A row of `entries`.
struct TableEntry {
    let conversation: Identifier
    let entry: StoredEntry
}

final class WriterStatements {
    let begin: SQLiteStatement
    let commit: SQLiteStatement
    let rollback: SQLiteStatement
    let findKey: SQLiteStatement
    let findReply: SQLiteStatement
    private let insertEntry: SQLiteStatement
    private let insertEntries: SQLiteStatement
    private let insertConversation: SQLiteStatement
    private let updateConversation: SQLiteStatement
    private let insertRow: SQLiteStatement
    private let removeRow: SQLiteStatement
    private let findHead: SQLiteStatement
    private let findID: SQLiteStatement

    static let entriesPerStatement = 16
    private static let columns: Int32 = 11

    /// OR ROLLBACK: whatever is refused, the writer takes the whole transaction back. Without that
    /// SQLite copies each page that a statement of many rows changes, to undo that statement alone.
    private static func insertion(of rows: Int) -> String {
        let row = "(?,?,?,?,?,?,?,?,?,?,?)"
        return "INSERT OR ROLLBACK INTO entries VALUES"
            + repeatElement(row, count: rows).joined(separator: ",")
    }

    init(_ connection: SQLiteConnection) throws(SQLiteError) {
        begin = try connection.prepare("BEGIN IMMEDIATE")
        commit = try connection.prepare("COMMIT")
        rollback = try connection.prepare("ROLLBACK")
        findKey = try connection.prepare(
            """
            SELECT conversation, seq, id, fingerprint, session, body, flags FROM entries
            WHERE idempotency=?
            """)
        findReply = try connection.prepare(
            """
            SELECT body FROM (SELECT answers, body, kind FROM entries
            WHERE conversation=? AND seq>?2 ORDER BY seq LIMIT 256)
            WHERE answers=?2 AND kind=0 LIMIT 1
            """)
        insertEntry = try connection.prepare(Self.insertion(of: 1))
        insertEntries = try connection.prepare(Self.insertion(of: Self.entriesPerStatement))
        insertConversation = try connection.prepare(
            "INSERT INTO conversations VALUES(?,?,?,?,?,?,?,?,?,?)")
        updateConversation = try connection.prepare(
            """
            UPDATE conversations SET status=?2, handler_type=?3, handler_token=?4, updated_at=?5,
            version=?6 WHERE id=?1
            """)
        insertRow = try connection.prepare("INSERT INTO tail VALUES(?,?)")
        removeRow = try connection.prepare("DELETE FROM tail WHERE batch=?")
        findHead = try connection.prepare("SELECT max(seq) FROM entries WHERE conversation=?")
        findID = try connection.prepare("SELECT id FROM entries WHERE conversation=? AND seq=?")
    }

    /// Into `entries`, in this order. A statement opens the table and its indexes whenever it runs:
    /// many rows share that.
    func insert(_ entries: [TableEntry]) throws(SQLiteError) {
        var next = 0
        while entries.count - next >= Self.entriesPerStatement {
            try insert(entries[next..<next + Self.entriesPerStatement], insertEntries)
            next += Self.entriesPerStatement
        }
        while next < entries.count {
            try insert(entries[next...next], insertEntry)
            next += 1
        }
    }

    private func insert(
        _ entries: ArraySlice<TableEntry>, _ statement: SQLiteStatement
    ) throws(SQLiteError) {
        defer { statement.reset() }
        var parameter: Int32 = 0
        for row in entries {
            bind(row.entry, row.conversation, to: statement, behind: parameter)
            parameter += Self.columns
        }
        _ = try statement.step()
    }

    private func bind(
        _ entry: StoredEntry, _ conversation: Identifier, to statement: SQLiteStatement,
        behind start: Int32
    ) {
        statement.bind(start + 1, conversation)
        statement.bind(start + 2, entry.seq)
        statement.bind(start + 3, entry.id)
        statement.bind(start + 4, UInt64(entry.kind.rawValue))
        statement.bind(start + 5, UInt64(entry.storedFlags))
        statement.bind(start + 6, entry.createdAtMilliseconds)
        statement.bind(start + 7, entry.answersSeq)
        statement.bind(start + 8, entry.session)
        if let key = entry.idempotency {
            statement.bind(start + 9, high: key.high, low: key.low)
            statement.bind(start + 10, entry.fingerprint)
        } else {
            statement.bindNull(start + 9)
            statement.bindNull(start + 10)
        }
        statement.bind(start + 11, blob: entry.body)
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
        _ = try statement.step()
    }

    /// Appends a row to the tail.
    func insertRow(_ number: Int64, _ units: ByteWriter) throws(SQLiteError) {
        let statement = insertRow
        defer { statement.reset() }
        statement.bind(1, number)
        statement.bind(2, blob: units)
        _ = try statement.step()
    }

    func removeRow(_ number: Int64) throws(SQLiteError) {
        let statement = removeRow
        defer { statement.reset() }
        statement.bind(1, number)
        _ = try statement.step()
    }

    /// The head of a conversation's part in `entries`; 0 when it has none.
    func head(of conversation: Identifier) throws(SQLiteError) -> UInt64 {
        let statement = findHead
        defer { statement.reset() }
        statement.bind(1, conversation)
        return try statement.step() ? statement.unsigned(0) : 0
    }

    /// The id of an entry in `entries`.
    func id(of seq: UInt64, in conversation: Identifier) throws(SQLiteError) -> Identifier? {
        let statement = findID
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        return try statement.step() ? statement.identifier(0) : nil
    }
}

extension SQLiteStatement {
    /// Runs a statement without parameters and rows.
    func run() throws(SQLiteError) {
        defer { reset() }
        _ = try step()
    }
}

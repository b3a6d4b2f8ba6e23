// The index's file, search.db, and what is written to it. It has nothing that the log lacks: when
// it is missing, damaged, of another version or of another log, it is made again from the log.
//
// found      FTS5 without contents: rowid is the entry's place, so that newest first is the order
//            of the index itself and nothing is sorted. Columns: owner, the tokens below; text.
// documents  the conversation and seq of each message, whether it has text or not; and the place
//            from which on all messages up to this one are of its conversation (`run`), by which a
//            finder passes over what one conversation has said in a row
// versions   places whose message was edited, with the place of the last edit; 0 once it is deleted
// progress   the last row of the log that all this knows, in the same transaction with it, so that
//            each entry is indexed once whatever crashes; and that row's head, by which it is known
//            that the log is still the same
//
// Tokens of owner, each a letter and hexadecimal digits: t the tenant; u the user, where the user
// may see the entry, else x the user and i the tenant; c the conversation. A search names its
// columns, so a text that looks like a token finds nothing that it should not, and another tenant's
// million matches are not walked: both lists are ordered by rowid and FTS5 skips in the longer one.
// The hashes need not be free of collisions: whose a conversation is, its row decides; and of two
// conversations with the same 64 bits, one would be shown at an older match.

import Bytes
import ChatModel
import Stores

/// Whose an entry is, as tokens.
struct OwnerTokens {
    let tenant: UInt64
    let user: UInt64

    init(tenant name: RawSpan, userID: RawSpan?) {
        tenant = name.hash(seed: 0x7365_6172_6368)
        user = userID?.hash(seed: tenant) ?? 0
    }

    /// The column `owner` of an entry.
    func write(_ conversation: Identifier, isInternal: Bool, into writer: ByteWriter) {
        Self.append("t", tenant, to: writer)
        Self.append(isInternal ? " x" : " u", user, to: writer)
        if isInternal { Self.append(" i", tenant, to: writer) }
        Self.append(conversation, to: writer)
    }

    /// 48 bits do: every byte of a token is paid for with each message.
    private static func append(_ letter: StaticString, _ hash: UInt64, to writer: ByteWriter) {
        writer.append(letter)
        writer.append(hex: hash, digits: 12)
    }

    private static func append(_ conversation: Identifier, to writer: ByteWriter) {
        var hash = conversation.high ^ (conversation.low &* 0x9E37_79B9_7F4A_7C15)
        hash = (hash ^ (hash >> 30)) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ (hash >> 27)) &* 0x94D0_49BB_1331_11EB
        writer.append(" c")
        writer.append(hex: hash ^ (hash >> 31))
    }

    /// The expression that finds entries with the words of `expression` in a scope; within one
    /// conversation if it is named.
    func write(
        finding expression: ByteBlock, in scope: Scope, of conversation: Identifier? = nil,
        into writer: ByteWriter
    ) {
        writer.append("(owner : (\"")
        if scope.userID == nil {
            Self.append("t", tenant, to: writer)
        } else {
            Self.append("u", user, to: writer)
            if scope.showsInternal { Self.append("\" OR \"x", user, to: writer) }
        }
        writer.append("\")")
        if let conversation {
            writer.append(" AND owner : \"")
            Self.append(conversation, to: writer)
            writer.append(0x22)
        }
        writer.append(" AND text : (")
        writer.append(expression)
        writer.append("))")
        if scope.userID == nil, !scope.showsInternal {
            Self.append(" NOT owner : \"i", tenant, to: writer)
            writer.append(0x22)
        }
    }
}

/// One step of the index.
struct IndexChange {
    /// A message that is new, or one whose text is another now.
    enum Kind {
        case added
        /// `latest` is the place of the edit; 0 for a deletion.
        case replaced(old: ByteBlock, latest: Int64)
    }

    let kind: Kind
    let place: Int64
    let conversation: Identifier
    let seq: UInt64
    let owner: ByteBlock
    let text: ByteBlock
}

/// Owner: the indexer.
final class SearchIndex {
    static let version: Int64 = 2

    private static let settings = """
        PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
        PRAGMA wal_autocheckpoint=2000; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;
        """
    private static let create = """
        BEGIN IMMEDIATE;
        CREATE VIRTUAL TABLE found USING fts5(
            owner, text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2');
        CREATE TABLE documents(
            place INTEGER PRIMARY KEY, conversation BLOB NOT NULL, seq INTEGER NOT NULL,
            run INTEGER NOT NULL);
        CREATE TABLE versions(place INTEGER PRIMARY KEY, latest INTEGER NOT NULL);
        CREATE TABLE progress(row INTEGER NOT NULL, head BLOB NOT NULL);
        INSERT INTO progress VALUES(0, x'');
        PRAGMA user_version=\(version);
        COMMIT;
        """

    private let connection: SQLiteConnection
    private let begin: SQLiteStatement
    private let commit: SQLiteStatement
    private let rollback: SQLiteStatement
    private let add: SQLiteStatement
    private let remove: SQLiteStatement
    private let addDocument: SQLiteStatement
    private let setVersion: SQLiteStatement
    private let findVersion: SQLiteStatement
    private let setProgress: SQLiteStatement
    /// The conversation of the last document, and its run.
    private var last = (conversation: Identifier.none, run: Int64(0))
    private(set) var row: Int64 = 0
    private var head = ByteBlock.empty

    /// Opens the file, or makes it. Throws what `isUnusable` says yes to when another must be made.
    init(path: String) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path)
        try connection.run(Self.settings)
        let version = try Self.version(of: connection)
        if version == 0 { try connection.run(Self.create) }
        guard version == 0 || version == Self.version else { throw Self.otherVersion }
        begin = try connection.prepare("BEGIN IMMEDIATE")
        commit = try connection.prepare("COMMIT")
        rollback = try connection.prepare("ROLLBACK")
        add = try connection.prepare("INSERT INTO found(rowid, owner, text) VALUES(?,?,?)")
        remove = try connection.prepare(
            "INSERT INTO found(found, rowid, owner, text) VALUES('delete',?,?,?)")
        addDocument = try connection.prepare("INSERT INTO documents VALUES(?,?,?,?)")
        setVersion = try connection.prepare("INSERT OR REPLACE INTO versions VALUES(?,?)")
        findVersion = try connection.prepare("SELECT latest FROM versions WHERE place=?")
        setProgress = try connection.prepare("UPDATE progress SET row=?, head=?")
        let progress = try connection.prepare("SELECT row, head FROM progress")
        defer { progress.reset() }
        guard try progress.step() else { throw Self.otherVersion }
        row = progress.integer(0)
        head = ByteBlock(copying: progress.bytes(1))
        let newest = try connection.prepare(
            "SELECT conversation, run FROM documents ORDER BY place DESC LIMIT 1")
        defer { newest.reset() }
        if try newest.step() {
            let words = newest.words(0)
            last = (Identifier(high: words.high, low: words.low), newest.integer(1))
        }
    }

    private static func version(of connection: SQLiteConnection) throws(SQLiteError) -> Int64 {
        let select = try connection.prepare("PRAGMA user_version")
        defer { select.reset() }
        return try select.step() ? select.integer(0) : 0
    }

    private static let otherVersion = SQLiteError(
        code: SQLiteError.corruption, message: "the search index has another version")

    /// Whether the log that was indexed is this one.
    func fits(_ log: LogFollower) throws(SQLiteError) -> Bool {
        guard row > 0 else { return true }
        return areSame(try log.head(ofRow: row), head)
    }

    /// The place of the last edit of the message at `place`; 0 once it is deleted, nil for none.
    func version(of place: Int64) throws(SQLiteError) -> Int64? {
        defer { findVersion.reset() }
        findVersion.bind(1, place)
        return try findVersion.step() ? findVersion.integer(0) : nil
    }

    /// Makes the changes that the rows up to `row` ask for, all or none.
    func apply(_ changes: [IndexChange], through row: Int64, head: ByteBlock) throws(SQLiteError) {
        let before = last
        do {
            try run(begin)
            for change in changes { try apply(change) }
            setProgress.bind(1, row)
            setProgress.bind(2, blob: head)
            try run(setProgress)
            try run(commit)
        } catch {
            last = before
            if connection.isInTransaction { try? run(rollback) }
            throw error
        }
        self.row = row
        self.head = head
    }

    private func apply(_ change: IndexChange) throws(SQLiteError) {
        switch change.kind {
        case .added:
            if change.conversation != last.conversation {
                last = (change.conversation, change.place)
            }
            addDocument.bind(1, change.place)
            addDocument.bind(2, high: change.conversation.high, low: change.conversation.low)
            addDocument.bind(3, change.seq)
            addDocument.bind(4, last.run)
            try run(addDocument)
        case .replaced(let old, let latest):
            if old.count > 0 { try write(change.place, change.owner, old, remove) }
            setVersion.bind(1, change.place)
            setVersion.bind(2, latest)
            try run(setVersion)
        }
        if change.text.count > 0 { try write(change.place, change.owner, change.text, add) }
    }

    private func write(
        _ place: Int64, _ owner: ByteBlock, _ text: ByteBlock, _ statement: SQLiteStatement
    ) throws(SQLiteError) {
        statement.bind(1, place)
        statement.bind(2, text: owner)
        statement.bind(3, text: text)
        try run(statement)
    }

    private func run(_ statement: SQLiteStatement) throws(SQLiteError) {
        defer { statement.reset() }
        _ = try statement.step()
    }
}

// The embedded message store's tables.
//
// entries has rows in the order in which they were folded, a conversation's many at a time, so that
// its pages are filled one after the other and a page of history has its rows close together. Its
// primary key is an index beside it and the arbiter of order. A table that is clustered by its key
// (WITHOUT ROWID) holds whole rows in its inner nodes too: six to a page, seven levels for 200,000
// entries, and twice the pages to write. flags: 1 inbound, 2 accepted only (its sender did not
// wait). entries_key is the arbiter of duplicates. Ids are 16-byte big-endian blobs, so that they
// sort by time.
//
// tail holds the newest entries, a commit's in one row (TailCoding), until they are folded into
// entries. A conversation's log is its part of entries and, behind that, its part of tail. An entry
// may stand in both, when its row of tail has others that are not folded yet; it is the same entry
// then.

import ChatModel

enum MessageSchema {
    static let version: Int64 = 1

    static let create = """
        CREATE TABLE IF NOT EXISTS conversations(
            id BLOB PRIMARY KEY, tenant TEXT NOT NULL, user_id TEXT NOT NULL,
            channel INTEGER NOT NULL, status INTEGER NOT NULL, handler_type INTEGER NOT NULL,
            handler_token INTEGER NOT NULL, created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS conversations_user ON conversations(tenant, user_id, id);
        CREATE INDEX IF NOT EXISTS conversations_tenant ON conversations(tenant, id);
        CREATE TABLE IF NOT EXISTS entries(
            conversation BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL,
            kind INTEGER NOT NULL, flags INTEGER NOT NULL, created_at INTEGER NOT NULL,
            answers INTEGER NOT NULL, session BLOB NOT NULL, idempotency BLOB,
            fingerprint INTEGER, body BLOB NOT NULL,
            PRIMARY KEY(conversation, seq));
        CREATE UNIQUE INDEX IF NOT EXISTS entries_key ON entries(idempotency)
            WHERE idempotency IS NOT NULL;
        CREATE TABLE IF NOT EXISTS tail(batch INTEGER PRIMARY KEY, units BLOB NOT NULL);
        """

    /// Settings of the one connection that writes. FULL: a commit returns when the log is on the
    /// disk. Pages of 8 KiB take half the system calls of the usual 4, and less than 16 for a
    /// random key. A checkpoint of 1,000 pages keeps a commit waiting for a third of the time that
    /// 4,000 take, and costs no more CPU.
    static let writerSettings = """
        PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
        PRAGMA wal_autocheckpoint=1000; PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY;
        PRAGMA foreign_keys=OFF;
        """

    static let readerSettings = """
        PRAGMA query_only=ON; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;
        PRAGMA mmap_size=268435456;
        """

    static func open(path: String) throws(SQLiteError) -> SQLiteConnection {
        let connection = try SQLiteConnection(path: path)
        try connection.run(writerSettings)
        let version = try connection.prepare("PRAGMA user_version")
        _ = try version.step()
        let found = version.integer(0)
        version.reset()
        guard found == 0 || found == MessageSchema.version else {
            throw SQLiteError(
                code: 0,
                message:
                    "\(path) has schema version \(found); this program knows \(MessageSchema.version)"
            )
        }
        try connection.run(create)
        if found == 0 { try connection.run("PRAGMA user_version=\(MessageSchema.version)") }
        return connection
    }
}

extension SQLiteStatement {
    func bind(_ index: Int32, _ id: Identifier) { bind(index, high: id.high, low: id.low) }

    func identifier(_ column: Int32) -> Identifier {
        let pair = words(column)
        return Identifier(high: pair.high, low: pair.low)
    }
}

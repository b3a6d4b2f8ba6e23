// The embedded message store's tables.
//
// log has every entry once, in the order of arrival: a row holds the entries of one commit, or of a
// part of it (LogCoding). It only grows at its end, so that a commit writes a few pages in a row,
// whatever conversations its entries belong to.
//
// entries says where a conversation's entries stand in log, in the order of their seq, and has what
// lists look at. It is the arbiter of order. keys is the arbiter of duplicates; a user's keys stand
// together, since they begin with a hash of the user. Both are filled late, many entries of one
// conversation at a time (MessageWriter+Folding); what is not in them yet is the tail: it stands in
// log and in memory (LogTail). entries_changes finds what was done to a message, which `answers`
// names in these entries; other entries are not in it. All rows of log up to
// progress.folded_through are in entries.
//
// Lists walk an index of conversations in the order of id, one for each filter that leaves few
// (MessageReader+Lists). A conversation that no human has touched is in two of them, as it must be
// to be listed at all; its insert pays for none of the others. labels has a row for each label of a
// conversation, kept by a trigger.
//
// cursors says how far the participants of a conversation have come; it is not part of the log.
//
// flags: 1 inbound, 2 accepted only (its sender did not wait), 8 internal (the end user never sees
// it). Ids are 16-byte big-endian blobs, so that they sort by time.

import ChatModel

enum MessageSchema {
    static let version: Int64 = 1

    static let create = """
        CREATE TABLE IF NOT EXISTS conversations(
            id BLOB PRIMARY KEY, tenant TEXT NOT NULL, user_id TEXT NOT NULL,
            channel INTEGER NOT NULL, status INTEGER NOT NULL, handler_type INTEGER NOT NULL,
            handler_token INTEGER NOT NULL, created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL, version INTEGER NOT NULL, assignee TEXT, handler_id TEXT,
            labels TEXT, priority INTEGER NOT NULL DEFAULT 0, attributes TEXT) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS conversations_user ON conversations(tenant, user_id, id);
        CREATE INDEX IF NOT EXISTS conversations_status ON conversations(tenant, status, id);
        DROP INDEX IF EXISTS conversations_tenant;
        CREATE INDEX IF NOT EXISTS conversations_human ON conversations(tenant, status, id)
        WHERE handler_type=1;
        CREATE INDEX IF NOT EXISTS conversations_assignee ON conversations(tenant, assignee, id)
        WHERE assignee IS NOT NULL;
        CREATE TABLE IF NOT EXISTS log(number INTEGER PRIMARY KEY, entries BLOB NOT NULL);
        CREATE TABLE IF NOT EXISTS entries(
            conversation BLOB NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL,
            flags INTEGER NOT NULL, created_at INTEGER NOT NULL, answers INTEGER NOT NULL,
            row INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL,
            PRIMARY KEY(conversation, seq)) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS entries_changes ON entries(conversation, kind, answers)
            WHERE kind=1 OR kind=2 OR kind=3;
        CREATE TABLE IF NOT EXISTS keys(
            key BLOB PRIMARY KEY, conversation BLOB NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS cursors(
            conversation BLOB NOT NULL, user_id TEXT NOT NULL, read_seq INTEGER NOT NULL,
            delivered_seq INTEGER NOT NULL, PRIMARY KEY(conversation, user_id)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS progress(folded_through INTEGER NOT NULL);
        INSERT INTO progress SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM progress);
        """

    /// Made once, together with its first rows.
    private static let createLabels = """
        BEGIN IMMEDIATE;
        CREATE TABLE labels(
            tenant_id TEXT NOT NULL, label TEXT NOT NULL, conversation BLOB NOT NULL,
            PRIMARY KEY(tenant_id, label, conversation)) WITHOUT ROWID;
        CREATE TRIGGER labels_follow AFTER UPDATE OF labels ON conversations
        WHEN old.labels IS NOT new.labels BEGIN
            DELETE FROM labels WHERE tenant_id=old.tenant AND conversation=old.id
            AND label IN (SELECT value FROM json_each(old.labels));
            INSERT OR IGNORE INTO labels
            SELECT new.tenant, value, new.id FROM json_each(new.labels);
        END;
        INSERT OR IGNORE INTO labels
        SELECT tenant, value, conversations.id FROM conversations, json_each(conversations.labels);
        COMMIT;
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
        if try !hasTable("labels", connection) { try connection.run(createLabels) }
        if found == 0 { try connection.run("PRAGMA user_version=\(MessageSchema.version)") }
        return connection
    }

    private static func hasTable(
        _ name: String, _ connection: SQLiteConnection
    ) throws(SQLiteError) -> Bool {
        let select = try connection.prepare("SELECT 1 FROM sqlite_master WHERE name=?")
        defer { select.reset() }
        select.bind(1, text: name)
        return try select.step()
    }
}

extension SQLiteStatement {
    func bind(_ index: Int32, _ id: Identifier) { bind(index, high: id.high, low: id.low) }

    func identifier(_ column: Int32) -> Identifier {
        let pair = words(column)
        return Identifier(high: pair.high, low: pair.low)
    }
}

// What is stored under an idempotency key: in the batch in hand, in the tail or in `entries`.
//
// A key is in one of these places only, and whoever looks is the only writer, so the places may be
// asked one after the other.

import Bytes
import ChatModel

extension MessageWriter {
    private static let entriesUntilReplyMax = 256

    func stored(under key: Digest) throws(SQLiteError) -> StoredAnswer? {
        guard let place = keys[key] else { return try storedInTable(under: key) }
        let conversation = place.conversation
        guard let found = try newest(in: conversation, { $0.seq == place.seq }) else {
            preconditionFailure("a key in the tail names an entry in the tail")
        }
        return StoredAnswer(found, reply: try newestReply(to: found.entry, in: conversation))
    }

    /// The first of a conversation's entries in the tail, or else in the batch in hand, that is
    /// wanted.
    private func newest(
        in conversation: Identifier, _ isWanted: (IndexedEntry) -> Bool
    ) throws(SQLiteError) -> LoggedEntry? {
        if let entry = tail.entries(of: conversation).first(where: isWanted) {
            let statement = statements.findLogged
            defer { statement.reset() }
            statement.bind(entry.place)
            _ = try statement.step()
            return try statement.loggedEntry(scratch)
        }
        for unit in staged where unit.conversation == conversation {
            for entry in unit.entries where isWanted(IndexedEntry(entry, .none)) {
                let body = ByteSlice(unit.bodies, entry.body)
                return LoggedEntry(
                    conversation: conversation, entry: entry,
                    bodies: ByteBlock(copying: body.bytes),
                    offset: 0, bytes: 0)
            }
        }
        return nil
    }

    /// The reply to a message, if its sender waited for it and it is in the tail or in the batch in
    /// hand.
    private func newestReply(
        to message: StoredEntry, in conversation: Identifier
    ) throws(SQLiteError) -> ByteSlice? {
        if message.isAcceptedOnly { return nil }
        let end = message.seq + UInt64(Self.entriesUntilReplyMax)
        return try newest(in: conversation) {
            $0.answersSeq == message.seq && $0.kind == EntryKind.message.rawValue && $0.seq <= end
        }?.body
    }

    private func storedInTable(under key: Digest) throws(SQLiteError) -> StoredAnswer? {
        let statement = statements.findKey
        defer { statement.reset() }
        statement.bind(1, high: key.high, low: key.low)
        guard try statement.step() else { return nil }
        let found = try statement.loggedEntry(scratch)
        return StoredAnswer(found, reply: try reply(to: found.entry, in: found.conversation))
    }

    /// A reply to an entry of the table stands behind it there, or else in the tail.
    private func reply(
        to message: StoredEntry, in conversation: Identifier
    ) throws(SQLiteError) -> ByteSlice? {
        if message.isAcceptedOnly { return nil }
        let statement = statements.findReply
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, message.seq)
        if try statement.step() { return try statement.loggedEntry(scratch).body }
        return try newestReply(to: message, in: conversation)
    }
}

extension StoredAnswer {
    fileprivate convenience init(_ found: LoggedEntry, reply: ByteSlice?) {
        let entry = found.entry
        self.init(
            conversation: found.conversation, messageID: entry.id, seq: entry.seq,
            fingerprint: entry.fingerprint, session: entry.session, message: found.body,
            reply: reply)
    }
}

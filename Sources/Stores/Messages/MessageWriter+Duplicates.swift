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
        let log = newestEntries(of: place.conversation)
        guard let index = log.firstIndex(where: { $0.seq == place.seq }) else {
            preconditionFailure("a key in the tail names an entry in the tail")
        }
        let entry = log[index]
        let later = log[(index + 1)...].prefix(Self.entriesUntilReplyMax)
        return StoredAnswer(
            conversation: place.conversation, messageID: entry.id, seq: entry.seq,
            fingerprint: entry.fingerprint, session: entry.session, message: entry.body,
            reply: entry.isAcceptedOnly ? nil : Self.reply(to: entry.seq, in: later))
    }

    /// The end of a conversation's log that is not in `entries`: what the tail has, then the
    /// batch's.
    private func newestEntries(of conversation: Identifier) -> [StoredEntry] {
        var log = tail.units(of: conversation).flatMap(\.entries)
        for unit in staged where unit.conversation == conversation {
            log.append(contentsOf: unit.entries)
        }
        return log
    }

    private static func reply(to seq: UInt64, in later: ArraySlice<StoredEntry>) -> ByteBlock? {
        later.first { $0.answersSeq == seq && $0.kind == .message }?.body
    }

    private func storedInTable(under key: Digest) throws(SQLiteError) -> StoredAnswer? {
        let statement = statements.findKey
        defer { statement.reset() }
        statement.bind(1, high: key.high, low: key.low)
        guard try statement.step() else { return nil }
        let conversation = statement.identifier(0)
        let seq = statement.unsigned(1)
        return StoredAnswer(
            conversation: conversation, messageID: statement.identifier(2), seq: seq,
            fingerprint: statement.unsigned(3), session: statement.identifier(4),
            message: ByteBlock(copying: statement.bytes(5)),
            reply: statement.unsigned(6) & 2 == 0 ? try reply(to: seq, in: conversation) : nil)
    }

    /// A reply to an entry of the table stands behind it there, or else in the tail.
    private func reply(
        to seq: UInt64, in conversation: Identifier
    ) throws(SQLiteError)
        -> ByteBlock?
    {
        let statement = statements.findReply
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        if try statement.step() { return ByteBlock(copying: statement.bytes(0)) }
        let later = newestEntries(of: conversation).prefix {
            $0.seq <= seq + UInt64(Self.entriesUntilReplyMax)
        }
        return Self.reply(to: seq, in: later)
    }
}

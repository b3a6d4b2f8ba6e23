// Finds a message by its id. The index has no ids, but they grow with the seq: the owner of a
// conversation gives both in the same order, whatever its clock does (IdentifierSource). So a
// binary search over the log needs some twenty looks for a million entries.
//
// After a restart ids begin anew at the clock's time, and a clock that was set back meanwhile makes
// the order break there. The search then ends near the break, so what it does not find is looked
// for around its end, by the millisecond of which a fresh id is.

import Bytes
import ChatModel

extension LogReader {
    private static let neighbours: UInt64 = 256

    /// The last entry's seq; 0 for an empty log.
    func head(of conversation: Identifier, _ tail: [IndexedEntry]) throws(SQLiteError) -> UInt64 {
        if let last = tail.last { return last.seq }
        let statement = lookups.head
        defer { statement.reset() }
        statement.bind(1, conversation)
        return try statement.step() ? statement.unsigned(0) : 0
    }

    /// nil when the log has no entry with this id.
    func entry(
        named id: Identifier, in conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> LoggedEntry? {
        let head = try head(of: conversation, tail)
        var low: UInt64 = 1
        var high = head + 1
        while low < high {
            let middle = low + (high - low) / 2
            guard let found = try identifier(of: middle, in: conversation, tail) else { return nil }
            if found == id { return try entry(of: middle, in: conversation, tail) }
            if (found.high, found.low) < (id.high, id.low) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let start = low > Self.neighbours ? low - Self.neighbours : 1
        let end = min(head, low + Self.neighbours) + 1
        for seq in try seqs(start..<end, of: id.milliseconds, in: conversation, tail)
        where try identifier(of: seq, in: conversation, tail) == id {
            return try entry(of: seq, in: conversation, tail)
        }
        return nil
    }

    private func seqs(
        _ range: Range<UInt64>, of milliseconds: UInt64, in conversation: Identifier,
        _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> [UInt64] {
        var found: [UInt64] = []
        let statement = lookups.ofMillisecond
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, range.lowerBound)
        statement.bind(3, min(range.upperBound, Self.tableEnd(tail)))
        statement.bind(4, milliseconds)
        while try statement.step() { found.append(statement.unsigned(0)) }
        for entry in tail
        where range.contains(entry.seq) && entry.createdAtMilliseconds == milliseconds {
            found.append(entry.seq)
        }
        return found
    }

    private func identifier(
        of seq: UInt64, in conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> Identifier? {
        if let entry = Self.entry(of: seq, in: tail) {
            let statement = lookups.identifierInLog
            defer { statement.reset() }
            statement.bind(1, entry.place.row)
            statement.bind(2, UInt64(entry.place.offset))
            return try read(statement)
        }
        let statement = lookups.identifier
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        return try read(statement)
    }

    private func read(_ statement: SQLiteStatement) throws(SQLiteError) -> Identifier? {
        guard try statement.step() else { return nil }
        let bytes = statement.bytes(0)
        guard bytes.byteCount == 16 else { return nil }
        return Identifier(high: bytes.load64(at: 0), low: bytes.load64(at: 8))
    }

    private func entry(
        of seq: UInt64, in conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> LoggedEntry? {
        if let entry = Self.entry(of: seq, in: tail) { return try self.entry(at: entry.place) }
        let statement = ascending
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq - 1)
        statement.bind(3, seq + 1)
        statement.bind(4, UInt64(0))
        statement.bind(5, UInt64(1))
        return try statement.step() ? try statement.loggedEntry(scratch) : nil
    }

    /// The tail has the end of the log without a hole.
    private static func entry(of seq: UInt64, in tail: [IndexedEntry]) -> IndexedEntry? {
        guard let first = tail.first, seq >= first.seq, seq - first.seq < UInt64(tail.count) else {
            return nil
        }
        return tail[Int(seq - first.seq)]
    }

    /// The sender's last reaction to a message: the entry, from the newest on.
    func lastReaction(
        to seq: UInt64, in conversation: Identifier, _ tail: [IndexedEntry],
        _ isWanted: (LoggedEntry) -> Bool
    ) throws(SQLiteError) -> LoggedEntry? {
        var left = Limits.reactionsReadMax
        for entry in tail.reversed()
        where entry.kind == EntryKind.reaction.rawValue && entry.answersSeq == seq {
            if left == 0 { return nil }
            left -= 1
            let found = try self.entry(at: entry.place)
            if isWanted(found) { return found }
        }
        let statement = lookups.reactions
        defer { statement.reset() }
        statement.bind(1, conversation)
        statement.bind(2, seq)
        statement.bind(3, UInt64(left))
        while try statement.step() {
            let found = try statement.loggedEntry(scratch)
            if isWanted(found) { return found }
        }
        return nil
    }
}

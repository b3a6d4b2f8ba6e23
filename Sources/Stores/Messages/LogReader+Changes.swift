// A conversation's messages as they are now: what became of them stands in later entries (edits,
// redactions), and is put into what is read. The log itself is never written again.
//
// A page without any change costs two looks into an index that holds nothing else
// (`entries_changes`); each message of the page that was changed costs two more. However often a
// message was edited, only its last edit is read.
//
// The caller has taken the tail's copy first (see LogReader). What was folded since may be found
// twice, which changes nothing: of two edits the later counts, and a redaction counts for ever.

import Bytes
import ChatModel

final class ChangeStatements {
    /// The last redaction, or edit, of the last message between two.
    let lastRedaction: SQLiteStatement
    let lastEdit: SQLiteStatement
    let reactions: SQLiteStatement
    let head: SQLiteStatement
    let identifier: SQLiteStatement
    let identifierInLog: SQLiteStatement
    let ofMillisecond: SQLiteStatement

    init(_ connection: SQLiteConnection) throws(SQLiteError) {
        lastRedaction = try connection.prepare(Self.last(.redaction))
        lastEdit = try connection.prepare(Self.last(.edit))
        reactions = try connection.prepare(
            """
            SELECT \(LoggedEntry.column) FROM entries AS place INDEXED BY entries_changes
            WHERE conversation=? AND kind=3 AND answers=? ORDER BY seq DESC LIMIT ?
            """)
        head = try connection.prepare("SELECT max(seq) FROM entries WHERE conversation=?")
        identifier = try connection.prepare(
            """
            SELECT (SELECT substr(log.entries, place.offset + 25, 16) FROM log
            WHERE log.number = place.row) FROM entries AS place WHERE conversation=? AND seq=?
            """)
        identifierInLog = try connection.prepare(
            "SELECT substr(entries, ?2 + 25, 16) FROM log WHERE number=?1")
        ofMillisecond = try connection.prepare(
            """
            SELECT seq FROM entries WHERE conversation=? AND seq>=? AND seq<? AND created_at=?
            """)
    }

    private static func last(_ kind: EntryKind) -> String {
        """
        SELECT answers, seq, created_at, row, offset, bytes FROM entries INDEXED BY entries_changes
        WHERE conversation=? AND kind=\(kind.rawValue) AND answers>=? AND answers<=?
        ORDER BY answers DESC, seq DESC LIMIT 1
        """
    }
}

/// What became of a message.
enum LogChange {
    case redacted
    case edited(LogEdit)
}

/// An entry that gave a message other content.
struct LogEdit {
    let seq: UInt64
    let createdAtMilliseconds: UInt64
    let place: LogPlace
}

extension LogReader {
    /// Rows of the log with messages as they are now.
    func current(
        _ rows: [LogRow], of conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> [LogRow] {
        guard let first = rows.first?.seq, let last = rows.last?.seq else { return rows }
        let page = min(first, last)...max(first, last)
        var changes = try self.changes(ofSeqs: page, conversation, tail)
        // What an edit said is gone with its message, which may stand elsewhere.
        for row in rows where row.kind == .edit && !page.contains(row.answersSeq) {
            let seq = row.answersSeq
            if changes[seq] == nil { changes[seq] = try change(of: seq, conversation, tail) }
        }
        if changes.isEmpty { return rows }
        var shown: [LogRow] = []
        shown.reserveCapacity(rows.count)
        for row in rows { shown.append(try current(row, changes)) }
        return shown
    }

    func change(
        of seq: UInt64, _ conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> LogChange? {
        try changes(ofSeqs: seq...seq, conversation, tail)[seq]
    }

    /// By the seq of the message.
    private func changes(
        ofSeqs page: ClosedRange<UInt64>, _ conversation: Identifier, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> [UInt64: LogChange] {
        var found: [UInt64: LogChange] = [:]
        try readTable(lookups.lastEdit, page, conversation) { found[$0] = .edited($1) }
        for entry in tail
        where entry.kind == EntryKind.edit.rawValue && page.contains(entry.answersSeq) {
            if case .edited(let edit)? = found[entry.answersSeq], edit.seq > entry.seq { continue }
            found[entry.answersSeq] = .edited(
                LogEdit(
                    seq: entry.seq, createdAtMilliseconds: entry.createdAtMilliseconds,
                    place: entry.place))
        }
        try readTable(lookups.lastRedaction, page, conversation) { seq, _ in
            found[seq] = .redacted
        }
        for entry in tail
        where entry.kind == EntryKind.redaction.rawValue && page.contains(entry.answersSeq) {
            found[entry.answersSeq] = .redacted
        }
        return found
    }

    /// The last change of each message, from the last message on.
    private func readTable(
        _ statement: SQLiteStatement, _ page: ClosedRange<UInt64>, _ conversation: Identifier,
        _ take: (UInt64, LogEdit) -> Void
    ) throws(SQLiteError) {
        var end = page.upperBound
        while end >= page.lowerBound {
            defer { statement.reset() }
            statement.bind(1, conversation)
            statement.bind(2, page.lowerBound)
            statement.bind(3, end)
            guard try statement.step() else { return }
            let seq = statement.unsigned(0)
            take(
                seq,
                LogEdit(
                    seq: statement.unsigned(1), createdAtMilliseconds: statement.unsigned(2),
                    place: LogPlace(
                        row: statement.integer(3),
                        offset: UInt32(truncatingIfNeeded: statement.integer(4)),
                        bytes: UInt32(truncatingIfNeeded: statement.integer(5)))))
            if seq == 0 { return }
            end = seq - 1
        }
    }

    private func current(
        _ row: LogRow, _ changes: [UInt64: LogChange]
    ) throws(SQLiteError) -> LogRow {
        let view: ByteBlock
        switch (row.kind, changes[row.kind == .edit ? row.answersSeq : row.seq]) {
        case (.message, .redacted?), (.edit, .redacted?): view = try redacted(row.body)
        case (.message, .edited(let edit)?): view = try edited(row.body, edit)
        default: return row
        }
        return LogRow(
            seq: row.seq, kind: row.kind, answersSeq: row.answersSeq, body: ByteSlice(view))
    }

    private func redacted(_ body: ByteSlice) throws(SQLiteError) -> ByteBlock {
        scratch.removeAll()
        guard EntryView.writeRedacted(body.bytes, into: scratch) else { throw Self.damaged }
        return scratch.block()
    }

    private func edited(_ body: ByteSlice, _ edit: LogEdit) throws(SQLiteError) -> ByteBlock {
        let source = try entry(at: edit.place).body
        guard let content = EntryView.content(of: source.bytes) else { throw Self.damaged }
        scratch.removeAll()
        guard
            EntryView.write(
                body.bytes, editedTo: source.bytes.part(content),
                atMilliseconds: edit.createdAtMilliseconds, into: scratch)
        else { throw Self.damaged }
        return scratch.block()
    }

    func entry(at place: LogPlace) throws(SQLiteError) -> LoggedEntry {
        defer { logged.reset() }
        logged.bind(place)
        _ = try logged.step()
        return try logged.loggedEntry(scratch)
    }

    static let damaged = SQLiteError(
        code: SQLiteError.corruption,
        message: "the message store is damaged: an entry's content is not where it should be")
}

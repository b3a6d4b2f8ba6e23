// What a row of `log` holds: the entries of one or more commit units, one behind the other.
//
// All numbers are little-endian.
//
//     row     0  u32  format, 1
//             4  u32  number of entries
//             8       the entries
//
//     entry   0  u64  conversation, high   48  u64  answers: a seq, 0 for none
//             8  u64  conversation, low    56  u64  session, high
//            16  u64  seq                  64  u64  session, low
//            24  u64  id, high             72  u8   kind
//            32  u64  id, low              73  u8   flags: 1 inbound, 2 accepted only, 4 has a key,
//                                                        8 internal
//            40  u64  created at, ms       74  u16  0
//                                          76  u32  bytes of the part
//            80       with a key: u64 digest, high; u64 digest, low; u64 fingerprint
//            80 or 104  the part of the body that these fields do not say (Entry.write)

import Bytes
import ChatModel

enum LogCoding {
    static let format: UInt32 = 1
    static let headBytes = 8
    static let entryBytes = 80
    static let keyBytes = 24

    static func byteCount(of entry: StoredEntry) -> Int {
        entryBytes + (entry.idempotency == nil ? 0 : keyBytes) + entry.part.count
    }

    static func byteCount(of entries: [StoredEntry]) -> Int {
        entries.reduce(0) { $0 + byteCount(of: $1) }
    }

    // MARK: Writing

    /// Replaces what `writer` holds by the row of these units.
    static func write(_ units: ArraySlice<LoggedUnit>, into writer: ByteWriter) {
        writer.removeAll()
        let count = units.reduce(0) { $0 + $1.entries.count }
        writer.append(upTo: headBytes) { output in
            append(format, to: &output)
            append(UInt32(count), to: &output)
        }
        for unit in units {
            let bodies = unit.bodies.bytes
            for entry in unit.entries {
                write(entry, of: unit.conversation, into: writer)
                writer.append(bodies.extracting(entry.part.range))
            }
        }
    }

    private static func write(
        _ entry: StoredEntry, of conversation: Identifier, into writer: ByteWriter
    ) {
        writer.append(upTo: entryBytes + keyBytes) { output in
            append(conversation.high, to: &output)
            append(conversation.low, to: &output)
            append(entry.seq, to: &output)
            append(entry.id.high, to: &output)
            append(entry.id.low, to: &output)
            append(entry.createdAtMilliseconds, to: &output)
            append(entry.answersSeq, to: &output)
            append(entry.session.high, to: &output)
            append(entry.session.low, to: &output)
            append(entry.kind.rawValue, to: &output)
            append(entry.storedFlags | (entry.idempotency == nil ? 0 : 4), to: &output)
            append(UInt16(0), to: &output)
            append(UInt32(entry.part.count), to: &output)
            if let key = entry.idempotency {
                append(key.high, to: &output)
                append(key.low, to: &output)
                append(entry.fingerprint, to: &output)
            }
        }
    }

    @inline(__always)
    private static func append<Number: FixedWidthInteger & BitwiseCopyable>(
        _ number: Number, to output: inout OutputRawSpan
    ) {
        // Safety: an integer has no padding, so every byte that is appended is initialised.
        unsafe output.append(number.littleEndian, as: Number.self)
    }

    // MARK: Reading

    /// The entries of a row in their order, each with where it stands; nil when the bytes are not
    /// what `write` makes. `scratch` is overwritten.
    static func read(_ row: RawSpan, _ scratch: ByteWriter) -> [LoggedEntry]? {
        guard row.byteCount >= headBytes, row.load32(at: 0) == format else { return nil }
        let count = Int(row.load32(at: 4))
        // A count that cannot be true must not reserve memory.
        guard count <= (row.byteCount - headBytes) / entryBytes else { return nil }
        var found: [LoggedEntry] = []
        found.reserveCapacity(count)
        var offset = headBytes
        for _ in 0..<count {
            guard
                let next = entry(row.extracting(offset..<row.byteCount), at: offset, scratch)
            else { return nil }
            found.append(next)
            offset += next.bytes
        }
        return offset == row.byteCount ? found : nil
    }

    /// The entry that the bytes begin with; `offset` is where that is in its row. `progress`
    /// decides the status of a public message that went out.
    static func entry(
        _ bytes: RawSpan, at offset: Int = 0, _ scratch: ByteWriter, _ progress: LogProgress = .none
    ) -> LoggedEntry? {
        guard bytes.byteCount >= entryBytes else { return nil }
        let flags = bytes.byte(at: 73)
        guard let kind = EntryKind(rawValue: bytes.byte(at: 72)), flags < 16,
            bytes.load16(at: 74) == 0
        else { return nil }
        let hasKey = flags & 4 != 0
        let start = entryBytes + (hasKey ? keyBytes : 0)
        let partBytes = Int(bytes.load32(at: 76))
        guard start <= bytes.byteCount, partBytes <= bytes.byteCount - start else { return nil }
        var head = EntryHead(
            id: identifier(bytes, at: 24), conversation: identifier(bytes, at: 0),
            seq: bytes.load64(at: 16), kind: kind, isInbound: flags & 1 != 0,
            isInternal: flags & 8 != 0, createdAtMilliseconds: bytes.load64(at: 40))
        if kind == .message { head.outboundStatus = progress.status(of: head.seq) }
        scratch.removeAll()
        let part = head.write(
            around: bytes.extracting(start..<start + partBytes), into: scratch)
        let entry = StoredEntry(
            id: head.id, seq: head.seq, kind: kind, isInbound: head.isInbound,
            isAcceptedOnly: flags & 2 != 0, isInternal: head.isInternal,
            createdAtMilliseconds: head.createdAtMilliseconds,
            idempotency: hasKey
                ? Digest(
                    high: bytes.load64(at: entryBytes), low: bytes.load64(at: entryBytes + 8))
                : nil,
            fingerprint: hasKey ? bytes.load64(at: entryBytes + 16) : 0,
            answersSeq: bytes.load64(at: 48), session: identifier(bytes, at: 56),
            body: ByteRange(0, scratch.count), part: part)
        return LoggedEntry(
            conversation: head.conversation, entry: entry, bodies: scratch.block(), offset: offset,
            bytes: start + partBytes)
    }

    private static func identifier(_ bytes: RawSpan, at offset: Int) -> Identifier {
        Identifier(high: bytes.load64(at: offset), low: bytes.load64(at: offset + 8))
    }
}

/// The entries of one unit, and where they stand in `log`: from `offset` on, one behind the other.
struct LoggedUnit {
    let conversation: Identifier
    let entries: [StoredEntry]
    let bodies: ByteBlock
    var row: Int64 = 0
    var offset = 0
}

/// An entry as a row of `log` has it.
struct LoggedEntry {
    let conversation: Identifier
    let entry: StoredEntry
    /// Its body and nothing else.
    let bodies: ByteBlock
    /// Where it stands in its row.
    let offset: Int
    let bytes: Int

    var body: ByteSlice { ByteSlice(bodies) }

    /// SQL: the bytes of the entry that the row `place` of `entries` names.
    static let column = """
        (SELECT substr(log.entries, place.offset + 1, place.bytes) FROM log
        WHERE log.number = place.row)
        """
    /// SQL: the bytes of the entry at a place: row, offset, bytes.
    static let query = "SELECT substr(entries, ?2 + 1, ?3) FROM log WHERE number = ?1"
}

extension SQLiteStatement {
    func bind(_ place: LogPlace) {
        bind(1, place.row)
        bind(2, UInt64(place.offset))
        bind(3, UInt64(place.bytes))
    }

    /// The entry in the first column.
    func loggedEntry(
        _ scratch: ByteWriter, _ progress: LogProgress = .none
    ) throws(SQLiteError) -> LoggedEntry {
        guard let found = LogCoding.entry(bytes(0), scratch, progress) else {
            throw SQLiteError(
                code: SQLiteError.corruption,
                message: "the message store is damaged: an entry cannot be read from its log")
        }
        return found
    }
}

extension StoredEntry {
    /// The column `flags` of `entries`: 1 inbound, 2 accepted only, 8 internal.
    var storedFlags: UInt8 {
        (isInbound ? 1 : 0) | (isAcceptedOnly ? 2 : 0) | (isInternal ? Self.internalFlag : 0)
    }

    static let internalFlag: UInt8 = 8
}

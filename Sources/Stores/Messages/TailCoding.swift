// What a row of `tail` holds: the entries of one or more commit units, one behind the other.
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
//            32  u64  id, low              73  u8   flags: 1 inbound, 2 accepted only, 4 has a key
//            40  u64  created at, ms       74  u16  0
//                                          76  u32  bytes of the body
//            80       with a key: u64 digest, high; u64 digest, low; u64 fingerprint
//            80 or 104  the body

import Bytes
import ChatModel

enum TailCoding {
    static let format: UInt32 = 1
    static let headBytes = 8
    static let entryBytes = 80
    static let keyBytes = 24

    struct Decoded {
        let conversation: Identifier
        let entry: StoredEntry
    }

    static func byteCount(of entry: StoredEntry) -> Int {
        entryBytes + (entry.idempotency == nil ? 0 : keyBytes) + entry.body.count
    }

    static func byteCount(of unit: TailUnit) -> Int {
        unit.entries.reduce(0) { $0 + byteCount(of: $1) }
    }

    // MARK: Writing

    /// Replaces what `writer` holds by the row of these units.
    static func write(_ units: ArraySlice<TailUnit>, into writer: ByteWriter) {
        writer.removeAll()
        let count = units.reduce(0) { $0 + $1.entries.count }
        writer.append(upTo: headBytes) { output in
            append(format, to: &output)
            append(UInt32(count), to: &output)
        }
        for unit in units {
            for entry in unit.entries {
                write(entry, of: unit.conversation, into: writer)
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
            append(UInt32(entry.body.count), to: &output)
            if let key = entry.idempotency {
                append(key.high, to: &output)
                append(key.low, to: &output)
                append(entry.fingerprint, to: &output)
            }
        }
        writer.append(entry.body)
    }

    @inline(__always)
    private static func append<Number: FixedWidthInteger & BitwiseCopyable>(
        _ number: Number, to output: inout OutputRawSpan
    ) {
        // Safety: an integer has no padding, so every byte that is appended is initialised.
        unsafe output.append(number.littleEndian, as: Number.self)
    }

    // MARK: Reading

    /// The entries of a row in their order; nil when the bytes are not what `write` makes.
    static func read(_ row: RawSpan) -> [Decoded]? {
        guard row.byteCount >= headBytes, row.load32(at: 0) == format else { return nil }
        let count = Int(row.load32(at: 4))
        // A count that cannot be true must not reserve memory.
        guard count <= (row.byteCount - headBytes) / entryBytes else { return nil }
        var found: [Decoded] = []
        found.reserveCapacity(count)
        var offset = headBytes
        for _ in 0..<count {
            guard let next = entry(row, at: &offset) else { return nil }
            found.append(next)
        }
        return offset == row.byteCount ? found : nil
    }

    private static func entry(_ row: RawSpan, at offset: inout Int) -> Decoded? {
        guard row.byteCount - offset >= entryBytes else { return nil }
        let head = row.extracting(offset..<offset + entryBytes)
        let flags = head.byte(at: 73)
        guard let kind = EntryKind(rawValue: head.byte(at: 72)), flags < 8, head.load16(at: 74) == 0
        else { return nil }
        let hasKey = flags & 4 != 0
        let bodyStart = offset + entryBytes + (hasKey ? keyBytes : 0)
        let bodyBytes = Int(head.load32(at: 76))
        guard bodyStart <= row.byteCount, bodyBytes <= row.byteCount - bodyStart else { return nil }
        var key: Digest?
        var fingerprint: UInt64 = 0
        if hasKey {
            let start = offset + entryBytes
            key = Digest(high: row.load64(at: start), low: row.load64(at: start + 8))
            fingerprint = row.load64(at: start + 16)
        }
        offset = bodyStart + bodyBytes
        return Decoded(
            conversation: identifier(head, at: 0),
            entry: StoredEntry(
                id: identifier(head, at: 24), seq: head.load64(at: 16), kind: kind,
                isInbound: flags & 1 != 0, isAcceptedOnly: flags & 2 != 0,
                createdAtMilliseconds: head.load64(at: 40), idempotency: key,
                fingerprint: fingerprint, answersSeq: head.load64(at: 48),
                session: identifier(head, at: 56),
                body: ByteBlock(copying: row.extracting(bodyStart..<offset))))
    }

    private static func identifier(_ bytes: RawSpan, at offset: Int) -> Identifier {
        Identifier(high: bytes.load64(at: offset), low: bytes.load64(at: offset + 8))
    }
}

extension StoredEntry {
    /// The column `flags` of `entries`: 1 inbound, 2 accepted only.
    var storedFlags: UInt8 { (isInbound ? 1 : 0) | (isAcceptedOnly ? 2 : 0) }
}

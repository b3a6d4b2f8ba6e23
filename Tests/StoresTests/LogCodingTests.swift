import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct LogCodingTests {
    /// An entry whose body is what `Entry.write` makes around a part of so many bytes.
    private func draft(
        _ random: inout Random, _ conversation: Identifier, partBytes: Int, hasKey: Bool
    ) -> Draft {
        let head = EntryHead(
            id: Identifier(high: random.next(), low: random.next()), conversation: conversation,
            seq: random.next(), kind: EntryKind(rawValue: UInt8(random.next() % 9)) ?? .message,
            isInbound: random.next() & 1 == 0, isInternal: random.next() & 3 == 0,
            createdAtMilliseconds: random.next() >> 20)
        let part = ByteBlock((0..<partBytes).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        let writer = ByteWriter()
        let range = head.write(around: part.bytes, into: writer)
        let stored = StoredEntry(
            id: head.id, seq: head.seq, kind: head.kind, isInbound: head.isInbound,
            isAcceptedOnly: random.next() & 1 == 0, isInternal: head.isInternal,
            createdAtMilliseconds: head.createdAtMilliseconds,
            idempotency: hasKey ? Digest(high: random.next(), low: random.next()) : nil,
            fingerprint: hasKey ? random.next() : 0, answersSeq: random.next(),
            session: Identifier(high: random.next(), low: random.next()), body: .empty, part: range)
        return Draft(stored: stored, body: writer.block())
    }

    private func drafts(_ seed: UInt64, _ sizes: [[Int]]) -> [(Identifier, [Draft])] {
        var random = Random(seed: seed)
        return sizes.map { sizes in
            let conversation = Identifier(high: random.next(), low: random.next())
            return (
                conversation,
                sizes.map {
                    draft(&random, conversation, partBytes: $0, hasKey: random.next() & 1 == 0)
                }
            )
        }
    }

    private func written(_ units: [(Identifier, [Draft])]) -> [UInt8] {
        let writer = ByteWriter(capacity: 16)
        let logged = units.map { conversation, drafts in
            let (entries, bodies) = drafts.placed
            return LoggedUnit(conversation: conversation, entries: entries, bodies: bodies)
        }
        LogCoding.write(logged[...], into: writer)
        let bytes = writer.bytes
        return (0..<bytes.byteCount).map { bytes.byte(at: $0) }
    }

    private func read(_ bytes: [UInt8]) -> [LoggedEntry]? {
        let block = ByteBlock(bytes)
        return LogCoding.read(block.bytes, ByteWriter())
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `What is written is read back, field by field`(_ seed: UInt64) throws {
        let units = drafts(seed, [[0, 1, 2000], [17], [], [300, 65_536]])
        let bytes = written(units)
        let wanted = units.flatMap { unit in unit.1.map { (unit.0, $0) } }
        let size = LogCoding.byteCount(of: wanted.map(\.1.stored))
        #expect(bytes.count == LogCoding.headBytes + size)
        let found = try #require(read(bytes))
        #expect(found.count == wanted.count)
        var offset = LogCoding.headBytes
        for (found, wanted) in zip(found, wanted) {
            #expect(found.conversation == wanted.0)
            #expect(found.offset == offset)
            #expect(found.bytes == LogCoding.byteCount(of: wanted.1.stored))
            offset += found.bytes
            let (a, b) = (found.entry, wanted.1.stored)
            #expect(
                a.id == b.id && a.seq == b.seq && a.kind == b.kind && a.isInbound == b.isInbound)
            #expect(a.isAcceptedOnly == b.isAcceptedOnly && a.answersSeq == b.answersSeq)
            #expect(a.createdAtMilliseconds == b.createdAtMilliseconds && a.session == b.session)
            #expect(a.idempotency == b.idempotency && a.fingerprint == b.fingerprint)
            #expect(found.bodies.equals(wanted.1.body) && a.part == b.part)
        }
    }

    @Test func `An entry is read from the bytes of its place alone`() throws {
        let units = drafts(9, [[5, 0], [700]])
        let bytes = written(units)
        for wanted in try #require(read(bytes)) {
            let place = ByteBlock(Array(bytes[wanted.offset..<wanted.offset + wanted.bytes]))
            let found = LogCoding.entry(place.bytes, ByteWriter())
            guard let found else { return #expect(Bool(false), "it cannot be read") }
            #expect(found.entry.seq == wanted.entry.seq && found.bodies.equals(wanted.bodies))
            for count in 0..<place.count {
                let short = ByteBlock(copying: place.bytes.extracting(0..<count))
                let refused = LogCoding.entry(short.bytes, ByteWriter()) == nil
                #expect(refused)
            }
        }
    }

    @Test func `The layout is the documented one`() {
        let stored = StoredEntry(
            id: Identifier(high: 0x0304, low: 5), seq: 0x0102, kind: .run, isInbound: true,
            isAcceptedOnly: true, createdAtMilliseconds: 6, idempotency: Digest(high: 10, low: 11),
            fingerprint: 12, answersSeq: 7, session: Identifier(high: 8, low: 9),
            body: .empty, part: ByteRange(1, 2))
        let draft = Draft(stored: stored, body: ByteBlock("axb"))
        var wanted: [UInt8] = [1, 0, 0, 0, 1, 0, 0, 0]
        for word in [1, 2, 0x0102, 0x0304, 5, 6, 7, 8, 9] as [UInt64] {
            wanted += (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        wanted += [8, 7, 0, 0, 1, 0, 0, 0]
        for word in [10, 11, 12] as [UInt8] { wanted += [word, 0, 0, 0, 0, 0, 0, 0] }
        #expect(written([(Identifier(high: 1, low: 2), [draft])]) == wanted + [0x78])
    }

    @Test func `A row that ends anywhere too early, or goes on, is refused`() {
        let bytes = written(drafts(3, [[5, 0], [40], [0]]))
        #expect(read(bytes) != nil)
        for count in 0..<bytes.count { #expect(read(Array(bytes[..<count])) == nil) }
        #expect(read(bytes + [0]) == nil)
        #expect(read(bytes + bytes) == nil)
    }

    @Test func `A row with values that are never written is refused`() {
        let bytes = written(drafts(4, [[5], [9]]))
        for (offset, value) in [
            (0, 2), (1, 1), (4, 1), (4, 3), (7, 0xFF), (8 + 72, 9), (8 + 73, 16),
            (8 + 73, 0xFF), (8 + 74, 1), (8 + 75, 1), (8 + 79, 0xFF),
        ] as [(Int, UInt8)] {
            var damaged = bytes
            damaged[offset] = value
            #expect(read(damaged) == nil, "byte \(offset) as \(value)")
        }
    }

    @Test func `No damage of one byte makes the reader leave the row`() {
        let bytes = written(drafts(5, [[5, 30], [9]]))
        for offset in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[offset] ^= 1 << bit
                if let found = read(damaged) { #expect(found.count == 3) }
            }
        }
    }
}

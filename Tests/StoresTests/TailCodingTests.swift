import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct TailCodingTests {
    private func entry(_ random: inout Random, bodyBytes: Int, hasKey: Bool) -> StoredEntry {
        StoredEntry(
            id: Identifier(high: random.next(), low: random.next()), seq: random.next(),
            kind: EntryKind(rawValue: UInt8(random.next() % 9)) ?? .message,
            isInbound: random.next() & 1 == 0, isAcceptedOnly: random.next() & 1 == 0,
            createdAtMilliseconds: random.next(),
            idempotency: hasKey ? Digest(high: random.next(), low: random.next()) : nil,
            fingerprint: hasKey ? random.next() : 0, answersSeq: random.next(),
            session: Identifier(high: random.next(), low: random.next()),
            body: ByteBlock((0..<bodyBytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }))
    }

    private func units(_ seed: UInt64, _ sizes: [[Int]]) -> [TailUnit] {
        var random = Random(seed: seed)
        return sizes.map { sizes in
            TailUnit(
                conversation: Identifier(high: random.next(), low: random.next()),
                entries: sizes.map {
                    entry(&random, bodyBytes: $0, hasKey: random.next() & 1 == 0)
                }, row: 7)
        }
    }

    private func written(_ units: [TailUnit]) -> [UInt8] {
        let writer = ByteWriter(capacity: 16)
        TailCoding.write(units[...], into: writer)
        let bytes = writer.bytes
        return (0..<bytes.byteCount).map { bytes.byte(at: $0) }
    }

    private func read(_ bytes: [UInt8]) -> [TailCoding.Decoded]? {
        let block = ByteBlock(bytes)
        return TailCoding.read(block.bytes)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `What is written is read back, field by field`(_ seed: UInt64) throws {
        let units = units(seed, [[0, 1, 2000], [17], [], [300, 65_536]])
        let bytes = written(units)
        let size = units.reduce(TailCoding.headBytes) { $0 + TailCoding.byteCount(of: $1) }
        #expect(bytes.count == size)
        let found = try #require(read(bytes))
        let wanted = units.flatMap { unit in unit.entries.map { (unit.conversation, $0) } }
        #expect(found.count == wanted.count)
        for (found, wanted) in zip(found, wanted) {
            #expect(found.conversation == wanted.0)
            let (a, b) = (found.entry, wanted.1)
            #expect(
                a.id == b.id && a.seq == b.seq && a.kind == b.kind && a.isInbound == b.isInbound)
            #expect(a.isAcceptedOnly == b.isAcceptedOnly && a.answersSeq == b.answersSeq)
            #expect(a.createdAtMilliseconds == b.createdAtMilliseconds && a.session == b.session)
            #expect(a.idempotency == b.idempotency && a.fingerprint == b.fingerprint)
            #expect(a.body.equals(b.body))
        }
    }

    @Test func `The layout is the documented one`() {
        let entry = StoredEntry(
            id: Identifier(high: 0x0304, low: 5), seq: 0x0102, kind: .run, isInbound: true,
            isAcceptedOnly: true, createdAtMilliseconds: 6, idempotency: Digest(high: 10, low: 11),
            fingerprint: 12, answersSeq: 7, session: Identifier(high: 8, low: 9),
            body: ByteBlock("x"))
        let unit = TailUnit(conversation: Identifier(high: 1, low: 2), entries: [entry], row: 1)
        var wanted: [UInt8] = [1, 0, 0, 0, 1, 0, 0, 0]
        for word in [1, 2, 0x0102, 0x0304, 5, 6, 7, 8, 9] as [UInt64] {
            wanted += (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        wanted += [8, 7, 0, 0, 1, 0, 0, 0]
        for word in [10, 11, 12] as [UInt8] { wanted += [word, 0, 0, 0, 0, 0, 0, 0] }
        #expect(written([unit]) == wanted + [0x78])
    }

    @Test func `A row that ends anywhere too early, or goes on, is refused`() {
        let bytes = written(units(3, [[5, 0], [40], [0]]))
        #expect(read(bytes) != nil)
        for count in 0..<bytes.count { #expect(read(Array(bytes[..<count])) == nil) }
        #expect(read(bytes + [0]) == nil)
        #expect(read(bytes + bytes) == nil)
    }

    @Test func `A row with values that are never written is refused`() {
        let bytes = written(units(4, [[5], [9]]))
        for (offset, value) in [
            (0, 2), (1, 1), (4, 1), (4, 3), (7, 0xFF), (8 + 72, 9), (8 + 73, 8),
            (8 + 73, 0xFF), (8 + 74, 1), (8 + 75, 1), (8 + 79, 0xFF),
        ] as [(Int, UInt8)] {
            var damaged = bytes
            damaged[offset] = value
            #expect(read(damaged) == nil, "byte \(offset) as \(value)")
        }
    }

    @Test func `No damage of one byte makes the reader leave the row`() {
        let bytes = written(units(5, [[5, 30], [9]]))
        for offset in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[offset] ^= 1 << bit
                if let found = read(damaged) { #expect(found.count == 3) }
            }
        }
    }
}

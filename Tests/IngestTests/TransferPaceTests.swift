import Testing

@testable import Ingest

/// At each look, whether the pace was kept.
private func kept(bytesPerWindow: UInt32, from start: UInt32, _ counts: [UInt32]) -> [Bool] {
    var pace = TransferPace(bytesPerWindow: bytesPerWindow, countedBytes: start)
    return counts.map { pace.isKept(countedBytes: $0) }
}

@Suite struct TransferPaceTests {
    @Test func `Each window needs its own bytes, and what came before is no credit`() {
        let found = kept(bytesPerWindow: 100, from: 1000, [1100, 1500, 1599])
        #expect(found == [true, true, false])
    }

    @Test func `A window that was missed does not count for the next`() {
        #expect(kept(bytesPerWindow: 10, from: 0, [9, 18, 28]) == [false, false, true])
    }

    @Test func `The count may wrap around`() {
        #expect(kept(bytesPerWindow: 10, from: .max - 3, [6, 15]) == [true, false])
    }
}

import Testing

@testable import Ingest

private let second: UInt64 = 1_000_000_000

/// Which of the frames that come at these times are within the budget.
private func taken(perSecond: Int, burst: Int, _ times: [UInt64]) -> [Bool] {
    var budget = FrameBudget(perSecond: perSecond, burst: burst)
    return times.map { budget.take(nowNanoseconds: $0) }
}

@Suite struct FrameBudgetTests {
    @Test func `So many come at once and no more`() {
        let tenth = second / 10
        let times = [5, 5, 5, 5, 5 + tenth - 1, 5 + tenth, 5 + tenth]
        #expect(
            taken(perSecond: 10, burst: 3, times) == [true, true, true, false, false, true, false])
    }

    @Test func `A refused frame takes nothing`() {
        let times = [0] + [UInt64](repeating: 1, count: 1000) + [second / 10]
        let found = taken(perSecond: 10, burst: 1, times)
        #expect(found.first == true && found.last == true)
        #expect(found.filter { $0 }.count == 2)
    }

    @Test func `The sustained rate may go on for ever`() {
        let found = taken(perSecond: 100, burst: 1, (0..<10_000).map { $0 * second / 100 })
        #expect(found.allSatisfy { $0 })
    }

    @Test func `A pause gives the whole burst back, and not more`() {
        let now = [UInt64](repeating: 0, count: 10)
        let later = [UInt64](repeating: 3600 * second, count: 10)
        let found = taken(perSecond: 10, burst: 4, now + later)
        #expect(found.prefix(10).filter { $0 }.count == 4)
        #expect(found.suffix(10).filter { $0 }.count == 4)
    }
}

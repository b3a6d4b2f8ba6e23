import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct FoldLedgerTests {
    private func rules(_ change: (inout FoldRules) -> Void = { _ in }) -> FoldRules {
        var rules = FoldRules()
        rules.readyEntries = 4
        change(&rules)
        return rules
    }

    private func unit(_ conversation: UInt64, _ seqs: ClosedRange<UInt64>, row: Int64) -> LoggedUnit
    {
        let log = Log()
        return LoggedUnit(
            conversation: Identifier(high: 0, low: conversation),
            entries: seqs.map { log.entry($0).stored }, bodies: ByteBlock(""), row: row)
    }

    private func id(_ number: UInt64) -> Identifier { Identifier(high: 0, low: number) }

    /// The fold of all of a conversation's entries, given by row.
    private func fold(_ conversation: UInt64, _ units: [LoggedUnit]) -> Fold {
        var fold = Fold()
        var log = FoldedLog(conversation: id(conversation))
        for unit in units where unit.conversation == id(conversation) {
            log.entries += unit.entries.count
            for _ in unit.entries { fold.count(unit.row) }
        }
        fold.logs = [log]
        fold.entries = log.entries
        return fold
    }

    @Test func `A conversation is ready at its number of entries, and once`() {
        var ledger = FoldLedger(rules: rules())
        for row in 1...3 as ClosedRange<Int64> {
            let seq = UInt64(row)
            ledger.didAppend([unit(1, seq...seq, row: row)], row: row)
        }
        #expect(ledger.candidates(limit: 9) == [])
        ledger.didAppend([unit(1, 4...4, row: 4), unit(2, 1...1, row: 4)], row: 4)
        ledger.didAppend([unit(1, 5...9, row: 5)], row: 5)
        #expect(ledger.candidates(limit: 9) == [id(1)])
        #expect(ledger.head(of: id(1)) == 9 && ledger.head(of: id(2)) == 1)
        #expect(ledger.head(of: id(3)) == nil)
    }

    @Test func `A row is folded with the last of its entries, and all before it must be`() {
        var ledger = FoldLedger(rules: rules())
        let units = [unit(1, 1...3, row: 1), unit(2, 1...1, row: 1), unit(1, 4...4, row: 2)]
        ledger.didAppend(units[..<2], row: 1)
        ledger.didAppend(units[2...], row: 2)
        #expect(ledger.nextRow == 3 && ledger.entries == 5 && ledger.foldedThrough == 0)
        let first = fold(1, units)
        ledger.didFold(first)
        #expect(ledger.entries == 1 && ledger.foldedThrough == 0)
        #expect(ledger.candidates(limit: 9) == [], "it is not ready any more")
        #expect(ledger.candidates(limit: 9, all: true) == [id(2)])
        ledger.didFold(fold(2, units))
        #expect(ledger.isEmpty && ledger.foldedThrough == 2 && ledger.nextRow == 3)
    }

    @Test func `Over a bound the oldest rows come first, ready or not`() {
        let bounds: [(inout FoldRules) -> Void] = [
            { $0.tailEntriesMax = 5 }, { $0.tailRowsMax = 2 },
        ]
        for bound in bounds {
            var ledger = FoldLedger(rules: rules(bound))
            ledger.didAppend([unit(7, 1...1, row: 1), unit(8, 1...1, row: 1)], row: 1)
            ledger.didAppend([unit(9, 1...2, row: 2)], row: 2)
            #expect(!ledger.isOverBound && ledger.candidates(limit: 9) == [])
            ledger.didAppend([unit(1, 1...4, row: 3)], row: 3)
            #expect(ledger.isOverBound && !ledger.isFull)
            #expect(ledger.candidates(limit: 9).prefix(3) == [id(7), id(8), id(9)])
            #expect(ledger.candidates(limit: 2) == [id(7), id(8)], "the number is bounded")
        }
    }

    @Test func `At twice a bound the tail is full`() {
        var ledger = FoldLedger(rules: rules { $0.tailEntriesMax = 2 })
        ledger.didAppend([unit(1, 1...4, row: 1)], row: 1)
        #expect(!ledger.isFull)
        ledger.didAppend([unit(2, 1...1, row: 2)], row: 2)
        #expect(ledger.isFull)
    }

    @Test func `A transaction may fold twice what it brings, or a least number`() {
        let ledger = FoldLedger(rules: rules { $0.foldEntries = 100 })
        #expect(ledger.foldLimit() == 100 && ledger.foldLimit(entries: 50) == 100)
        #expect(ledger.foldLimit(entries: 300) == 600)
    }

    @Test func `After a restart rows are numbered on, and folded ones leave no trace`() {
        var ledger = FoldLedger(rules: rules())
        ledger.begin(behind: 41)
        #expect(ledger.nextRow == 42 && ledger.foldedThrough == 41)
        ledger.didAppend([], row: 42)
        #expect(ledger.nextRow == 43 && ledger.foldedThrough == 42 && ledger.isEmpty)
        let open = [unit(1, 1...1, row: 43)]
        ledger.didAppend(open[...], row: 43)
        ledger.didAppend([], row: 44)
        #expect(ledger.nextRow == 45 && ledger.foldedThrough == 42)
        ledger.didFold(fold(1, open))
        #expect(ledger.foldedThrough == 44)
    }

    @Test func `Heads beyond the bound are forgotten, but never those of the tail`() {
        var ledger = FoldLedger(rules: rules { $0.headsMax = 10 })
        ledger.didAppend([unit(1000, 1...3, row: 1)], row: 1)
        for number in 1...11 as ClosedRange<UInt64> { ledger.setHead(of: id(number), to: number) }
        ledger.forgetHeadsBeyondBound()
        #expect(ledger.head(of: id(1)) == nil && ledger.head(of: id(11)) == nil)
        #expect(ledger.head(of: id(1000)) == 3)
        ledger.setHead(of: id(1), to: 5)
        ledger.forgetHeadsBeyondBound()
        #expect(ledger.head(of: id(1)) == 5)
    }

    @Test func `A queue gives back what was taken and keeps its order`() {
        var queue = Fifo<Int>()
        var next = 0
        for number in 0..<10_000 {
            queue.append(number)
            guard number % 3 != 0 else { continue }
            #expect(queue.first == next && queue[0] == next)
            queue.removeFirst()
            next += 1
        }
        while !queue.isEmpty {
            #expect(queue.first == next)
            queue.removeFirst()
            next += 1
        }
        #expect(next == 10_000 && queue.first == nil)
    }
}

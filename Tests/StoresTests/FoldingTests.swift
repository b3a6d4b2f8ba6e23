import Bytes
import ChatModel
import Glibc
import Testing

@testable import Stores

@Suite struct FoldingTests {
    @Test func `A conversation is folded by the transaction after the one that made it ready`()
        throws
    {
        var rules = FoldRules()
        rules.readyEntries = 3
        let desk = try Desk(rules: rules)
        let (busy, quiet) = (Log(user: "busy"), Log(user: "quiet"))
        _ = desk.commit([busy.first(2), quiet.first()])
        _ = desk.commit(busy.unit([busy.entry(3)]))
        #expect(desk.count("entries") == 0 && desk.inTail([busy, quiet]) == 4)
        _ = desk.commit(busy.unit([busy.entry(4)]))
        #expect(desk.count("entries") == 3, "the unit of the same transaction stays in the tail")
        #expect(desk.inTail([busy]) == 1 && desk.inTail([quiet]) == 1)
        #expect(desk.page(history(busy.row.id))?.seqs == [1, 2, 3, 4])
        #expect(desk.page(history(quiet.row.id))?.seqs == [1])
        desk.fold()
        #expect(desk.count("entries") == 5 && desk.tail.isEmpty)
        #expect(desk.count("log") == 3, "what is folded stays where it was written")
    }

    @Test func `No transaction folds more than its bound`() throws {
        var rules = FoldRules()
        rules.tailEntriesMax = 10
        rules.foldEntries = 7
        let desk = try Desk(rules: rules)
        let log = Log()
        let units =
            [log.first()] + (2...200 as ClosedRange<UInt64>).map { log.unit([log.entry($0)]) }
        // Twice the bound: the commits that follow work it down while they add to it.
        #expect(desk.commit(Array(units[..<20])).areCommitted)
        #expect(desk.count("entries") == 0)
        var folded = 0
        for unit in units[20...] {
            #expect(desk.commit(unit).isCommitted)
            let now = desk.count("entries")
            #expect(now - folded <= 7)
            folded = now
        }
        #expect(desk.writer.ledger.entries <= 11)
        #expect(desk.page(history(log.row.id, limit: 200))?.seqs == Array(1...200))
    }

    @Test func `A batch of many bytes is written as more than one row`() throws {
        var rules = FoldRules.never
        rules.rowBytes = 500
        let desk = try Desk(rules: rules)
        let logs = (0..<20).map { Log(user: "u\($0)") }
        #expect(desk.commit(logs.map { $0.first(2) }).areCommitted)
        #expect(desk.count("log") == 10, "a row is closed by the unit that fills it")
        desk.fold(7)
        for log in logs { #expect(desk.page(history(log.row.id))?.seqs == [1, 2]) }
        try desk.copyAside()
        let again = try Desk(desk.files, name: "copy.db")
        for log in logs { #expect(again.page(history(log.row.id))?.seqs == [1, 2]) }
    }

    /// A statement inserts 16 entries; what is left over goes one by one.
    @Test(arguments: [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 160])
    func `What is folded stands in the table as it was written, however many there are`(
        _ count: Int
    ) throws {
        let desk = try Desk()
        let logs = (0..<3).map { Log(user: "u\($0)") }
        // The entries of three conversations share statements, with and without keys.
        for (index, log) in logs.enumerated() {
            let seqs = 1...UInt64(max(1, index == 0 ? count - 2 : 1))
            let entries = seqs.map { seq in
                log.entry(
                    seq, key: seq % 3 == 0 ? nil : seq << 8 | UInt64(index), fingerprint: seq,
                    answers: seq - 1, isInbound: seq % 2 == 1, text: "\(index) \(seq)")
            }
            #expect(desk.commit(log.unit(entries, .insert)).isCommitted)
        }
        let before = logs.map { desk.page(history($0.row.id, limit: 200))?.text }
        #expect(desk.fold() && desk.tail.isEmpty)
        #expect(desk.count("entries") == max(1, count - 2) + 2 && desk.count("log") == 3)
        #expect(logs.map { desk.page(history($0.row.id, limit: 200))?.text } == before)
        for (index, log) in logs.enumerated() {
            let found = desk.commit(log.unit([log.entry(2, key: 1 << 8 | UInt64(index))]))
            #expect(found.duplicate?.answer.conversation == log.row.id)
            #expect(found.duplicate?.answer.fingerprint == 1)
        }
        let keyed = (1...max(1, count - 2)).count { $0 % 3 != 0 }
        #expect(desk.count("keys") == keyed + 2)
        #expect(desk.count("entries WHERE answers <> seq - 1 OR flags <> seq % 2") == 0)
    }

    @Test func `A store where nobody writes folds everything by itself`() throws {
        var rules = FoldRules()
        rules.idleMilliseconds = 1
        let rig = try Rig(rules: rules)
        let logs = (0..<50).map { Log(user: "u\($0)") }
        _ = rig.commit(logs.map { $0.first(30) })
        var turns = 0
        while !rig.store.tail.isEmpty, turns < 100_000_000 {
            sched_yield()
            turns += 1
        }
        #expect(rig.store.tail.isEmpty)
        let table = try SQLiteConnection(path: rig.files.file("messages.db"), isReadOnly: true)
        let rows = try table.prepare(
            "SELECT (SELECT count(*) FROM entries), (SELECT max(number) FROM log)")
        _ = try rows.step()
        #expect(rows.integer(0) == 1500 && rows.integer(1) > 0)
        for log in logs { #expect(rig.conversation(log.row.id)?.lastSeq == 30) }
    }

    @Test(arguments: [0, 1, 3] as [UInt64])
    func `What was acknowledged is read, whole and once, while it is being folded`(
        _ idle: UInt64
    ) throws {
        var rules = FoldRules.eager
        rules.idleMilliseconds = idle
        rules.foldEntries = 3
        let rig = try Rig(readerCount: 2, rules: rules)
        let logs = (0..<4).map { Log(user: "u\($0)") }
        for seq in 1...120 as ClosedRange<UInt64> {
            for log in logs {
                let unit = log.unit([log.entry(seq)], seq == 1 ? .insert : .none)
                #expect(rig.commit(unit)?.isCommitted == true)
            }
            for log in logs {
                #expect(rig.conversation(log.row.id)?.lastSeq == seq)
                #expect(rig.page(history(log.row.id, limit: 200))?.seqs == Array(1...seq))
                let newest = history(log.row.id, order: .descending, limit: 3)
                #expect(rig.page(newest)?.seqs.first == seq)
            }
            #expect(rig.open(logs[0].user).map(\.lastSeq) == [seq])
        }
        #expect(rig.lines.all == [])
    }

    @Test func `A stop folds everything`() throws {
        let files = TemporaryDirectory()
        let logs = (0..<100).map { Log(user: "u\($0)") }
        let rig = try Rig(files)
        rig.send(logs.map { $0.first(20) }, core: 0)
        rig.stop()
        let table = try SQLiteConnection(path: files.file("messages.db"), isReadOnly: true)
        let rows = try table.prepare(
            """
            SELECT (SELECT count(*) FROM entries),
            (SELECT max(number) FROM log) - (SELECT folded_through FROM progress)
            """)
        _ = try rows.step()
        #expect(rows.integer(0) == 2000 && rows.integer(1) == 0, "nothing is read again")
    }
}

@Suite struct FoldingFaultTests {
    private func broken(_ desk: Desk) throws {
        try desk.connection.run(
            brokenEntries
        )
    }

    @Test func `When folding fails, units are committed all the same, and it is tried again later`()
        throws
    {
        var rules = FoldRules.eager
        rules.pauseMilliseconds = 0
        let desk = try Desk(rules: rules)
        let log = Log()
        _ = desk.commit(log.first())
        try broken(desk)
        for seq in 2...5 as ClosedRange<UInt64> {
            #expect(desk.commit(log.unit([log.entry(seq, key: seq)])).isCommitted)
        }
        #expect(desk.metrics.isWritable.current == 1)
        #expect(desk.lines.all.count == 1, "it is said once")
        #expect(desk.count("entries") == 0)
        #expect(desk.commit(log.unit([log.entry(6, key: 5)])).duplicate?.answer.seq == 5)
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3, 4, 5])
        try desk.connection.run("DROP TRIGGER broken")
        #expect(desk.commit(log.unit([log.entry(6)])).isCommitted)
        #expect(desk.count("entries") == 5)
        #expect(desk.lines.all.count == 2, "and that it works again")
    }

    @Test func `After a fold that failed, commits do not try again for a while`() throws {
        let desk = try Desk(rules: .eager)
        let log = Log()
        _ = desk.commit(log.first())
        try broken(desk)
        for seq in 2...9 as ClosedRange<UInt64> {
            #expect(desk.commit(log.unit([log.entry(seq)])).isCommitted)
        }
        #expect(desk.metrics.failures.current == 1)
    }

    @Test func `A tail that cannot be folded takes units up to its bound, and then none`() throws {
        var rules = FoldRules()
        rules.tailEntriesMax = 10
        rules.pauseMilliseconds = 0
        let desk = try Desk(rules: rules)
        let log = Log()
        _ = desk.commit(log.first())
        try broken(desk)
        var seq: UInt64 = 2
        while desk.commit(log.unit([log.entry(seq)])).isCommitted, seq < 100 { seq += 1 }
        #expect(seq == 22)
        #expect(desk.metrics.isWritable.current == 0)
        #expect(desk.page(history(log.row.id))?.seqs == Array(1..<seq))
        try desk.connection.run("DROP TRIGGER broken")
        #expect(desk.commit(log.unit([log.entry(seq)])).isCommitted)
        #expect(desk.metrics.isWritable.current == 1)
        #expect(desk.page(history(log.row.id))?.seqs == Array(1...seq))
    }

    @Test func `A table that refuses what the tail holds is damaged: nothing more is written`()
        throws
    {
        let desk = try Desk(rules: .eager)
        let (log, other) = (Log(), Log(user: "bob"))
        _ = desk.commit([log.first(), other.first()])
        // Somebody else has written an entry with this seq.
        try desk.connection.run(
            """
            INSERT INTO entries SELECT id, 1, 0, 0, 0, 0, 7, 0, 0 FROM conversations
            WHERE user_id='bob'
            """)
        #expect(desk.commit(log.unit([log.entry(2)])).isUnavailable)
        #expect(desk.commit(log.unit([log.entry(2)])).isUnavailable)
        #expect(!desk.fold())
        #expect(desk.metrics.isWritable.current == 0)
        #expect(desk.lines.all.count == 1)
        #expect(desk.lines.all.first?.contains("damaged") == true)
        #expect(desk.page(history(log.row.id))?.seqs == [1], "what was acknowledged is read")
        #expect(desk.count("log") == 1, "and kept")
        #expect(throws: SQLiteError.self) { try Desk(desk.files) }
    }

    @Test func `On a full database units are refused, nothing is lost, and with room it goes on`()
        throws
    {
        var rules = FoldRules.eager
        rules.pauseMilliseconds = 0
        let desk = try Desk(rules: rules)
        let logs = (0..<8).map { Log(user: "u\($0)") }
        var heads = logs.map { _ in 1 as UInt64 }
        #expect(desk.commit(logs.map { $0.first() }).areCommitted)
        let text = String(repeating: "x", count: 3000)
        for pages in [60, 80, 100] {
            try desk.connection.run("PRAGMA max_page_count=\(pages)")
            var refused = 0
            while refused < 20 {
                for (index, log) in logs.enumerated() {
                    let unit = log.unit([log.entry(heads[index] + 1, text: text)])
                    let outcome = desk.commit(unit)
                    #expect(outcome.isCommitted || outcome.isUnavailable)
                    if outcome.isCommitted { heads[index] += 1 } else { refused += 1 }
                }
            }
            #expect(desk.metrics.isWritable.current == 0)
            for (index, log) in logs.enumerated() {
                #expect(desk.page(history(log.row.id, limit: 200))?.seqs == Array(1...heads[index]))
            }
        }
        try desk.connection.run("PRAGMA max_page_count=100000")
        for (index, log) in logs.enumerated() {
            #expect(desk.commit(log.unit([log.entry(heads[index] + 1)])).isCommitted)
        }
        desk.fold()
        #expect(desk.tail.isEmpty && desk.metrics.isWritable.current == 1)
        #expect(desk.count("entries") == Int(heads.reduce(0, +)) + 8)
    }
}

@Suite struct RecoveryTests {
    @Test(arguments: 0...12)
    func `After a crash everything that was acknowledged is there once, however much was folded`(
        _ folded: Int
    ) throws {
        let desk = try Desk()
        let logs = (0..<3).map { Log(user: "u\($0)") }
        for seq in 1...4 as ClosedRange<UInt64> {
            let change: RowChange = seq == 1 ? .insert : .none
            let units = logs.enumerated().map { index, log in
                log.unit([log.entry(seq, key: seq * 10 + UInt64(index))], change)
            }
            #expect(desk.commit(units).areCommitted)
        }
        if folded > 0 { desk.fold(folded) }
        try desk.copyAside()
        let again = try Desk(desk.files, name: "copy.db")
        #expect(again.count("entries") == 12 && again.tail.isEmpty)
        for (index, log) in logs.enumerated() {
            #expect(again.page(history(log.row.id))?.seqs == [1, 2, 3, 4])
            let key = UInt64(30 + index)
            #expect(again.commit(log.unit([log.entry(5, key: key)])).duplicate?.answer.seq == 3)
            #expect(again.commit(log.unit([log.entry(4)])).conflictSeq == 4)
            #expect(again.commit(log.unit([log.entry(5)])).isCommitted)
        }
    }

    private func crashed() throws -> (files: TemporaryDirectory, log: Log) {
        let desk = try Desk()
        let log = Log()
        _ = desk.commit([log.first(2), Log(user: "bob").first()])
        _ = desk.commit(log.unit([log.entry(3)]))
        desk.fold(1)
        try desk.copyAside()
        return (desk.files, log)
    }

    @Test(arguments: [
        "UPDATE log SET entries=x'00'",
        "UPDATE log SET entries=substr(entries, 1, length(entries)-1)",
        "UPDATE log SET number=number+100000000 WHERE number=2", "DELETE FROM log WHERE number=1",
        "DELETE FROM log WHERE number=1; DELETE FROM entries",
        "UPDATE entries SET row=2", "UPDATE entries SET offset=offset+1",
        "UPDATE entries SET bytes=bytes-1",
        "UPDATE log SET entries=x'0200000000000000' WHERE number=2",
        "UPDATE entries SET seq=seq+1",
    ])
    func `A tail that is damaged, or does not fit the table, is refused and kept`(
        _ damage: String
    )
        throws
    {
        let (files, _) = try crashed()
        let outside = try SQLiteConnection(path: files.file("copy.db"))
        try outside.run(damage)
        #expect(throws: SQLiteError.self) { try Desk(files, name: "copy.db") }
        let rows = try outside.prepare("SELECT count(*) FROM log")
        _ = try rows.step()
        #expect(rows.integer(0) > 0)
    }

    @Test(arguments: ["DELETE FROM progress", "DELETE FROM entries", "DELETE FROM keys"])
    func `What the log says is made good from it`(_ damage: String) throws {
        let (files, log) = try crashed()
        let outside = try SQLiteConnection(path: files.file("copy.db"))
        try outside.run(damage)
        let desk = try Desk(files, name: "copy.db")
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3])
        #expect(desk.count("entries") == 4 && desk.tail.isEmpty)
    }

    @Test func `After a clean end nothing is read again, and numbers go on`() throws {
        var desk = try Desk()
        let log = Log()
        #expect(desk.commit(log.first()).isCommitted)
        for seq in 2...5 as ClosedRange<UInt64> {
            desk.writer.finish()
            #expect(desk.writer.progress == Int64(seq) - 1)
            let files = desk.files
            desk = try Desk(files)
            #expect(desk.lines.all == [])
            #expect(desk.commit(log.unit([log.entry(seq)])).isCommitted)
        }
        #expect(desk.count("log") == 5)
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3, 4, 5])
    }

    @Test func `An entry that the log has lost is an error, and no hole in a page`() throws {
        let desk = try Desk()
        let log = Log()
        #expect(desk.commit(log.first()).isCommitted)
        #expect(desk.commit(log.unit([log.entry(2, key: 7)])).isCommitted)
        for isFolded in [false, true] {
            if isFolded { desk.fold() }
            try desk.connection.run("UPDATE log SET entries=x'' WHERE number=2")
            #expect(desk.page(history(log.row.id))?.problem?.code == .temporarilyUnavailable)
            #expect(desk.page(history(log.row.id, limit: 1))?.seqs == [])
            #expect(desk.commit(log.unit([log.entry(3, key: 7)])).isUnavailable)
            #expect(desk.lines.all.contains { $0.contains("damaged") })
        }
    }

    @Test func `A tail that cannot be folded at the start is served from memory`() throws {
        let (files, log) = try crashed()
        let outside = try SQLiteConnection(path: files.file("copy.db"))
        try outside.run(
            brokenEntries
        )
        let desk = try Desk(files, name: "copy.db")
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3])
        #expect(desk.commit(log.unit([log.entry(4)])).isCommitted)
        #expect(desk.commit(log.unit([log.entry(3)])).conflictSeq == 4)
        try outside.run("DROP TRIGGER broken")
        #expect(desk.fold() && desk.tail.isEmpty)
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3, 4])
    }
}

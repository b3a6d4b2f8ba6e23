// The store against a model of it: dictionaries and arrays. Folds, crashes and commits come at
// random.

import Bytes
import ChatModel
import Testing

@testable import Stores

private struct Model {
    var logs: [Log] = []
    var entries: [[Draft]] = []
    var keys: [UInt64: (log: Int, place: Int)] = [:]

    func reply(_ log: Int, _ place: Int) -> String? {
        if entries[log][place].isAcceptedOnly { return nil }
        let seq = entries[log][place].seq
        return entries[log][(place + 1)...].first { $0.answersSeq == seq && $0.kind == .message }?
            .body.text
    }
}

@Suite struct StoreModelTests {
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `The store answers as the model does, whatever is folded when`(_ seed: UInt64) throws {
        var random = Random(seed: seed)
        var model = Model()
        var rules = FoldRules()
        rules.readyEntries = 1 + Int(random.next() % 12)
        rules.tailEntriesMax = 5 + Int(random.next() % 60)
        rules.foldEntries = 1 + Int(random.next() % 20)
        rules.rowBytes = 200 + Int(random.next() % 4000)
        rules.headsMax = Int(random.next() % 8)
        var desk = try Desk(rules: rules)
        for _ in 0..<6 { model.logs.append(Log(user: "u\(model.logs.count)")) }
        model.entries = model.logs.map { _ in [] }
        for step in 0..<120 {
            switch random.next() % 10 {
            case 0: desk.fold(Int(random.next() % 12))
            case 1 where step % 3 == 0:
                try desk.copyAside()
                let files = desk.files
                desk = try reopened(files, desk, rules)
            case 2, 3, 4: check(desk, model, &random)
            default: commit(desk, &model, &random)
            }
        }
        for log in model.logs.indices { checkAll(desk, model, log) }
        desk.fold()
        for log in model.logs.indices { checkAll(desk, model, log) }
        #expect(desk.count("entries") == model.entries.reduce(0) { $0 + $1.count })
        #expect(desk.tail.isEmpty)
    }

    /// The old files give way to those that a crash left.
    private func reopened(
        _ files: TemporaryDirectory, _ old: Desk, _ rules: FoldRules
    ) throws -> Desk {
        let fresh = TemporaryDirectory()
        for suffix in ["", "-wal"] {
            writeFile(fresh.file("messages.db" + suffix), readFile(files.file("copy.db" + suffix)))
        }
        return try Desk(fresh, rules: rules)
    }

    private func commit(_ desk: Desk, _ model: inout Model, _ random: inout Random) {
        var units: [CommitUnit] = []
        var wanted: [String] = []
        for _ in 0...(random.next() % 6) {
            let (unit, outcome) = next(&model, &random)
            units.append(unit)
            wanted.append(outcome)
        }
        let outcomes = desk.commit(units)
        #expect(outcomes.map(told) == wanted)
    }

    private func told(_ outcome: CommitOutcome) -> String {
        switch outcome {
        case .committed: "committed"
        case .conflict(let seq): "conflict \(seq)"
        case .unavailable: "unavailable"
        case .duplicate(let index, let answer):
            "duplicate \(index) \(answer.message.text) \(answer.reply?.text ?? "none") "
                + "\(answer.fingerprint)"
        }
    }

    /// A unit, right or wrong, and what must become of it.
    private func next(_ model: inout Model, _ random: inout Random) -> (CommitUnit, String) {
        let place = Int(random.next() % UInt64(model.logs.count))
        let log = model.logs[place]
        let head = UInt64(model.entries[place].count)
        let change: RowChange = head == 0 ? .insert : .none
        let isWrong = random.next() % 8 == 0
        let first = isWrong ? head + 2 + random.next() % 2 : head + 1
        let key = random.next() % 3 == 0 ? nil : random.next() % 200
        var message = log.entry(first, key: key, fingerprint: random.next())
        message.isAcceptedOnly = random.next() % 4 == 0
        var entries = [message]
        if random.next() % 2 == 0 {
            entries.append(log.entry(first + 1, answers: first, isInbound: false))
        }
        if random.next() % 4 == 0 {
            // A late reply to something earlier.
            let seq = head == 0 ? 0 : 1 + random.next() % head
            entries.append(
                log.entry(entries[entries.count - 1].seq + 1, answers: seq, isInbound: false))
        }
        let unit = log.unit(entries, change)
        if let key, let found = model.keys[key] {
            let stored = model.entries[found.log][found.place]
            let reply = model.reply(found.log, found.place) ?? "none"
            return (unit, "duplicate 0 \(stored.body.text) \(reply) \(stored.fingerprint)")
        }
        if isWrong { return (unit, "conflict \(head)") }
        if let key { model.keys[key] = (place, model.entries[place].count) }
        model.entries[place] += entries
        return (unit, "committed")
    }

    private func check(_ desk: Desk, _ model: Model, _ random: inout Random) {
        let log = Int(random.next() % UInt64(model.logs.count))
        guard !model.entries[log].isEmpty else { return }
        let seqs = Array(1...UInt64(model.entries[log].count))
        let after = random.next() % UInt64(seqs.count + 2)
        let before = random.next() % UInt64(seqs.count + 3)
        let limit = 1 + Int(random.next() % 9)
        let order: PageOrder = random.next() & 1 == 0 ? .ascending : .descending
        let inside = seqs.filter { $0 > after && $0 < before }
        let wanted = Array((order == .ascending ? inside : inside.reversed()).prefix(limit))
        let job = history(
            model.logs[log].row.id, order: order, after: after, before: before, limit: limit)
        #expect(desk.page(job)?.seqs == wanted)
        #expect(desk.conversation(model.logs[log].row.id)?.lastSeq == seqs.last)
    }

    private func checkAll(_ desk: Desk, _ model: Model, _ log: Int) {
        let page = desk.page(history(model.logs[log].row.id, limit: 1000))
        guard !model.entries[log].isEmpty else {
            #expect(page?.problem?.code == .notFound)
            return
        }
        let bodies = model.entries[log].map(\.body.text).joined(separator: ",")
        #expect(page?.text.contains("\"data\":[\(bodies)]") == true)
    }
}

import Bytes
import ChatModel
import Testing

@testable import Stores

/// A log of ten entries of which the first so many are in the table.
@Suite struct TailReadTests {
    private func filled(_ folded: Int) throws -> (desk: Desk, log: Log) {
        let desk = try Desk()
        let log = Log()
        for seq in 1...10 as ClosedRange<UInt64> {
            let unit = log.unit(
                [log.entry(seq, isInbound: seq % 4 == 1)], seq == 1 ? .insert : .none)
            #expect(desk.commit(unit).isCommitted)
        }
        if folded > 0 { #expect(desk.fold(folded)) }
        #expect(desk.count("entries") == folded && desk.inTail([log]) == 10 - folded)
        return (desk, log)
    }

    @Test(arguments: 0...10)
    func `Pages are the same wherever the log is split between table and tail`(_ folded: Int) throws
    {
        let (desk, log) = try filled(folded)
        let bounds: [UInt64?] = [nil, 0, 1, 4, 5, 6, 9, 10, 11, UInt64(Int64.max)]
        for order in [PageOrder.ascending, .descending] {
            for direction in [PageDirection.forward, .backward] {
                for after in bounds {
                    for before in bounds {
                        for limit in [1, 2, 5, 9, 10, 50] {
                            let wanted = page(order, direction, after, before, limit)
                            let job = history(
                                log.row.id, order: order, direction: direction, after: after,
                                before: before, limit: limit)
                            let found = desk.page(job)
                            #expect(found?.seqs == wanted.seqs)
                            #expect(found?.hasMore == (wanted.hasMore || direction == .backward))
                        }
                    }
                }
            }
        }
    }

    private func page(
        _ order: PageOrder, _ direction: PageDirection, _ after: UInt64?, _ before: UInt64?,
        _ limit: Int
    ) -> (seqs: [UInt64], hasMore: Bool) {
        var seqs = Array(1...10 as ClosedRange<UInt64>).filter {
            $0 > after ?? 0 && $0 < before ?? 11
        }
        if (order == .ascending) != (direction == .forward) { seqs.reverse() }
        let hasMore = seqs.count > limit
        seqs = Array(seqs.prefix(limit))
        return (direction == .forward ? seqs : seqs.reversed(), hasMore)
    }

    @Test(arguments: 0...10)
    func `Replays are the same wherever the log is split`(_ folded: Int) throws {
        let (desk, log) = try filled(folded)
        for after in 0...11 as ClosedRange<UInt64> {
            for through in 0...12 as ClosedRange<UInt64> {
                let query = ReplayQuery(
                    origin: origin, conversation: log.row.id, afterSeq: after, throughSeq: through)
                guard case .replayed(let page) = desk.reader.perform(.replay(query)) else { return }
                let wanted = (1...10 as ClosedRange<UInt64>).filter { $0 > after && $0 <= through }
                #expect(page.frames?.count == wanted.count)
                #expect(page.lastSeq == wanted.last ?? after)
            }
        }
    }

    @Test(arguments: 0...10)
    func `Heads, times and what is unread are the same wherever the log is split`(
        _ folded: Int
    ) throws {
        let (desk, log) = try filled(folded)
        #expect(desk.conversation(log.row.id)?.lastSeq == 10)
        guard case .ownerRead(.user(_, let rows)) = desk.reader.perform(.owner(.user(log.user)))
        else { return }
        #expect(rows.map(\.row.lastSeq) == [10])
        let list = ListQuery(
            origin: origin, scope: scope(), filter: ListFilter(), order: .descending,
            direction: .forward, after: nil, before: nil, limit: 5)
        for job in [history(log.row.id), .list(list)] {
            let text = desk.page(job)?.text ?? ""
            #expect(text.contains("\"last_seq\":10,\"unread\":1,"))
            #expect(text.contains("\"updated_at\":\"1970-01-01T00:00:02.010Z\""))
        }
    }

    @Test func `What is unread is counted through the split, up to its bound`() throws {
        let desk = try Desk()
        let log = Log()
        _ = desk.commit(log.first())
        for seq in 2...150 as ClosedRange<UInt64> {
            _ = desk.commit(log.unit([log.entry(seq, isInbound: false)]))
            if seq == 60 {
                #expect(desk.page(history(log.row.id))?.text.contains("\"unread\":59,") == true)
                desk.fold(40)
                #expect(desk.page(history(log.row.id))?.text.contains("\"unread\":59,") == true)
            }
        }
        #expect(desk.page(history(log.row.id))?.text.contains("\"unread\":100,") == true)
        desk.fold()
        #expect(desk.page(history(log.row.id))?.text.contains("\"unread\":100,") == true)
    }

    @Test func `An entry that is folded after the tail was read is read from the tail`() throws {
        let (desk, log) = try filled(3)
        let copy = desk.reader.logs.tail(of: log.row.id)
        desk.fold()
        #expect(desk.count("entries") == 10 && desk.tail.isEmpty)
        for order in [PageOrder.ascending, .descending] {
            let rows = try desk.reader.logs.rows(
                of: log.row.id, copy, LogBounds(after: 0, before: .max, showsInternal: true), order,
                limit: 50)
            let seqs = rows.map(\.seq)
            #expect((order == .ascending ? seqs : seqs.reversed()) == Array(1...10))
        }
    }
}

@Suite struct TailOutcomeTests {
    /// Where the entries are that a unit is checked against.
    enum Place: CaseIterable { case table, tail, both, batch }

    private func prepare(_ desk: Desk, _ units: [CommitUnit], _ place: Place) -> [CommitUnit] {
        switch place {
        case .table:
            for unit in units { _ = desk.commit(unit) }
            desk.fold()
            return []
        case .tail:
            for unit in units { _ = desk.commit(unit) }
            return []
        case .both:
            // The first unit is in the table, the others in the tail.
            _ = desk.commit(units[0])
            desk.fold()
            for unit in units.dropFirst() { _ = desk.commit(unit) }
            return []
        case .batch: return units
        }
    }

    @Test(arguments: Place.allCases)
    func `A key is found wherever its message is, with its reply wherever that is`(
        _ place: Place
    ) throws {
        let desk = try Desk()
        let log = Log()
        let message = log.entry(1, key: 42, fingerprint: .max)
        let reply = log.entry(4, answers: 1, isInbound: false)
        let units = [
            log.unit([message], .insert),
            log.unit([log.entry(2), log.entry(3, answers: 2, isInbound: false), reply]),
        ]
        let before = prepare(desk, units, place)
        let other = Log(user: "bob")
        let again = other.unit([other.entry(1), other.entry(2, key: 42)], .insert)
        let outcomes = desk.commit(before + [again, log.unit([log.entry(5)])])
        let found = outcomes[before.count].duplicate
        #expect(found?.index == 1 && found?.answer.conversation == log.row.id)
        #expect(found?.answer.messageID == message.id && found?.answer.seq == 1)
        #expect(found?.answer.fingerprint == .max && found?.answer.session == message.session)
        #expect(found?.answer.message.text == message.body.text)
        #expect(found?.answer.reply?.text == reply.body.text)
        #expect(desk.conversation(other.row.id) == nil)
        #expect(outcomes.last?.isCommitted == true)
    }

    @Test(arguments: Place.allCases)
    func `A sender that did not wait gets no reply, and without a reply there is none`(
        _ place: Place
    ) throws {
        let desk = try Desk()
        let log = Log()
        var message = log.entry(1, key: 1)
        message.isAcceptedOnly = true
        let units = [
            log.unit([message], .insert), log.unit([log.entry(2, answers: 1, isInbound: false)]),
            log.unit([log.entry(3, key: 2)]),
        ]
        let before = prepare(desk, units, place)
        let again = [log.unit([log.entry(4, key: 1)]), log.unit([log.entry(4, key: 2)])]
        let outcomes = desk.commit(before + again).suffix(2).map(\.duplicate)
        #expect(outcomes.allSatisfy { $0 != nil && $0?.answer.reply == nil })
    }

    @Test(arguments: Place.allCases)
    func `A seq that is not the next is a conflict, and nothing is kept`(_ place: Place) throws {
        let desk = try Desk()
        let log = Log()
        let before = prepare(desk, [log.first(2), log.unit([log.entry(3)])], place)
        var wrong = ([1, 2, 3, 5, 6, 1000] as [UInt64]).map {
            log.unit([log.entry($0, key: 7)], .update)
        }
        wrong.append(log.unit([log.entry(4, key: 7), log.entry(6)]))
        wrong.append(log.unit([log.entry(4, key: 7), log.entry(5), log.entry(3)]))
        wrong.append(log.unit([log.entry(4, key: 7), log.entry(5, key: 7)]))
        wrong.append(log.unit([log.entry(4, key: 7)], .insert))
        let last = log.unit([log.entry(4, key: 7)])
        let outcomes = desk.commit(before + wrong + [last])
        #expect(outcomes.dropFirst(before.count).dropLast().allSatisfy { $0.conflictSeq == 3 })
        #expect(outcomes.last?.isCommitted == true, "neither seq nor key was kept")
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3, 4])
        #expect(desk.conversation(log.row.id)?.version == 1)
        desk.fold()
        #expect(desk.page(history(log.row.id))?.seqs == [1, 2, 3, 4])
        #expect(desk.lines.all == [])
    }

    @Test func `A log that does not begin with 1 is a conflict`() throws {
        let desk = try Desk()
        let log = Log()
        #expect(desk.commit(log.unit([log.entry(2)], .insert)).conflictSeq == 0)
        #expect(desk.conversation(log.row.id) == nil)
        #expect(desk.commit(log.first()).isCommitted)
    }

    @Test func `Heads that were forgotten are read again`() throws {
        var rules = FoldRules.never
        rules.headsMax = 2
        let desk = try Desk(rules: rules)
        let logs = (0..<9).map { Log(user: "u\($0)") }
        for round in 1...3 as ClosedRange<UInt64> {
            for log in logs {
                let unit = log.unit([log.entry(round)], round == 1 ? .insert : .none)
                #expect(desk.commit(unit).isCommitted)
                #expect(desk.commit(log.unit([log.entry(round)])).conflictSeq == round)
            }
            desk.fold()
        }
    }
}

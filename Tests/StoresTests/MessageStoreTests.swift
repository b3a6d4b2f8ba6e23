import Bytes
import ChatModel
import Glibc
import Testing

@testable import Stores

@Suite struct CommitTests {
    @Test func `What was committed is read back byte by byte`() throws {
        let rig = try Rig()
        var log = Log(user: "né \"x\"", channel: .sms)
        log.row.handler = Handler(type: .human, token: 9)
        let entries = [
            log.entry(1, key: 1, text: "é\"\n😀"), log.entry(2, answers: 1, isInbound: false),
        ]
        #expect(rig.commit(log.unit(entries, .insert))?.isCommitted == true)
        let row = rig.conversation(log.row.id)
        #expect(row?.userID.text == "né \"x\"" && row?.tenant == TenantIndex(0))
        #expect(row?.channel == .sms && row?.status == .open && row?.lastSeq == 2)
        #expect(row?.handler == Handler(type: .human, token: 9) && row?.version == 1)
        #expect(row?.createdAtMilliseconds == 1000 && row?.updatedAtMilliseconds == 2002)
        let page = rig.page(history(log.row.id))
        #expect(
            page?.text.contains("\"data\":[\(entries[0].body.text),\(entries[1].body.text)]")
                == true)
        #expect(page?.text.contains("\"last_seq\":2,\"unread\":1,") == true)
        #expect(page?.text.contains("\"updated_at\":\"1970-01-01T00:00:02.002Z\"") == true)
        #expect(rig.lines.all == [])
    }

    @Test func `Units that wait together become durable in one transaction`() throws {
        let rig = try Rig()
        let logs = (0..<600).map { Log(user: "user\($0)") }
        let outcomes = rig.commit(logs.map { $0.first(2) })
        #expect(outcomes.count == 600 && outcomes.allSatisfy(\.isCommitted))
        #expect(rig.store.metrics.batchUnits.counts.reduce(0, +) == 1, "they were published as one")
        #expect(rig.store.metrics.batchUnits.sum == 600)
        #expect(rig.store.metrics.entries.current == 1200)
        for log in logs.prefix(50) { #expect(rig.conversation(log.row.id)?.lastSeq == 2) }
    }

    @Test func `More units than a ring or a batch holds all get their outcomes, in order`() throws {
        let rig = try Rig()
        let log = Log()
        let count = UInt64(Limits.storeRingCapacity + 3000)
        var units = [log.first()]
        for seq in 2...count { units.append(log.unit([log.entry(seq)])) }
        for unit in units { rig.sendWithoutFlush(unit) }
        rig.flushUntilSent()
        #expect(rig.outcomes(of: units, core: 0).filter(\.isCommitted).count == Int(count))
        #expect(rig.conversation(log.row.id)?.lastSeq == count)
    }

    @Test func `Each core is told of its own units`() throws {
        let rig = try Rig(coreCount: 3, readerCount: 2)
        let units = (0..<3).map { core in (0..<20).map { Log(user: "u\(core)-\($0)").first() } }
        for core in 0..<3 { rig.send(units[core], core: core) }
        for core in [2, 0, 1] {
            #expect(rig.outcomes(of: units[core], core: core).filter(\.isCommitted).count == 20)
        }
    }

    @Test func `A row is changed with its entries, and left alone without a change`() throws {
        let rig = try Rig()
        var log = Log()
        _ = rig.commit(log.first())
        log.row.handler = Handler(type: .human, token: 2)
        log.row.status = .pending
        log.row.version = 2
        log.row.updatedAtMilliseconds = 5000
        _ = rig.commit(log.unit([log.entry(2)]))
        #expect(rig.conversation(log.row.id)?.handler == Handler(type: .bot, token: 1))
        #expect(rig.commit(log.unit([log.entry(3)], .update))?.isCommitted == true)
        let row = rig.conversation(log.row.id)
        #expect(row?.handler == Handler(type: .human, token: 2))
        #expect(row?.status == .pending && row?.version == 2 && row?.updatedAtMilliseconds == 5000)
    }
}

@Suite struct DuplicateTests {
    @Test
    func `A stored key gives the stored answer with its reply, and nothing of the unit is kept`()
        throws
    {
        let rig = try Rig()
        let log = Log()
        let entries = [
            log.entry(1, key: 42, fingerprint: .max), log.entry(2),
            log.entry(3, answers: 2, isInbound: false),
            log.entry(4, answers: 1, isInbound: false, kind: .handler),
            log.entry(5, answers: 1, isInbound: false),
        ]
        _ = rig.commit(log.unit(entries, .insert))
        let other = Log(user: "bob")
        let again = other.unit([other.entry(1), other.entry(2, key: 42)], .insert)
        let found = rig.commit(again)?.duplicate
        #expect(found?.index == 1)
        #expect(
            found?.answer.conversation == log.row.id && found?.answer.messageID == entries[0].id)
        #expect(found?.answer.seq == 1 && found?.answer.fingerprint == .max)
        #expect(found?.answer.session == entries[0].session)
        #expect(found?.answer.message.text == entries[0].body.text)
        #expect(found?.answer.reply?.text == entries[4].body.text)
        #expect(rig.conversation(other.row.id) == nil)
        #expect(rig.page(history(other.row.id))?.problem?.code == .notFound)
    }

    @Test func `A message without a reply has none in its stored answer`() throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(
            log.unit([log.entry(1, key: 7), log.entry(2, answers: 0, isInbound: false)], .insert))
        let found = rig.commit(log.unit([log.entry(3, key: 7)]))?.duplicate
        #expect(found != nil && found?.answer.reply == nil)
    }

    @Test func `A key that came earlier in the same batch is a duplicate too`() throws {
        let rig = try Rig()
        let (a, b) = (Log(user: "a"), Log(user: "b"))
        let outcomes = rig.commit([
            a.unit([a.entry(1, key: 5)], .insert), b.unit([b.entry(1, key: 5)], .insert),
            Log().first(),
        ])
        #expect(outcomes[0].isCommitted && outcomes[2].isCommitted)
        #expect(outcomes[1].duplicate?.answer.conversation == a.row.id)
        #expect(rig.conversation(b.row.id) == nil)
    }

    @Test func `Entries without a key never are duplicates`() throws {
        let rig = try Rig()
        let log = Log()
        #expect(rig.commit(log.first(50))?.isCommitted == true)
    }
}

@Suite struct ConflictTests {
    @Test func `A seq that is taken is a conflict with the log's head, and nothing is kept`() throws
    {
        let rig = try Rig()
        let log = Log()
        let first = log.first(3)
        _ = rig.commit(first)
        for taken in [1, 2, 3] as [UInt64] {
            let unit = log.unit([log.entry(taken, key: 90), log.entry(taken + 1)])
            #expect(rig.commit(unit)?.conflictSeq == 3)
        }
        let unit = log.unit([log.entry(4), log.entry(5), log.entry(3)])
        #expect(rig.commit(unit)?.conflictSeq == 3, "entries before the conflict are taken back")
        let page = rig.page(history(log.row.id))
        #expect(page?.seqs == [1, 2, 3])
        #expect(
            page?.text.contains(first.body(of: first.entries[0]).text) == true,
            "what was there is untouched")
        #expect(
            rig.commit(log.unit([log.entry(4, key: 90)]))?.isCommitted == true,
            "the key was not kept")
    }

    @Test func `A conflict does not hold up the other units of its batch`() throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(2))
        let (a, b) = (Log(user: "a"), Log(user: "b"))
        let outcomes = rig.commit([a.first(), log.unit([log.entry(2)]), b.first()])
        #expect(outcomes[0].isCommitted && outcomes[1].conflictSeq == 2 && outcomes[2].isCommitted)
        #expect(
            rig.conversation(a.row.id)?.lastSeq == 1 && rig.conversation(b.row.id)?.lastSeq == 1)
    }

    @Test func `A conflict leaves the row as it was`() throws {
        let rig = try Rig()
        var log = Log()
        _ = rig.commit(log.first(2))
        log.row.handler = Handler(type: .human, token: 2)
        log.row.version = 2
        #expect(rig.commit(log.unit([log.entry(2)], .update))?.conflictSeq == 2)
        let row = rig.conversation(log.row.id)
        #expect(row?.handler == Handler(type: .bot, token: 1) && row?.version == 1)
    }
}

@Suite struct OwnerReadTests {
    @Test func `A user's newest open conversation of each channel is found`() throws {
        let rig = try Rig()
        let logs = [
            Log(), Log(channel: .sms), Log(), Log(channel: .slack, status: .closed),
            Log(channel: .teams, status: .snoozed), Log(status: .closed), Log(user: "bob"),
            Log(tenant: 1), Log(user: "Ann"), Log(user: "ann "),
        ]
        for log in logs { _ = rig.commit(log.first(2)) }
        let found = rig.open(logs[0].user)
        #expect(found.map(\.id) == [logs[4].row.id, logs[2].row.id, logs[1].row.id])
        #expect(found.allSatisfy { $0.lastSeq == 2 })
        #expect(rig.open(logs[7].user).map(\.id) == [logs[7].row.id])
        #expect(rig.open(UserKey(tenant: TenantIndex(0), userID: ByteBlock("nobody"))).isEmpty)
    }

    @Test func `What does not exist is nil and not an error`() throws {
        let rig = try Rig()
        #expect(rig.conversation(Identifier(high: 1, low: 1)) == nil)
        #expect(rig.conversation(Identifier(high: 0, low: 0)) == nil)
        #expect(rig.conversation(Identifier(high: .max, low: .max)) == nil)
        #expect(rig.lines.all == [])
    }

    @Test func `A user id is claimed by its first conversation, also a closed one`() throws {
        let rig = try Rig()
        let log = Log(status: .closed)
        func claims(_ key: UserKey) -> Int? {
            guard case .answer(let answer)? = rig.read(.claim(origin, key)) else { return nil }
            switch answer.result {
            case .success(let status, let body, _, _):
                return body.text == key.userID.text ? status : nil
            case .failure(let problem): return problem.status
            }
        }
        #expect(claims(log.user) == 200)
        _ = rig.commit(log.first())
        #expect(claims(log.user) == 403)
        #expect(claims(Log(user: "bob").user) == 200)
        #expect(claims(Log(tenant: 1).user) == 200)
    }
}

@Suite struct ReplayTests {
    private func replay(
        _ rig: Rig, _ id: Identifier, _ after: UInt64, _ through: UInt64
    ) -> ReplayPage? {
        let query = ReplayQuery(
            origin: origin, conversation: id, afterSeq: after, throughSeq: through)
        guard case .replayed(let page)? = rig.read(.replay(query)) else { return nil }
        #expect(page.origin == origin && page.conversation == id)
        return page
    }

    @Test func `Entries behind a seq come as frames in order, a batch at a time`() throws {
        let rig = try Rig()
        let log = Log()
        let unit = log.first(Limits.replayBatch + 30)
        _ = rig.commit(unit)
        let first = replay(rig, log.row.id, 0, 1000)
        #expect(first?.frames?.count == Limits.replayBatch)
        #expect(first?.lastSeq == UInt64(Limits.replayBatch))
        #expect(
            first?.frames?[0].text == "{\"type\":\"message\",\"conversation_id\":\""
                + log.row.id.text(.conversation) + "\",\"message\":"
                + unit.body(of: unit.entries[0]).text
                + "}")
        let second = replay(rig, log.row.id, UInt64(Limits.replayBatch), 1000)
        #expect(second?.frames?.count == 30)
        #expect(
            second?.frames?.last?.text.contains(
                unit.entries.last.map { unit.body(of: $0).text } ?? "?") == true)
    }

    @Test(arguments: [
        (2, 5, 3), (0, 1, 1), (4, 5, 1), (5, 5, 0), (5, 2, 0), (9, 20, 1), (10, 20, 0),
    ])
    func `Both bounds hold: after the first, through the last`(
        _ after: UInt64, _ through: UInt64, _ count: Int
    ) throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(10))
        let page = replay(rig, log.row.id, after, through)
        #expect(page?.frames?.count == count)
        #expect(page?.lastSeq == (count == 0 ? after : min(through, 10)))
    }

    @Test func `A replay of what does not exist is empty`() throws {
        let rig = try Rig()
        #expect(replay(rig, Identifier(high: 1, low: 1), 0, 10)?.frames?.count == 0)
    }
}

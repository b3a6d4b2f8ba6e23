// What became of messages, as the real store shows it: in the tail, folded, and between the two.

import Bytes
import ChatModel
import Testing

@testable import Stores

/// Nothing is folded until it is asked for.
private let late: FoldRules = {
    var rules = FoldRules()
    rules.readyEntries = 1_000_000
    rules.idleMilliseconds = 1_000_000
    return rules
}()

/// All is folded with the next transaction.
private let early: FoldRules = {
    var rules = FoldRules()
    rules.readyEntries = 1
    rules.foldEntries = 1_000_000
    return rules
}()

private func principal(_ name: String, _ role: Role) -> Principal {
    Principal(
        tenant: TenantIndex(0), subject: ByteBlock(name), permissions: role.permissions,
        expiresAtSeconds: .max)
}

private func whole(_ user: String? = nil, showsInternal: Bool = true) -> Scope {
    Scope(
        tenant: TenantIndex(0), tenantName: ByteBlock("acme"), userID: user.map { ByteBlock($0) },
        showsInternal: showsInternal)
}

/// A conversation with messages, whose ids are kept.
private struct Told {
    let log = Log()
    var seq: UInt64 = 0
    var ids: [Identifier] = []

    var id: Identifier { log.row.id }

    mutating func say(_ text: String, isInternal: Bool = false, on rig: Rig) {
        add(.message, text, isInternal: isInternal, on: rig)
    }

    mutating func add(
        _ kind: EntryKind, _ text: String = "", about target: UInt64 = 0, key: UInt64? = nil,
        isInternal: Bool = false, id: Identifier? = nil, at milliseconds: UInt64? = nil,
        on rig: Rig
    ) {
        seq += 1
        let made = id ?? Log.id()
        let writer = ByteWriter(capacity: 512)
        let content = ByteWriter(capacity: 64)
        content.append("{\"type\":\"text\",\"text\":")
        content.append(json: text)
        content.append("}")
        let part = Entry(
            id: made, conversation: log.row.id, seq: seq, kind: kind, isInbound: true,
            isInternal: isInternal, senderType: .user, senderID: log.row.userID, channel: .web,
            content: content.block(),
            metadata: kind == .message ? ByteBlock("{\"m\":\(seq)}") : nil,
            createdAtMilliseconds: milliseconds ?? made.milliseconds
        ).write(into: writer)
        let stored = StoredEntry(
            id: made, seq: seq, kind: kind, isInbound: true, isAcceptedOnly: true,
            isInternal: isInternal, createdAtMilliseconds: milliseconds ?? made.milliseconds,
            idempotency: key.map { Digest(high: .max, low: $0) }, fingerprint: 0,
            answersSeq: target, session: .none, body: .empty, part: part)
        ids.append(made)
        let unit = log.unit(
            [Draft(stored: stored, body: writer.block())], seq == 1 ? .insert : .none)
        #expect(rig.commit(unit)?.isCommitted == true)
    }

    func page(
        _ rig: Rig, after: UInt64? = nil, before: UInt64? = nil, order: PageOrder = .ascending,
        limit: Int = 200
    ) -> String {
        rig.page(history(id, whole(), order: order, after: after, before: before, limit: limit))?
            .text ?? ""
    }

    func target(
        _ rig: Rig, _ change: MessageChange, by name: String = "ann", as role: Role = .endUser,
        _ scope: Scope = whole()
    )
        -> ChangeTarget?
    {
        let query = TargetQuery(
            origin: origin, scope: scope, principal: principal(name, role), conversation: id,
            change: change)
        guard case .target(_, let target)? = rig.read(.target(query)) else { return nil }
        return target
    }

    func find(_ rig: Rig, _ message: Identifier) -> UInt64? {
        target(rig, .redaction(of: message))?.seq
    }

    func edit(_ message: Int, _ text: String, key: UInt64? = nil) -> MessageChange {
        MessageChange(
            deed: .edit, message: ids[message - 1],
            content: ByteBlock("{\"type\":\"text\",\"text\":\"\(text)\"}"),
            idempotency: key.map { Digest(high: .max, low: $0) })
    }
}

private let redacted = #""content":{"type":"event","name":"redacted","data":{}}"#

@Suite struct MessageChangesTests {
    /// Once with all in the tail, once with nearly all in the table.
    private func scenes(_ body: (Rig, inout Told) throws -> Void) throws {
        for rules in [late, early] {
            let files = TemporaryDirectory()
            var told = Told()
            let rig = try Rig(files, rules: rules)
            try body(rig, &told)
        }
    }

    @Test func `A message is shown with its last edit, wherever the edit stands`() throws {
        try scenes { rig, told in
            for number in 1...5 { told.say("old \(number)", on: rig) }
            told.add(.edit, "first", about: 2, on: rig)
            told.add(.edit, "last", about: 2, on: rig)
            told.say("more", on: rig)
            for order in [PageOrder.ascending, .descending] {
                let page = told.page(rig, before: 6, order: order)
                #expect(page.contains(#""text":"last"},"metadata":{"m":2}"#))
                #expect(page.contains(#","edited_at":"#) && !page.contains("old 2"))
                #expect(page.contains("old 1") && page.contains("old 3"))
            }
            let edits = told.page(rig, after: 5, before: 8)
            #expect(edits.contains(#""text":"first"}"#) && edits.contains(#""text":"last"}"#))
            #expect(!edits.contains("edited_at"))
            #expect(told.page(rig, after: 2, before: 6).contains("edited_at") == false)
        }
    }

    @Test func `A deleted message and its edits say nothing, for ever`() throws {
        try scenes { rig, told in
            told.say("secret", on: rig)
            for number in 2...4 { told.say("kept \(number)", on: rig) }
            told.add(.edit, "secret edit", about: 1, on: rig)
            told.add(.redaction, about: 1, on: rig)
            // A race that was lost.
            told.add(.edit, "secret after", about: 1, on: rig)
            told.add(.edit, "edited", about: 2, on: rig)
            for (after, before) in [(0, 9), (0, 2), (4, 6), (6, 8), (3, 9)] as [(UInt64, UInt64)] {
                let page = told.page(rig, after: after, before: before)
                #expect(!page.contains("secret") && page.contains(redacted))
                #expect(!page.contains(#""m":1"#))
            }
            #expect(told.page(rig, before: 3).contains(#""text":"edited"#))
            #expect(told.page(rig).split(separator: redacted).count == 4)
        }
    }

    @Test func `Changes are seen across the seam of tail and table, and after a restart`() throws {
        let files = TemporaryDirectory()
        var told = Told()
        do {
            let rig = try Rig(files, rules: early)
            for number in 1...6 { told.say("old \(number)", on: rig) }
            told.add(.edit, "table", about: 1, on: rig)
            told.add(.edit, "table", about: 2, on: rig)
            told.add(.redaction, about: 3, on: rig)
            rig.stop()
        }
        do {
            let rig = try Rig(files, rules: late)
            told.add(.edit, "tail", about: 2, on: rig)
            told.add(.edit, "tail", about: 3, on: rig)
            told.add(.edit, "tail", about: 4, on: rig)
            told.add(.redaction, about: 1, on: rig)
            #expect(rig.store.tail.entries(of: told.id).count == 4)
            check(told, rig)
            rig.stop()
        }
        check(told, try Rig(files))
    }

    private func check(_ told: Told, _ rig: Rig) {
        let page = told.page(rig, before: 7)
        #expect(page.split(separator: redacted).count == 3)
        #expect(page.split(separator: #""text":"tail""#).count == 3)
        #expect(!page.contains("old 1") && !page.contains("table"))
        #expect(page.contains("old 5") && page.contains("old 6"))
    }

    @Test func `A replay and a single message show the same`() throws {
        try scenes { rig, told in
            told.say("secret", on: rig)
            told.say("old", on: rig)
            told.add(.redaction, about: 1, on: rig)
            told.add(.edit, "new", about: 2, on: rig)
            let replay = ReplayQuery(
                origin: origin, conversation: told.id, afterSeq: 0, throughSeq: 4)
            guard case .replayed(let page)? = rig.read(.replay(replay)) else {
                Issue.record("a replay was asked for")
                return
            }
            let frames = (page.frames ?? []).map(\.text)
            #expect(frames.count == 4 && frames[0].contains(redacted))
            #expect(frames[1].contains(#""text":"new""#) && frames[1].contains("edited_at"))
            for (seq, wanted) in [(1, redacted), (2, #""text":"new""#)] as [(UInt64, String)] {
                let query = MessageQuery(
                    origin: origin, scope: whole(), conversation: told.id, seq: seq, isReplay: true)
                guard case .answer(let answer)? = rig.read(.message(query)),
                    case .success(200, let body, true, nil) = answer.result
                else {
                    Issue.record("a message was asked for")
                    return
                }
                #expect(body.text.contains(wanted))
                #expect(frames[Int(seq) - 1].contains(body.text))
            }
        }
    }

    @Test func `A reply is found under its key though its message was edited`() throws {
        try scenes { rig, told in
            let log = Log()
            var message = log.entry(1, key: 5)
            message.isAcceptedOnly = false
            let first = log.unit([message, log.entry(2, answers: 1, isInbound: false)], .insert)
            #expect(rig.commit(first)?.isCommitted == true)
            let edit = log.unit([log.entry(3, answers: 1, kind: .edit, text: "edited")])
            #expect(rig.commit(edit)?.isCommitted == true)
            let again = rig.commit(log.unit([log.entry(4, key: 5)]))
            #expect(again?.duplicate?.answer.reply?.text == first.body(of: first.entries[1]).text)
        }
    }

    // MARK: Targets

    @Test func `Every message is found by its id, in tail and table`() throws {
        let files = TemporaryDirectory()
        var told = Told()
        for rules in [early, late] {
            let rig = try Rig(files, rules: rules)
            for number in 0..<70 { told.say("\(number)", on: rig) }
            for (index, id) in told.ids.enumerated() {
                #expect(told.find(rig, id) == UInt64(index) + 1)
            }
            for id in told.ids {
                for other in [
                    Identifier(high: id.high, low: id.low ^ 1),
                    Identifier(high: id.high - 1, low: id.low),
                ] {
                    #expect(told.find(rig, other) == nil)
                }
            }
            #expect(told.find(rig, .none) == nil)
            #expect(told.find(rig, Identifier(high: .max, low: .max)) == nil)
            rig.stop()
        }
    }

    @Test func `A message is found though the clock was set back before a restart`() throws {
        for rules in [late, early] {
            let rig = try Rig(rules: rules)
            var told = Told()
            var source = IdentifierSource(seed: 1)
            for place in 0..<40 {
                let id = source.next(milliseconds: 50_000 + UInt64(place) * 10, shardKey: 1)
                told.add(.message, "before", id: id, at: id.milliseconds, on: rig)
            }
            source = IdentifierSource(seed: 2)
            for place in 0..<40 {
                let id = source.next(milliseconds: 49_800 + UInt64(place) * 10, shardKey: 1)
                told.add(.message, "after", id: id, at: id.milliseconds, on: rig)
            }
            for (index, id) in told.ids.enumerated() {
                #expect(told.find(rig, id) == UInt64(index) + 1)
            }
        }
    }

    @Test func `Ids that run ahead of the clock are found`() throws {
        let rig = try Rig()
        var told = Told()
        // Its own: the one that all tests share never goes back.
        var source = IdentifierSource(seed: 3)
        for place in 0..<50 {
            let id = source.next(milliseconds: 1_800_000_000_000, shardKey: 77)
            told.add(.message, "x", id: id, at: 1_000 - UInt64(place), on: rig)
        }
        for (index, id) in told.ids.enumerated() {
            #expect(told.find(rig, id) == UInt64(index) + 1)
        }
    }

    @Test func `What a change is decided on is what the log says`() throws {
        try scenes { rig, told in
            told.say("one", on: rig)
            told.say("note", isInternal: true, on: rig)
            told.add(.edit, "two", about: 1, key: 7, on: rig)
            let target = try #require(told.target(rig, told.edit(1, "three")))
            #expect(target.seq == 1 && target.senderType == .user && target.isFromSubject)
            #expect(!target.isInternal && !target.isRedacted && target.headSeq == 3)
            #expect(target.known == nil)
            #expect(told.target(rig, told.edit(1, "one"))?.known == nil, "it was edited since")
            #expect(told.target(rig, told.edit(1, "two"))?.known?.isReplay == false)
            #expect(told.target(rig, told.edit(1, "two", key: 7))?.known?.isReplay == true)
            #expect(told.target(rig, told.edit(1, "two", key: 8))?.known?.isReplay == false)
            #expect(told.target(rig, told.edit(1, "x"), by: "bob")?.isFromSubject == false)
            #expect(told.target(rig, told.edit(2, "x"))?.isInternal == true)
            told.add(.redaction, about: 1, on: rig)
            #expect(told.target(rig, told.edit(1, "x"))?.isRedacted == true)
            #expect(told.target(rig, told.edit(2, "x"))?.isRedacted == false)
        }
    }

    @Test func `Others, other entries and internal messages are not found`() throws {
        let rig = try Rig()
        var told = Told()
        told.say("one", on: rig)
        told.say("note", isInternal: true, on: rig)
        told.add(.edit, "two", about: 1, on: rig)
        told.add(.reaction, "two", about: 1, on: rig)
        for (message, scope) in [
            (3, whole()), (4, whole()), (2, whole(showsInternal: false)), (1, whole("bob")),
            (2, whole("ann", showsInternal: false)),
        ] {
            #expect(told.target(rig, told.edit(message, "x"), scope) == nil)
        }
        #expect(told.target(rig, told.edit(1, "x"), whole("ann", showsInternal: false)) != nil)
    }

    @Test func `The sender's last reaction is known, and no other's`() throws {
        try scenes { rig, told in
            told.say("one", on: rig)
            told.say("two", on: rig)
            func known(
                _ message: Int, _ emoji: String, by name: String = "ann", as role: Role = .endUser,
                key: UInt64? = nil
            )
                -> ChangeTarget.Known?
            {
                told.target(
                    rig,
                    .reaction(
                        to: told.ids[message - 1], emoji: ByteBlock(emoji),
                        idempotency: key.map { Digest(high: .max, low: $0) }), by: name, as: role)?
                    .known
            }
            func react(_ emoji: String, key: UInt64? = nil) {
                told.seq += 1
                let change = MessageChange.reaction(to: told.ids[0], emoji: ByteBlock(emoji))
                var draft = told.log.entry(told.seq, key: key, answers: 1, kind: .reaction)
                let writer = ByteWriter()
                let part = Entry(
                    id: draft.stored.id, conversation: told.id, seq: told.seq, kind: .reaction,
                    isInbound: true, senderType: .user, senderID: ByteBlock("ann"), channel: .web,
                    content: change.content,
                    createdAtMilliseconds: draft.stored.createdAtMilliseconds
                ).write(into: writer)
                draft.stored.part = part
                let unit = told.log.unit([Draft(stored: draft.stored, body: writer.block())])
                #expect(rig.commit(unit)?.isCommitted == true)
            }
            #expect(known(1, "+") == nil)
            #expect(known(1, "")?.entry == nil && known(1, "") != nil)
            react("+", key: 3)
            #expect(known(1, "+")?.entry?.text.contains(#""emoji":"+""#) == true)
            #expect(known(1, "+")?.isReplay == false && known(1, "+", key: 3)?.isReplay == true)
            #expect(known(1, "-") == nil && known(1, "") == nil)
            #expect(known(1, "+", by: "bob") == nil && known(2, "+") == nil)
            #expect(known(1, "+", as: .agent) == nil, "an agent of the same name")
            react("-")
            #expect(known(1, "+") == nil && known(1, "-") != nil)
            react("")
            #expect(known(1, "")?.entry != nil && known(1, "-") == nil)
        }
    }

    // MARK: What it costs

    @Test func `Changes are found by the index that holds nothing else`() throws {
        let files = TemporaryDirectory()
        let rig = try Rig(files, rules: early)
        var told = Told()
        for number in 1...5 { told.say("\(number)", on: rig) }
        told.add(.edit, "x", about: 2, on: rig)
        told.add(.reaction, "x", about: 2, on: rig)
        told.say("last", on: rig)
        rig.stop()
        let connection = try SQLiteConnection(path: files.file("messages.db"))
        let count = try connection.prepare(
            "SELECT count(*) FROM entries INDEXED BY entries_changes WHERE kind=1 OR kind=2 OR kind=3"
        )
        _ = try count.step()
        #expect(count.integer(0) == 2)
        for kind in 1...3 {
            let plan = try connection.prepare(
                """
                EXPLAIN QUERY PLAN SELECT seq FROM entries INDEXED BY entries_changes
                WHERE conversation=? AND kind=\(kind) AND answers>=? AND answers<=?
                ORDER BY answers DESC, seq DESC LIMIT 1
                """)
            var steps: [String] = []
            while try plan.step() { steps.append(plan.bytes(3).string()) }
            #expect(steps.count == 1, "no sorting: \(steps)")
            #expect(steps[0].contains("(conversation=? AND kind=? AND answers>? AND answers<?)"))
        }
    }
}

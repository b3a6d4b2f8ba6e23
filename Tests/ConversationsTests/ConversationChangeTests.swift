import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: Role.agent.permissions)

/// A change of a conversation's first message, decided when the log ended with `head`.
private func change(
    _ deed: MessageChange.Deed, head: UInt64 = 2, isInternal: Bool = false, key: UInt64? = nil,
    fingerprint: UInt64 = 0
) -> Command.Act {
    .change(
        MessageChange(
            deed: deed, message: Identifier(high: 1, low: 2),
            content: ByteBlock(#"{"type":"text","text":"changed"}"#),
            idempotency: key.map { Digest(high: 9, low: $0) }, fingerprint: fingerprint),
        of: ChangeTarget(
            seq: 1, senderType: .user, isFromSubject: true, isInternal: isInternal,
            isRedacted: false, headSeq: head))
}

extension World {
    /// A conversation of ann's with a message and its reply, at rest.
    fileprivate func begun() -> Identifier {
        submit(ann, Draft())
        settleAll()
        return store.order[0]
    }

    fileprivate func kinds(_ id: Identifier) -> [EntryKind] {
        (store.logs[id] ?? []).dropFirst(2).map(\.kind)
    }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct MessageChangeOwnerTests {
    @Test func `An edit is an entry about its message, and the message is shown`() throws {
        let world = World()
        let id = world.begun()
        world.connect(ann, core: 3)
        let number = world.command(ann, id, change(.edit))
        #expect(world.tickets[number].answers.isEmpty, "it is not stored yet")
        world.settle()
        let answer = try #require(world.tickets[number].answers.first)
        #expect(answer.shows == id && answer.showsSeq == 1)
        let entry = try #require(world.store.logs[id]?.last)
        #expect(entry.kind == .edit && entry.answersSeq == 1 && entry.isInbound)
        #expect(entry.body.text.contains(#""reply_to":"msg_00000000-0000-0001-0000-000000000002""#))
        #expect(world.frames.last?.delivery.seq == entry.seq)
        world.expectOrder()
    }

    @Test func `A reaction is answered with its entry, and a deletion with nothing`() {
        let world = World()
        let id = world.begun()
        let reaction = world.command(agent, id, change(.reaction))
        world.settleAll()
        #expect(world.tickets[reaction].status == 201)
        #expect(world.tickets[reaction].body == world.store.logs[id]?.last?.body.text)
        #expect(world.store.logs[id]?.last?.isInbound == false)
        let redaction = world.command(agent, id, change(.redaction))
        #expect(world.tickets[redaction].answers.isEmpty)
        world.settleAll()
        #expect(world.tickets[redaction].status == 204 && world.tickets[redaction].body == "")
        #expect(world.kinds(id) == [.reaction, .redaction])
        world.expectOrder()
    }

    @Test func `What is about an internal message is internal`() {
        let world = World()
        let id = world.begun()
        for deed in [MessageChange.Deed.edit, .reaction, .redaction] {
            world.command(agent, id, change(deed, isInternal: true))
            world.settleAll()
            #expect(world.store.logs[id]?.last?.isInternal == true)
        }
        world.expectOrder()
    }

    @Test func `No edit becomes an entry behind the deletion of its message`() {
        let world = World()
        let id = world.begun()
        let redaction = world.command(agent, id, change(.redaction))
        let edit = world.command(ann, id, change(.edit))
        let reaction = world.command(ann, id, change(.reaction))
        let again = world.command(ann, id, change(.redaction))
        #expect(world.tickets[edit].answers.isEmpty, "the deletion may still fail")
        world.settleAll()
        #expect(world.tickets[redaction].status == 204 && world.tickets[again].status == 204)
        for number in [edit, reaction] {
            #expect(world.tickets[number].problem?.code == .conflict)
            #expect(world.tickets[number].problem?.retryAfterSeconds == nil)
        }
        #expect(world.kinds(id) == [.redaction])
        world.expectOrder()
    }

    @Test func `An edit in the same unit as a deletion waits for its outcome`() {
        let world = World()
        let id = world.begun()
        world.submit(ann, Draft(text: "in flight"))
        let redaction = world.command(agent, id, change(.redaction))
        let again = world.command(agent, id, change(.redaction))
        let edit = world.command(ann, id, change(.edit))
        world.settle()
        #expect(world.pending[0].entries.map(\.kind) == [.redaction])
        world.settle(0, .unavailable)
        #expect(world.tickets[redaction].problem?.code == .temporarilyUnavailable)
        #expect(world.tickets[again].problem?.code == .temporarilyUnavailable)
        #expect(world.tickets[edit].problem?.code == .temporarilyUnavailable)
        // It was not deleted.
        let later = world.command(ann, id, change(.edit, head: 4))
        world.settleAll()
        #expect(world.tickets[later].problem == nil && world.kinds(id).last == .edit)
        world.expectOrder()
    }

    @Test func `A deletion counts from its commit on, whatever else that unit begins`() {
        let world = World()
        let id = world.begun()
        // A run is being streamed: that its reply is stored begins the next unit at once.
        world.submit(ann, Draft(text: "one two three", socketCore: 1))
        world.settle()
        while world.pending.isEmpty { world.tick() }
        let reply = world.pending[0]
        world.command(agent, id, change(.redaction))
        world.command(ann, id, change(.edit))
        #expect(reply.entries.map(\.kind) == [.message])
        world.submit(ann, Draft(text: "four five six", socketCore: 1))
        world.settleAll()
        #expect(!world.kinds(id).contains(.edit))
        world.expectOrder()
    }

    @Test func `After another writer's entry an edit that was decided before is to come again`() {
        let world = World()
        let id = world.begun()
        let edit = world.command(ann, id, change(.edit))
        world.settle(0, .afterForeignEntry)
        #expect(world.tickets[edit].problem?.code == .conflict)
        #expect(world.tickets[edit].problem?.retryAfterSeconds == 1)
        #expect(world.owner.counters.staleChanges == 1)
        let again = world.command(ann, id, change(.edit, head: 3))
        world.settleAll()
        #expect(world.tickets[again].problem == nil)
        world.expectOrder()
    }

    @Test func `More deletions than are remembered refuse only what was decided before them`() {
        let world = World()
        let id = world.begun()
        var seqs = RecentRedactions(behind: 2)
        for seq in 1...UInt64(Limits.redactionsRememberedMax) { seqs.insert(seq, by: 100 + seq) }
        #expect(seqs.contains(1) && seqs.knownBehindSeq == 2)
        seqs.insert(999, by: 500)
        #expect(!seqs.contains(1) && seqs.contains(999) && seqs.knownBehindSeq == 499)
        world.owner.conversations[id]?.redactions = seqs
        let early = world.command(ann, id, change(.edit, head: 498))
        let late = world.command(ann, id, change(.edit, head: 499))
        world.settleAll()
        #expect(world.tickets[early].problem?.code == .conflict)
        #expect(world.tickets[late].problem == nil)
        world.expectOrder()
    }

    @Test func `A key is in progress, then a replay, and another change under it is refused`() {
        let world = World()
        let id = world.begun()
        let first = world.command(ann, id, change(.reaction, key: 7, fingerprint: 1))
        let early = world.command(ann, id, change(.reaction, key: 7, fingerprint: 1))
        #expect(world.tickets[early].problem?.code == .conflict)
        world.settleAll()
        let again = world.command(ann, id, change(.reaction, key: 7, fingerprint: 1))
        let other = world.command(ann, id, change(.edit, key: 8, fingerprint: 3))
        world.settleAll()
        #expect(world.tickets[again].isReplay && world.tickets[again].status == 201)
        #expect(world.tickets[again].body == world.tickets[first].body)
        let repeated = world.command(ann, id, change(.edit, key: 8, fingerprint: 3))
        let mismatch = world.command(ann, id, change(.edit, key: 7, fingerprint: 3))
        world.settleAll()
        #expect(world.tickets[other].answers.first?.showsSeq == 1 && !world.tickets[other].isReplay)
        #expect(world.tickets[repeated].answers.first?.showsSeq == 1)
        #expect(world.tickets[repeated].isReplay)
        #expect(world.tickets[mismatch].problem?.code == .idempotencyMismatch)
        #expect(world.kinds(id) == [.reaction, .edit])
        world.expectOrder()
    }

    @Test func `A refused edit leaves its key free`() {
        let world = World()
        let id = world.begun()
        world.command(agent, id, change(.redaction))
        world.settleAll()
        for _ in 0..<2 {
            let number = world.command(ann, id, change(.edit, key: 7))
            world.settleAll()
            #expect(world.tickets[number].problem?.detail == "The message was deleted.")
        }
        #expect(world.owner.keysInProgress.isEmpty)
        world.expectOrder()
    }

    @Test func `Others are told that there is no such conversation`() {
        let world = World()
        let id = world.begun()
        let number = world.command(bob, id, change(.reaction))
        #expect(world.tickets[number].problem?.code == .notFound)
        world.expectOrder()
    }
}

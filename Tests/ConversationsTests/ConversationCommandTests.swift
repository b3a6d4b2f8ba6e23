import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: Role.agent.permissions)
private let foreignAgent = Person("agent", tenant: 1, permissions: Role.agent.permissions)

extension World {
    /// A conversation of ann's with a message and its reply, at rest.
    fileprivate func begun() -> Identifier {
        submit(ann, Draft())
        settleAll()
        return store.order[0]
    }

    fileprivate func row(_ id: Identifier) -> Conversation? { store.rows[id] }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct CommandTests {
    @Test func `A patch is one unit with an entry for each field, and is shown when it is stored`()
    {
        let world = World()
        let id = world.begun()
        let number = world.patch(agent, id) {
            $0.status = .pending
            $0.labels = .set(ByteBlock(#"["a"]"#))
            $0.assignee = .set(ByteBlock("kim"))
        }
        #expect(world.tickets[number].answers.isEmpty)
        #expect(world.pending.count == 1 && world.pending[0].rowChange == .update)
        world.settle()
        #expect(world.tickets[number].answers.first?.shows == id)
        #expect(world.row(id)?.status == .pending && world.row(id)?.version == 2)
        #expect(world.row(id)?.details.assignee?.text == "kim")
        #expect(
            (world.store.logs[id] ?? []).map(\.kind).suffix(3) == [.status, .assignment, .label])
        world.expectOrder()
    }

    @Test func `What changes nothing is answered at once and stored nowhere`() {
        let world = World()
        let id = world.begun()
        let number = world.patch(agent, id) { $0.status = .open }
        #expect(world.pending.isEmpty && world.tickets[number].answers.first?.shows == id)
        world.expectOrder()
    }

    @Test func `A version that does not fit is refused, and the next decides on what is stored`() {
        let world = World()
        let id = world.begun()
        let first = world.patch(agent, id) {
            $0.condition = .anyOf([1])
            $0.priority = .high
        }
        let second = world.patch(agent, id) {
            $0.condition = .anyOf([1])
            $0.priority = .low
        }
        #expect(world.tickets[second].answers.isEmpty, "the first is not stored yet")
        world.settle()
        #expect(world.tickets[first].problem == nil)
        #expect(world.tickets[second].problem?.code == .preconditionFailed)
        #expect(world.row(id)?.details.priority == .high)
        world.expectOrder()
    }

    @Test func `A change that the store refuses leaves the row as it was`() {
        let world = World()
        let id = world.begun()
        let refused = world.patch(agent, id) {
            $0.handler = .human
            $0.status = .closed
        }
        world.settle(0, .unavailable)
        #expect(world.tickets[refused].problem?.code == .temporarilyUnavailable)
        #expect(world.owner.conversations[id]?.row.status == .open)
        #expect(world.owner.conversations[id]?.row.version == 1)
        let message = world.submit(ann, Draft(text: "still there"))
        world.settleAll()
        #expect(world.tickets[message].status == 200, "the bot still answers")
        #expect(world.store.order == [id])
        world.expectOrder()
    }

    @Test func `Others are told that there is no such conversation`() {
        let world = World()
        let id = world.begun()
        for person in [bob, foreignAgent] {
            let number = world.patch(person, id) { $0.status = .closed }
            #expect(world.tickets[number].problem?.code == .notFound)
        }
        let unknown = world.patch(agent, Identifier(high: 9, low: 9)) { $0.status = .closed }
        world.settleAll()
        #expect(world.tickets[unknown].problem?.code == .notFound)
        world.expectOrder()
    }

    @Test func `After a close a message starts anew, and one that names the closed one reopens it`()
    {
        let world = World()
        let id = world.begun()
        world.patch(agent, id) { $0.status = .closed }
        world.settleAll()
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.store.order.count == 2 && world.row(id)?.status == .closed)
        world.submit(ann, Draft(conversation: id))
        world.settleAll()
        #expect(world.row(id)?.status == .open && world.row(id)?.version == 3)
        #expect(world.store.logs[id]?.last?.kind == .status)
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.store.order.count == 2, "the newest open one goes on")
        world.expectOrder()
    }

    @Test func `A message that was read for before the close does not go there behind it`() {
        let world = World()
        let id = world.begun()
        world.owner.users[ann.key] = nil
        world.submit(ann, Draft(text: "late"))
        let stale = world.perform()
        world.patch(agent, id) { $0.status = .closed }
        world.settle()
        world.deliver(stale)
        world.settleAll()
        #expect(world.store.order.count == 2 && world.row(id)?.status == .closed)
        world.expectOrder()
    }

    @Test func `A takeover ends the run that goes on, and its reply never lands`() {
        let world = World()
        world.seesEveryRun = true
        world.connect(ann, core: 9)
        world.submit(ann, Draft(text: "one two three four", socketCore: 9))
        while !world.reads.isEmpty { world.deliver(world.perform()) }
        world.settle()
        let id = world.store.order[0]
        world.tick()
        world.patch(agent, id) {
            $0.handler = .human
            $0.handlerID = ByteBlock("kim")
        }
        world.settleAll()
        #expect(world.frames.last?.text.contains("superseded") == true)
        #expect(world.row(id)?.handler == Handler(type: .human, token: 2))
        #expect((world.store.logs[id] ?? []).allSatisfy { $0.answersSeq == 0 })
        world.patch(agent, id) { $0.handler = .bot }
        let message = world.submit(ann, Draft(text: "again"))
        world.settleAll()
        #expect(world.tickets[message].status == 200)
        #expect(world.row(id)?.details.handlerID == nil && world.row(id)?.handler.token == 3)
        world.expectOrder()
    }

    @Test func `A run waits while it is not known who handles the conversation`() {
        let world = World()
        world.connect(ann, core: 9)
        let id = world.begun()
        world.submit(ann, Draft(text: "one two three", socketCore: 9))
        world.settle()
        world.submit(ann, Draft(text: "four five six", socketCore: 9))
        world.settle()
        let run = world.owner.runs.keys.first
        world.patch(agent, id) {
            $0.handler = .bot
            $0.handlerID = ByteBlock("other")
        }
        if let run { world.cancel(ann, core: 9, run: run) }
        #expect(world.owner.runs.isEmpty, "the next is not begun under a token that may be refused")
        world.settle(0, .unavailable)
        #expect(world.owner.runs.count == 1)
        world.settleAll()
        #expect(world.row(id)?.handler.token == 1)
        world.expectOrder()
    }

    private func message(
        key: UInt64? = nil, fingerprint: UInt64 = 0, isInternal: Bool = false
    ) -> Command.Act {
        .message(
            AgentMessage(
                content: ByteBlock(#"{"type":"text","text":"note"}"#), isInternal: isInternal,
                idempotency: key.map { Digest(high: 1, low: $0) }, fingerprint: fingerprint))
    }

    @Test func `An agent's message is answered when it is stored, and changes no row`() {
        let world = World()
        let id = world.begun()
        let number = world.command(agent, id, message())
        #expect(world.tickets[number].answers.isEmpty && world.pending[0].rowChange == .none)
        world.settle()
        #expect(world.tickets[number].status == 201)
        #expect(world.tickets[number].body == world.store.logs[id]?.last?.body.text)
        #expect(world.row(id)?.handler.type == .bot && world.row(id)?.version == 1)
        world.expectOrder()
    }

    @Test func `Its key is in progress, then a replay, and another request under it is refused`() {
        let world = World()
        let id = world.begun()
        let first = world.command(agent, id, message(key: 7, fingerprint: 1))
        let early = world.command(agent, id, message(key: 7, fingerprint: 1))
        #expect(world.tickets[early].problem?.code == .conflict)
        world.settle(0, .unavailable)
        #expect(world.tickets[first].problem?.code == .temporarilyUnavailable)
        let second = world.command(agent, id, message(key: 7, fingerprint: 1))
        world.settleAll()
        let again = world.command(agent, id, message(key: 7, fingerprint: 1))
        world.settleAll()
        let other = world.command(agent, id, message(key: 7, fingerprint: 2))
        world.settleAll()
        #expect(world.tickets[again].isReplay)
        #expect(world.tickets[again].body == world.tickets[second].body)
        #expect(world.tickets[other].problem?.code == .idempotencyMismatch)
        world.expectOrder()
    }

    @Test func `What is internal says so to every core that is given it`() {
        let world = World()
        let id = world.begun()
        world.connect(ann, core: 3)
        world.command(agent, id, message(isInternal: true))
        world.command(agent, id, message())
        world.settleAll()
        let entries = world.frames.filter { $0.delivery.seq > 0 }
        #expect(entries.map(\.delivery.isInternal) == [true, false])
        #expect(world.store.logs[id]?.last?.isInternal == false)
        world.expectOrder()
    }
}

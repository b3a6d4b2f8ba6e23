import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: Role.agent.permissions)
private let other = Person("other", permissions: Role.agent.permissions)
private let foreignAgent = Person("agent", tenant: 1, permissions: Role.agent.permissions)

extension World {
    /// A conversation of ann's with a message and its reply, at rest.
    fileprivate func begun() -> Identifier {
        submit(ann, Draft())
        settleAll()
        return store.order[0]
    }

    fileprivate func note(_ id: Identifier, isInternal: Bool) {
        let content = ByteBlock(#"{"type":"text","text":"note"}"#)
        command(agent, id, .message(AgentMessage(content: content, isInternal: isInternal)))
        settleAll()
    }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        settleAll()
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct ReceiptTests {
    @Test func `A mark is answered when it is stored, and only then told`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        let number = world.read(ann, id, 2)
        #expect(world.tickets[number].answers.isEmpty && world.receipts(id).isEmpty)
        world.settle()
        #expect(world.tickets[number].status == 204)
        #expect(world.receipts(id) == [World.receipt(id, ann, read: 2, delivered: 2)])
        #expect(world.cursor(ann, id)?.readSeq == 2)
        world.expectOrder()
    }

    @Test func `A mark that is no further changes nothing and is answered at once`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        world.read(ann, id, 2)
        world.settle()
        for seq in [0, 1, 2] as [UInt64] {
            let number = world.read(ann, id, seq)
            #expect(world.pending.isEmpty && world.tickets[number].status == 204)
        }
        #expect(world.receipts(id).count == 1)
        world.expectOrder()
    }

    @Test func `Nobody reads what is not there, and nobody reads another's`() {
        let world = World()
        let id = world.begun()
        let number = world.read(ann, id, 3)
        #expect(world.tickets[number].status == 422)
        for person in [bob, foreignAgent] {
            #expect(world.tickets[world.read(person, id, 1)].status == 404)
            let frame = world.read(person, id, 1, core: 1)
            #expect(world.tickets[frame].problem?.code == .notFound)
        }
        #expect(world.tickets[world.read(ann, id, 3, core: 1)].problem?.status == 422)
        #expect(world.store.cursors[id] == nil)
        world.expectOrder()
    }

    @Test func `A flood of marks costs one write at a time, and the last of them counts`() {
        let world = World()
        let id = world.begun()
        for _ in 0..<10 {
            world.submit(ann, Draft())
            world.settleAll()
        }
        world.subscribe(agent, core: 2, id)
        for seq in 1...20 as ClosedRange<UInt64> { world.read(ann, id, seq, core: 1) }
        #expect(world.pending.count == 1)
        world.settle()
        #expect(world.pending.count == 1)
        world.settle()
        #expect(world.pending.isEmpty && world.owner.counters.cursorWrites == 2)
        #expect(
            world.receipts(id) == [
                World.receipt(id, ann, read: 1, delivered: 1),
                World.receipt(id, ann, read: 20, delivered: 20),
            ])
        world.expectOrder()
    }

    @Test func `A message does not wait for a cursor, nor a cursor for a message`() {
        let world = World()
        let id = world.begun()
        world.read(ann, id, 2)
        let message = world.submit(ann, Draft())
        #expect(world.pending.count == 2)
        world.settle(world.pending.firstIndex { !$0.entries.isEmpty } ?? 0)
        #expect(world.tickets[message].status == 200 && world.pending.count == 1)
        world.expectOrder()
    }

    @Test func `An end user cannot find out by marks whether agents said something`() {
        let world = World()
        let id = world.begun()
        world.note(id, isInternal: true)
        #expect(world.store.head(of: id) == 3)
        let number = world.read(ann, id, 3)
        #expect(world.tickets[number].status == 422)
        #expect(world.tickets[number].problem?.faults.first?.detail.contains("entry, 2.") == true)
        world.subscribe(ann, core: 2, id)
        #expect(world.tickets[world.read(agent, id, 2)].answers.isEmpty)
        world.settleAll()
        let told = world.receipts(id)
        world.read(agent, id, 3)
        world.settleAll()
        #expect(world.receipts(id) == told, "an internal entry that is read moves nothing")
        #expect(world.tickets[world.read(agent, id, 4)].status == 422)
        world.expectOrder()
    }

    @Test func `A mark of what is on its way waits for the outcome`() {
        let world = World()
        let id = world.begun()
        world.submit(ann, Draft())
        let number = world.read(ann, id, 4)
        let beyond = world.read(ann, id, 5)
        #expect(world.tickets[number].answers.isEmpty)
        #expect(world.tickets[beyond].status == 422)
        world.settle()
        world.settle()
        #expect(world.tickets[number].status == 204 && world.cursor(ann, id)?.readSeq == 4)
        world.submit(ann, Draft())
        let lost = world.read(ann, id, 6)
        world.settle(0, .unavailable)
        #expect(world.tickets[lost].status == 422)
        world.expectOrder()
    }

    @Test func `A store that fails moves no cursor, and the next mark is stored`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        let number = world.read(ann, id, 1)
        let more = world.read(ann, id, 2)
        world.settle(0, .unavailable)
        #expect(world.tickets[number].status == 503 && world.tickets[more].status == 503)
        #expect(world.receipts(id).isEmpty && world.pending.isEmpty)
        let again = world.read(ann, id, 1)
        world.settle()
        #expect(world.tickets[again].status == 204 && world.cursor(ann, id)?.readSeq == 1)
        world.expectOrder()
    }

    @Test func `Cursors outlive the memory of their conversation`() {
        let world = World()
        let id = world.begun()
        world.read(ann, id, 2)
        world.read(agent, id, 1)
        world.settleAll()
        world.owner.drop(id)
        let number = world.introduce(agent, id, seq: 2)
        world.settleAll()
        #expect(
            world.told[number]?.filter { $0.contains("receipt") } == [
                World.receipt(id, ann, read: 2, delivered: 2),
                World.receipt(id, agent, read: 1, delivered: 1),
            ])
        let foreign = world.introduce(foreignAgent, id, seq: 2)
        #expect(world.told[foreign] == nil)
        world.expectOrder()
    }

    @Test func `A conversation that is being marked is not dropped`() {
        let world = World()
        let id = world.begun()
        world.read(ann, id, 2)
        let state = world.owner.conversations[id]
        #expect(state.map(world.owner.mayForget) == false)
        world.settle()
        #expect(state.map(world.owner.mayForget) == true)
        world.expectOrder()
    }

    @Test func `An agent's message to a user who is there is delivered, a bot's costs no write`() {
        let world = World()
        let id = world.begun()
        world.connect(ann, core: 4)
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.owner.counters.cursorWrites == 0)
        world.subscribe(agent, core: 2, id)
        world.note(id, isInternal: true)
        #expect(world.receipts(id).isEmpty)
        world.note(id, isInternal: false)
        #expect(world.receipts(id) == [World.receipt(id, ann, read: 0, delivered: 6)])
        world.detach(ann, core: 4)
        world.note(id, isInternal: false)
        #expect(world.receipts(id).count == 1)
        world.introduce(ann, id, seq: 7)
        world.settleAll()
        #expect(world.receipts(id).last == World.receipt(id, ann, read: 0, delivered: 7))
        world.expectOrder()
    }

    @Test func `The agent that is furthest behind makes room for another`() {
        let world = World()
        let id = world.begun()
        for number in 0..<Limits.cursorsPerConversationMax - 1 {
            let person = Person("a\(number)", permissions: Role.agent.permissions)
            world.read(person, id, number == 3 ? 1 : 2)
            world.settleAll()
        }
        world.read(ann, id, 1)
        world.settleAll()
        #expect(world.store.cursors[id]?.count == Limits.cursorsPerConversationMax)
        world.read(other, id, 2)
        world.settleAll()
        #expect(world.store.cursors[id]?.count == Limits.cursorsPerConversationMax)
        let third = Person("a3", permissions: Role.agent.permissions)
        #expect(world.cursor(third, id) == nil && world.cursor(ann, id)?.readSeq == 1)
        world.expectOrder()
    }

    @Test func `Typing over HTTP is told to others and answered`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        let number = world.type(ann, core: 0, id, overHTTP: true)
        #expect(world.tickets[number].status == 204)
        #expect(world.frames.last?.text.contains(#""type":"typing""#) == true)
        #expect(world.frames.last?.delivery.unlessSubject?.text == "ann")
        #expect(world.tickets[world.type(bob, core: 0, id, overHTTP: true)].status == 404)
        world.expectOrder()
    }
}

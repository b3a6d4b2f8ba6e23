import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let agent = Person("agent", permissions: Role.agent.permissions)

extension World {
    fileprivate func begun() -> Identifier {
        submit(ann, Draft())
        settleAll()
        return store.order[0]
    }

    fileprivate func look(_ id: Identifier) {
        closeInactive(id)
        settleAll()
    }

    fileprivate func status(_ id: Identifier) -> ConversationStatus? { store.rows[id]?.status }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        settleAll()
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct ClosingTests {
    @Test func `A conversation without an entry for so long is closed by the system`() {
        let world = World(autoCloseSeconds: 60)
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        world.pass(milliseconds: 59_999)
        world.look(id)
        #expect(world.status(id) == .open)
        world.pass(milliseconds: 1)
        world.look(id)
        #expect(world.status(id) == .closed && world.store.rows[id]?.version == 2)
        let last = world.store.logs[id]?.last?.body.text ?? ""
        #expect(last.contains(#""data":{"status":"closed","reason":"inactive"}"#))
        #expect(last.contains(#""sender":{"type":"system""#))
        #expect(world.frames.last?.delivery.seq == 3)
        #expect(world.owner.closings == [1])
        world.look(id)
        #expect(world.store.head(of: id) == 3, "it is closed once")
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.store.order.count == 2, "what is said next begins another")
        world.expectOrder()
    }

    @Test func `What was said meanwhile counts, though the store did not show it yet`() {
        let world = World(autoCloseSeconds: 60)
        let id = world.begun()
        world.pass(milliseconds: 60_000)
        world.submit(ann, Draft())
        world.closeInactive(id)
        world.settleAll()
        #expect(world.status(id) == .open && world.owner.closings.isEmpty)
        world.pass(milliseconds: 59_999)
        world.look(id)
        #expect(world.status(id) == .open)
        world.expectOrder()
    }

    @Test(arguments: [ConversationStatus.snoozed, .closed, .pending])
    func `Only what is open or pending is closed`(_ status: ConversationStatus) {
        let world = World(autoCloseSeconds: 60)
        let id = world.begun()
        world.patch(agent, id) { $0.status = status }
        world.settleAll()
        world.pass(milliseconds: 600_000)
        world.look(id)
        #expect(world.status(id) == (status == .pending ? .closed : status))
        let counted = [ConversationStatus.snoozed: [], .closed: [0, 1], .pending: [1]]
        #expect(world.owner.closings == counted[status])
        world.expectOrder()
    }

    @Test func `Without the setting nothing is closed, and a store that fails closes nothing`() {
        let never = World()
        let id = never.begun()
        never.pass(milliseconds: 1_000_000_000)
        never.look(id)
        #expect(never.status(id) == .open)
        let world = World(autoCloseSeconds: 60)
        let other = world.begun()
        world.pass(milliseconds: 60_000)
        world.closeInactive(other)
        world.settle(0, .unavailable)
        #expect(world.status(other) == .open && world.owner.closings.isEmpty)
        world.pass(milliseconds: 60_000)
        world.look(other)
        #expect(world.status(other) == .closed)
        world.expectOrder()
    }
}

import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let agent = Person("agent", permissions: Role.agent.permissions)

private func state(_ frame: String) -> String {
    frame.contains(#""state":"online""#) ? "online" : "offline"
}

private func timestamp(_ milliseconds: UInt64) -> String {
    let writer = ByteWriter(capacity: 32)
    writer.append(timestamp: milliseconds)
    return writer.string()
}

extension World {
    fileprivate func begun() -> Identifier {
        submit(ann, Draft())
        settleAll()
        return store.order[0]
    }

    fileprivate var presence: [String] {
        frames.map(\.text).filter { $0.hasPrefix(#"{"type":"presence""#) }.map(state)
    }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        settleAll()
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct PresenceTests {
    @Test func `Agents are told when a user comes, and that it went when the grace is over`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        world.connect(ann, core: 1)
        #expect(world.presence == ["online"])
        world.detach(ann, core: 1)
        world.pass(milliseconds: Limits.presenceGraceMilliseconds - 1)
        world.settlePresence()
        #expect(world.presence == ["online"])
        world.pass(milliseconds: 1)
        world.settlePresence()
        #expect(world.presence == ["online", "offline"])
        let left = timestamp(world.milliseconds - Limits.presenceGraceMilliseconds)
        #expect(world.frames.last?.text.contains("\"last_seen_at\":\"\(left)\"") == true)
        #expect(world.owner.leaving.isEmpty)
        world.expectOrder()
    }

    @Test func `Who is back within the grace has never been away`() {
        let world = World()
        let id = world.begun()
        world.connect(ann, core: 1)
        world.subscribe(agent, core: 2, id)
        for _ in 0..<3 {
            for core in [4, 1] as [UInt8] {
                world.detach(ann, core: 5 - core)
                world.pass(milliseconds: 3000)
                world.settlePresence()
                world.connect(ann, core: core)
            }
        }
        #expect(world.presence.isEmpty)
        world.expectOrder()
    }

    @Test func `A second device changes nothing, and the last one counts`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        world.connect(ann, core: 1)
        world.owner.receive(.attach(core: 3, ann.key))
        world.devices[ann.key, default: 0] |= 1 << 3
        world.take()
        world.detach(ann, core: 1)
        world.pass(milliseconds: 60_000)
        world.settlePresence()
        #expect(world.presence == ["online"])
        world.detach(ann, core: 3)
        world.pass(milliseconds: 60_000)
        world.settlePresence()
        #expect(world.presence == ["online", "offline"])
        world.expectOrder()
    }

    @Test func `Whoever comes later is told how it is, agents alone`() {
        let world = World()
        let id = world.begun()
        func told(_ person: Person) -> [String] {
            (world.told[world.introduce(person, id, seq: 2)] ?? []).filter {
                $0.contains("presence")
            }
        }
        world.subscribe(agent, core: 2, id)
        #expect(told(agent).map(state) == ["offline"])
        #expect(told(agent)[0].contains("last_seen_at") == false, "nobody has seen the user")
        world.connect(ann, core: 1)
        #expect(told(agent).map(state) == ["online"] && told(ann).isEmpty)
        world.detach(ann, core: 1)
        #expect(told(agent).map(state) == ["online"], "it may be back in a moment")
        world.pass(milliseconds: 5000)
        world.settlePresence()
        #expect(told(agent).map(state) == ["offline"])
        #expect(told(agent)[0].contains("last_seen_at"))
        world.expectOrder()
    }

    @Test func `Nobody is told who does not follow, and a user who left is forgotten`() {
        let world = World()
        let id = world.begun()
        world.subscribe(agent, core: 2, id)
        world.connect(ann, core: 1)
        world.detach(ann, core: 1)
        world.forget(core: 2, id)
        let user = world.owner.users[ann.key]
        #expect(user.map(world.owner.mayForget) == false, "its leaving is still to be told")
        world.pass(milliseconds: 5000)
        world.settlePresence()
        #expect(world.presence == ["online"])
        #expect(user.map(world.owner.mayForget) == true)
        world.expectOrder()
    }
}

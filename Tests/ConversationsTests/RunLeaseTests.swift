// Runs that take too long, and runs that somebody comes to while they go on.

import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let agent = Person("agent", permissions: Role.agent.permissions)

/// A world where ann watches on core 9, so that runs are streamed word by word.
private func watched(runLeaseMilliseconds: UInt64 = 30_000) -> World {
    let world = World(runLeaseMilliseconds: runLeaseMilliseconds)
    world.seesEveryRun = true
    world.connect(ann, core: 9)
    return world
}

extension World {
    fileprivate func runFrames(_ state: String) -> [String] {
        frames.map(\.text).filter {
            $0.contains("\"type\":\"run\"") && $0.contains("\"state\":\"\(state)\"")
        }
    }

    /// Sends without waiting for the reply, up to the stored message and its started run.
    fileprivate func startRun(_ text: String = "one two three four") {
        submit(ann, Draft(text: text, socketCore: 9))
        while !reads.isEmpty { deliver(perform()) }
        settle()
    }

    fileprivate var replies: [KeptEntry] {
        store.order.flatMap { store.logs[$0] ?? [] }.filter { $0.answersSeq > 0 }
    }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct RunLeaseTests {
    @Test func `A run that does not end within its lease ends as expired, and the next begins`() {
        let world = watched(runLeaseMilliseconds: 1000)
        world.startRun()
        world.submit(ann, Draft(text: "a", socketCore: 9))
        world.settle()
        world.pass(milliseconds: 999)
        world.tick()
        #expect(world.runFrames("ended").isEmpty)
        world.pass(milliseconds: 1)
        world.tick()
        #expect(world.runFrames("ended").map { $0.contains("\"reason\":\"expired\"") } == [true])
        #expect(world.owner.counters.runsExpired == 1 && world.runFrames("started").count == 2)
        world.settleAll()
        #expect(world.replies.count == 1, "the second message alone has a reply")
        world.expectOrder()
    }

    @Test func `A run whose message is on its way does not expire any more`() {
        let world = watched(runLeaseMilliseconds: 1000)
        world.startRun("a")
        while world.pending.isEmpty { world.tick() }
        world.pass(milliseconds: 5000)
        world.tick()
        #expect(world.runFrames("ended").isEmpty && world.owner.counters.runsExpired == 0)
        world.settleAll()
        #expect(world.replies.count == 1)
        world.expectOrder()
    }

    @Test func `Who comes while a run goes on is told what is out of it`() {
        let world = watched()
        world.startRun()
        for _ in 0..<2 { world.tick() }
        let id = world.store.order[0]
        let number = world.introduce(agent, id, seq: 1)
        let frames = (world.told[number] ?? []).filter { $0.contains("\"type\":\"run\"") }
        #expect(frames.count == 2 && frames[0].contains("\"state\":\"started\""))
        #expect(frames[1].contains("\"index\":2,\"text\":\"You said: one \""))
        world.tick()
        #expect(world.runFrames("delta").last?.contains("\"index\":3,\"text\":\"two \"") == true)
        world.settleAll()
        let late = world.introduce(agent, id, seq: 2)
        #expect(world.told[late]?.contains { $0.contains("\"type\":\"run\"") } == false)
        world.expectOrder()
    }
}

import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: Role.agent.permissions)
private let long = "one two three four"

/// A world where ann watches on core 9, so that runs are streamed word by word.
private func watched(_ policy: RunPolicy = .queue) -> World {
    let world = World(policy: policy)
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
    @discardableResult fileprivate func startRun(_ text: String = long) -> Identifier? {
        submit(ann, Draft(text: text, socketCore: 9))
        while !reads.isEmpty { deliver(perform()) }
        settle()
        return owner.runs.keys.first
    }

    fileprivate var replies: [KeptEntry] {
        store.order.flatMap { store.logs[$0] ?? [] }.filter { $0.answersSeq > 0 }
    }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct RunTests {
    @Test func `A watched run starts, tells one word a tick, and ends when its message is stored`()
    {
        let world = watched()
        world.startRun("a b")
        #expect(world.runFrames("started").count == 1)
        #expect(
            world.runFrames("delta").map { $0.split(separator: "\"text\":")[1] } == ["\"You \"}"])
        #expect(world.owner.needsTick)
        for _ in 0..<3 { world.tick() }
        #expect(world.runFrames("delta").count == 4)
        #expect(world.pending.count == 1 && world.runFrames("ended").isEmpty)
        world.tick()
        #expect(world.runFrames("delta").count == 4, "all is said; the store has it now")
        world.settle()
        #expect(world.runFrames("ended").map { $0.contains("\"reason\":\"completed\"") } == [true])
        #expect(!world.owner.needsTick)
        world.expectOrder()
    }

    @Test func `The deltas together are the reply's text, in at most fifty frames`() {
        let world = watched()
        let words = (0..<400).map { "w\($0)" }.joined(separator: " ")
        world.startRun(words)
        world.settleAll()
        let parts = world.runFrames("delta").map { frame in
            String(frame.split(separator: "\"text\":\"")[1].dropLast(2))
        }
        #expect(parts.joined() == "You said: " + words)
        #expect(parts.count <= Limits.streamFramesMax && parts.count > 10)
        world.expectOrder()
    }

    @Test func `A run that nobody watches is stored at once`() {
        let world = World()
        world.submit(ann, Draft(text: long, waits: false))
        world.deliver(world.perform())
        world.settle()
        #expect(world.pending.count == 1)
        #expect(world.frames.isEmpty)
        world.settleAll()
        #expect(world.replies.count == 1)
        world.expectOrder()
    }

    @Test func `A reply that came with its message is shown as a run in the log's order`() {
        let world = watched()
        world.submit(ann, Draft(text: long))
        world.settleAll()
        let kinds = world.frames.map { frame in
            frame.delivery.seq > 0
                ? "entry \(frame.delivery.seq)"
                : ["started", "delta", "ended"].first { frame.text.contains("\"state\":\"\($0)\"") }
                    ?? "?"
        }
        #expect(kinds == ["entry 1", "started", "delta", "entry 2", "ended"])
        world.expectOrder()
    }

    @Test func `A cancelled run ends at once and leaves no message`() throws {
        let world = watched()
        let run = try #require(world.startRun())
        let ticket = world.cancel(ann, core: 9, run: run)
        #expect(world.tickets[ticket].answers.isEmpty, "its end is told by its frame")
        #expect(world.runFrames("ended").map { $0.contains("\"reason\":\"cancelled\"") } == [true])
        #expect(world.replies.isEmpty && world.pending.isEmpty)
        #expect(world.owner.counters.runsCancelled == 1)
        world.expectOrder()
    }

    @Test func `A run is cancelled by its own user or an agent, and once`() throws {
        let world = watched()
        let run = try #require(world.startRun())
        for stranger in [
            bob, Person("ann", tenant: 1), Person("x", tenant: 1, permissions: [.anyUser]),
        ] {
            let ticket = world.cancel(stranger, core: 2, run: run)
            #expect(world.tickets[ticket].problem?.code == .notFound)
        }
        #expect(world.openRuns.count == 1)
        world.cancel(agent, core: 2, run: run)
        #expect(world.openRuns.isEmpty)
        let late = world.cancel(agent, core: 2, run: run)
        #expect(world.tickets[late].problem?.code == .notFound)
        let unknown = world.cancel(agent, core: 2, run: Identifier(high: 1, low: 1))
        #expect(world.tickets[unknown].problem?.code == .notFound)
        world.expectOrder()
    }

    @Test func `A run whose message is on its way can no longer be cancelled`() throws {
        let world = watched()
        let run = try #require(world.startRun("x"))
        for _ in 0..<5 { world.tick() }
        #expect(world.pending.count == 1)
        world.cancel(ann, core: 9, run: run)
        world.settleAll()
        #expect(world.runFrames("ended").map { $0.contains("completed") } == [true])
        #expect(world.replies.count == 1)
        world.expectOrder()
    }

    @Test func `Over HTTP a cancel is answered with what became of the run`() throws {
        let world = watched()
        let run = try #require(world.startRun())
        let stranger = world.cancel(bob, core: nil, run: run)
        #expect(world.tickets[stranger].problem?.code == .notFound)
        let ticket = world.cancel(ann, core: nil, run: run)
        #expect(world.tickets[ticket].status == 202)
        #expect(
            world.tickets[ticket].body?.contains(#""state":"ended","reason":"cancelled"}"#) == true)
        #expect(world.openRuns.isEmpty)
        let late = world.cancel(ann, core: nil, run: run)
        #expect(world.tickets[late].problem?.code == .notFound)
        world.expectOrder()
    }

    @Test func `Over HTTP a cancel that is too late says so`() throws {
        let world = watched()
        let run = try #require(world.startRun("x"))
        for _ in 0..<5 { world.tick() }
        let ticket = world.cancel(ann, core: nil, run: run)
        #expect(world.tickets[ticket].status == 202)
        #expect(world.tickets[ticket].body?.contains(#""state":"finishing"}"#) == true)
        world.settleAll()
        #expect(world.replies.count == 1)
        world.expectOrder()
    }

    @Test func `A run whose message the store refuses ends as failed`() {
        let world = watched()
        world.startRun("x")
        for _ in 0..<5 { world.tick() }
        world.settle(0, .unavailable)
        #expect(world.runFrames("ended").map { $0.contains("\"reason\":\"failed\"") } == [true])
        #expect(world.replies.isEmpty)
        world.expectOrder()
    }
}

@Suite struct RunPolicyTests {
    /// One run is on its way and three more messages are stored.
    private func crowd(_ policy: RunPolicy) -> World {
        let world = watched(policy)
        world.startRun()
        for text in ["second", "third", "fourth"] {
            world.submit(ann, Draft(text: text, socketCore: 9))
            world.settle()
        }
        return world
    }

    private func texts(_ world: World) -> [String] {
        world.replies.map { reply in
            String(reply.body.text.split(separator: "\"text\":\"")[1].split(separator: "\"")[0])
        }
    }

    @Test func `Queue: each message has a run of its own, in turn`() {
        let world = crowd(.queue)
        #expect(world.openRuns.count == 1)
        world.settleAll()
        #expect(
            texts(world) == [
                "You said: \(long)", "You said: second", "You said: third", "You said: fourth",
            ])
        #expect(world.replies.map(\.answersSeq) == [1, 2, 3, 4])
        world.expectOrder()
    }

    @Test func `Burst: what waits is merged into one run after the current one`() {
        let world = crowd(.burst)
        world.settleAll()
        #expect(texts(world) == ["You said: \(long)", #"You said: second\nthird\nfourth"#])
        #expect(world.replies.map(\.answersSeq) == [1, 4])
        world.expectOrder()
    }

    @Test func `Restart: the current run ends, and its text is merged with the new`() {
        let world = crowd(.restart)
        #expect(
            world.runFrames("ended").filter { $0.contains("\"reason\":\"restarted\"") }.count == 3)
        world.settleAll()
        #expect(texts(world) == [#"You said: one two three four\nsecond\nthird\nfourth"#])
        #expect(world.replies.map(\.answersSeq) == [4])
        world.expectOrder()
    }

    @Test func `Restart: a run whose message is on its way is not restarted`() {
        let world = watched(.restart)
        world.startRun("x")
        for _ in 0..<5 { world.tick() }
        world.submit(ann, Draft(text: "second", socketCore: 9))
        world.settleAll()
        #expect(texts(world) == ["You said: x", "You said: second"])
        world.expectOrder()
    }

    @Test func `An HTTP request that waits behind a run is answered with its own reply`() {
        let world = watched(.queue)
        world.startRun()
        let ticket = world.submit(ann, Draft(text: "mine"))
        world.settle()
        #expect(world.tickets[ticket].answers.isEmpty)
        world.settleAll()
        #expect(world.tickets[ticket].status == 200)
        #expect(world.tickets[ticket].body?.contains("You said: mine") == true)
        world.expectOrder()
    }

    @Test
    func
        `When too many messages wait for replies, the next is refused and the others are answered`()
    {
        let world = watched(.queue)
        world.startRun()
        for _ in 0..<Limits.messagesWaitingPerConversationMax {
            world.submit(ann, Draft(text: "x", socketCore: 9))
            world.settle()
        }
        #expect(world.owner.counters.refusedFull == 0)
        let ticket = world.submit(ann, Draft(text: "y"))
        #expect(world.tickets[ticket].problem?.code == .temporarilyUnavailable)
        #expect(world.owner.counters.refusedFull == 1)
        world.settleAll()
        let log = world.store.logs[world.store.order[0]] ?? []
        #expect(log.count == 2 * (Limits.messagesWaitingPerConversationMax + 1))
        world.expectOrder()
    }
}

@Suite struct HandoffTests {
    @Test func `A handoff is one unit: reply, handler entry and row with a greater token`() {
        let world = World()
        let ticket = world.submit(ann, Draft(text: "human please"))
        world.deliver(world.perform())
        let unit = world.pending[0]
        #expect(unit.entries.map(\.kind) == [.message, .message, .handler])
        #expect(unit.conversation.handler == Handler(type: .human, token: 2))
        #expect(unit.conversation.version == 2)
        world.settleAll()
        #expect(world.tickets[ticket].status == 200)
        let handler = world.store.logs[world.store.order[0]]?.last?.body.text ?? ""
        #expect(
            handler.contains(
                #""content":{"type":"event","name":"handler","data":{"type":"human","token":2}}"#))
        world.expectOrder()
    }

    @Test func `After a handoff messages are accepted and no bot answers`() {
        let world = World()
        world.submit(ann, Draft(text: "human"))
        world.settleAll()
        let asked = world.engine.askedCount
        let tickets = [
            world.submit(ann, Draft()), world.submit(ann, Draft(waits: false)),
            world.submit(ann, Draft(socketCore: 1)),
        ]
        world.settleAll()
        #expect(tickets.map { world.tickets[$0].status } == [202, 202, 200])
        #expect(world.engine.askedCount == asked)
        world.expectOrder()
    }

    @Test func `A later handoff updates the row that is there`() {
        let world = World()
        world.submit(ann, Draft())
        world.settleAll()
        world.submit(ann, Draft(text: "human"))
        #expect(world.pending[0].rowChange == .update)
        world.settleAll()
        world.expectOrder()
    }

    @Test func `A reply that was started before somebody took over never lands`() throws {
        let world = watched()
        world.startRun("x")
        let waiting = world.submit(ann, Draft(text: "behind it"))
        world.settle()
        let id = world.store.order[0]
        let state = try #require(world.owner.conversations[id])
        // What an agent's takeover does to the row.
        state.row.handler = Handler(type: .human, token: state.row.handler.token + 1)
        world.settleAll()
        #expect(world.owner.counters.fencedReplies == 1)
        #expect(world.runFrames("ended").map { $0.contains("\"reason\":\"superseded\"") } == [true])
        #expect(world.replies.isEmpty)
        #expect(world.tickets[waiting].status == 202, "whoever waits is told that it is stored")
        #expect(world.violations == [])
        #expect(world.openRuns.isEmpty && !world.owner.needsTick)
    }

    @Test func `A message behind a run that hands off is accepted without a reply`() {
        let world = watched()
        world.startRun("human")
        let waiting = world.submit(ann, Draft(text: "behind it"))
        world.settle()
        world.settleAll()
        #expect(world.tickets[waiting].status == 202)
        #expect(world.replies.count == 1)
        world.expectOrder()
    }

    @Test func `A handoff that the store refused has not happened`() {
        let world = World()
        world.submit(ann, Draft())
        world.settleAll()
        world.submit(ann, Draft(text: "human"))
        world.settle(0, .unavailable)
        let state = world.owner.conversations[world.store.order[0]]
        #expect(state?.row.handler == Handler(type: .bot, token: 1))
        let ticket = world.submit(ann, Draft())
        world.settleAll()
        #expect(world.tickets[ticket].status == 200)
        world.expectOrder()
    }
}

@Suite struct FollowTests {
    private func begin(_ world: World) -> Identifier {
        world.submit(ann, Draft(waits: false))
        world.settleAll()
        return world.store.order[0]
    }

    @Test func `A subscriber is told the stored head and given every entry behind it`() {
        let world = World()
        let id = begin(world)
        let ticket = world.subscribe(agent, core: 5, id)
        #expect(world.tickets[ticket].follow?.seq == 2)
        world.submit(ann, Draft())
        world.settleAll()
        let seqs = world.frames.filter { $0.cores == 1 << 5 && $0.delivery.seq > 0 }.map(
            \.delivery.seq)
        #expect(seqs == [3, 4])
        world.expectOrder()
    }

    @Test func `The head does not count entries that are still on their way`() {
        let world = World()
        let id = begin(world)
        world.submit(ann, Draft())
        let ticket = world.subscribe(agent, core: 5, id)
        #expect(world.tickets[ticket].follow?.seq == 2)
        world.settleAll()
        world.expectOrder()
    }

    @Test func `A socket that sends follows from its own message on`() {
        let world = World()
        let ticket = world.submit(ann, Draft(socketCore: 3))
        world.settleAll()
        #expect(world.tickets[ticket].follow?.seq == 0)
        #expect(world.frames.filter { $0.delivery.seq > 0 }.map(\.cores) == [8, 8])
        world.expectOrder()
    }

    @Test func `A core that came to follow within a unit is given the rest of that unit`() {
        let world = World()
        let id = begin(world)
        world.submit(ann, Draft(text: "quiet"))
        world.submit(agent, Draft(conversation: id, socketCore: 5, actingFor: ann))
        world.submit(ann, Draft())
        world.settle()
        world.settle()
        let seqs = world.frames.filter { $0.cores & 1 << 5 != 0 && $0.delivery.seq > 0 }.map(
            \.delivery.seq)
        #expect(seqs == [4, 5, 6], "its own message, then the next with its reply")
        world.settleAll()
        world.expectOrder()
    }

    @Test func `A core that forgot a conversation is given nothing more of it`() {
        let world = World()
        let id = begin(world)
        world.subscribe(agent, core: 5, id)
        world.forget(core: 5, id)
        let count = world.frames.count
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.frames.count == count)
        world.expectOrder()
    }

    @Test func `All devices of the user are told, also when they never subscribed`() {
        let world = World()
        for core in [1, 2, 63] as [UInt8] { world.connect(ann, core: core) }
        world.detach(ann, core: 2)
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.frames.allSatisfy { $0.cores == 1 << 1 | 1 << 63 } && !world.frames.isEmpty)
        world.expectOrder()
    }

    @Test func `Typing goes to everybody but the socket that types, and is not stored`() {
        let world = World()
        let id = begin(world)
        world.connect(ann, core: 1)
        let ticket = world.type(ann, core: 1, id)
        let frame = world.frames.last
        #expect(
            frame?.text == "{\"type\":\"typing\",\"conversation_id\":\"\(id.text(.conversation))\","
                + "\"sender\":{\"type\":\"user\",\"id\":\"ann\"},\"state\":\"start\"}")
        #expect(frame?.delivery.except?.ordinal == UInt32(ticket))
        world.type(agent, core: 2, id, isStart: false)
        #expect(
            world.frames.last?.text.contains(
                #""sender":{"type":"agent","id":"agent"},"state":"stop"}"#) == true)
        #expect(world.store.head(of: id) == 2)
        world.expectOrder()
    }
}

@Suite struct BoundedMemoryTests {
    private func fill(_ world: World, _ count: Int) {
        for number in 0..<count {
            let person = Person("filler\(number)")
            world.owner.receive(
                .connect(
                    Origin(
                        core: 0, isSocket: true, token: Token(slot: 0, generation: 0), ordinal: 0),
                    person.key, shardKey: 0))
            world.owner.receive(.detach(core: 0, person.key))
            world.owner.takeActions { _ in }
        }
    }

    @Test func `Users who connected and left without a word do not stay in memory`() {
        let world = World()
        fill(world, Limits.usersCachedPerShard + 5000)
        #expect(world.owner.users.count <= Limits.usersCachedPerShard)
    }

    @Test func `A user whose conversation is not stored yet is not forgotten`() {
        let world = World()
        world.submit(ann, Draft(waits: false))
        world.deliver(world.perform())
        #expect(world.pending.count == 1)
        fill(world, 2 * Limits.usersCachedPerShard + 5000)
        world.submit(ann, Draft(waits: false))
        world.settleAll()
        #expect(
            world.store.order.count == 1, "the second message belongs to the first conversation")
        #expect(world.store.head(of: world.store.order[0]) == 4)
    }
}

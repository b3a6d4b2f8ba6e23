// Random requests against a store that fails, answers late and out of order. `SEED=n` replays one
// seed:
//     SEED=7 swift test --filter ConversationSimulation

import Bytes
import ChatModel
import Glibc
import Testing

@testable import Conversations

private let seeds: [UInt64] = {
    // Safety: the environment is only read, and copied at once.
    if let text = unsafe getenv("SEED"), let seed = unsafe UInt64(String(cString: text)) {
        return [seed]
    }
    return Array(1...600)
}()

extension Random {
    fileprivate mutating func below(_ count: Int) -> Int { Int(next() % UInt64(count)) }
    fileprivate mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    fileprivate mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }
}

/// One run: who there is, how likely each fault is, and the requests made so far.
private struct Simulation {
    var random: Random
    let world: World
    let people: [Person]
    let agent: Person
    let foreignAgent: Person
    /// Faults in percent, decided by the seed: every fourth run has none.
    let unavailable: Int
    let foreign: Int
    let evicts: Bool
    let cancels: Bool
    /// Agents change conversations, and close them.
    let patches: Bool
    /// Conversations in which nothing is said for a minute are closed.
    let closes: Bool
    var late: [OwnerReadResult] = []
    var drafts: [(person: Person, draft: Draft)] = []

    init(seed: UInt64) {
        random = Random(seed: seed)
        world = World(
            policy: [.queue, .burst, .restart][Int(seed % 3)], sessionTimeToLiveSeconds: 60,
            autoCloseSeconds: seed % 4 != 0 && seed % 5 == 0 ? 60 : 0,
            // A calm run has no run that expires, though time leaps.
            runLeaseMilliseconds: seed % 4 == 0 ? 1_000_000_000 : 30_000)
        people = [
            Person("ann"), Person("bob"), Person("cy"), Person("ann", tenant: 1),
        ]
        agent = Person("agent", permissions: Role.agent.permissions)
        foreignAgent = Person("agent", tenant: 1, permissions: Role.admin.permissions)
        let isCalm = seed % 4 == 0
        unavailable = isCalm ? 0 : random.below(30)
        foreign = isCalm ? 0 : random.below(20)
        closes = seed % 4 != 0 && seed % 5 == 0
        evicts = random.chance(60)
        cancels = !isCalm
        patches = random.chance(isCalm ? 0 : 50)
        world.seesEveryRun = random.chance(50)
        if world.seesEveryRun { for person in people { world.connect(person, core: 40) } }
    }

    var isCalm: Bool { unavailable == 0 && foreign == 0 && !cancels }

    mutating func run(steps: Int) {
        for _ in 0..<steps where world.violations.isEmpty { step() }
        while !late.isEmpty { world.deliver(late.removeFirst()) }
        world.settleAll()
        world.checkAtRest()
    }

    private mutating func step() {
        world.pass(milliseconds: random.chance(2) ? 100_000 : UInt64(random.below(50)))
        switch random.below(100) {
        case 0..<25: submit()
        case 25..<33: resend()
        case 33..<36: follow()
        case 36..<38 where patches: patch()
        case 38..<42: socketOfUser()
        case 42..<44: type()
        case 44..<45: mark()
        case 45..<46: lookAtTime()
        case 46..<49: if cancels { cancel() }
        case 49..<58: world.tick()
        case 58..<63: if evicts { evict() }
        case 63..<88: settle()
        case 36..<38: follow()
        default: read()
        }
    }

    private mutating func patch() {
        guard let id = conversation() else { return }
        if random.chance(40) {
            let key = random.chance(50) ? UInt64(random.below(20)) : nil
            let message = AgentMessage(
                content: ByteBlock(#"{"type":"text","text":"note"}"#),
                isInternal: random.chance(50),
                idempotency: key.map { Digest(high: .max, low: $0) },
                fingerprint: UInt64(random.below(2)))
            world.command(random.pick([agent, foreignAgent]), id, .message(message))
            return
        }
        var patch = ConversationPatch()
        if random.chance(50) {
            let version = world.store.rows[id]?.version ?? 1
            patch.condition = .anyOf([random.chance(50) ? version : version + 1])
        }
        if random.chance(50) {
            patch.status = random.pick(ConversationStatus.allCases)
        }
        if random.chance(50) {
            patch.handler = random.chance(50) ? .human : .bot
            patch.handlerID = random.chance(50) ? ByteBlock("other") : nil
        }
        if random.chance(30) { patch.labels = .set(ByteBlock("[\"\(random.below(9))\"]")) }
        world.command(random.pick([agent, agent, foreignAgent]), id, .patch(patch))
    }

    private mutating func conversation() -> Identifier? {
        world.store.order.isEmpty || random.chance(5)
            ? (random.chance(50) ? Identifier(high: 7, low: 7) : nil)
            : random.pick(world.store.order)
    }

    private mutating func submit() {
        var draft = Draft()
        let word = random.pick([
            "hello", "hello", "tell me a story of many words and more", "quiet", "order", "human",
            "one two three four five six seven", "x",
        ])
        draft.text = word == "human" && random.chance(70) ? "hm" : word
        draft.body = random.next()
        draft.channel = random.chance(80) ? .web : .sms
        if random.chance(60) { draft.key = UInt64(random.below(1_000_000)) }
        if random.chance(40) { draft.socketCore = UInt8(random.below(5)) }
        draft.waits = random.chance(65)
        if random.chance(25) { draft.conversation = conversation() }
        var person = random.pick(people)
        if random.chance(15) {
            draft.actingFor = random.pick(Array(people.prefix(3)))
            person = agent
        }
        drafts.append((person, draft))
        world.submit(person, draft)
    }

    /// The same key again: the same body or another, over HTTP or a socket.
    private mutating func resend() {
        guard !drafts.isEmpty else { return }
        var (person, draft) = random.chance(60) ? drafts[drafts.count - 1] : random.pick(drafts)
        guard draft.key != nil else { return }
        if random.chance(25) { draft.body &+= 1 }
        draft.socketCore = random.chance(50) ? UInt8(random.below(5)) : nil
        draft.waits = random.chance(50)
        world.submit(person, draft)
    }

    private mutating func follow() {
        guard let id = conversation() else { return }
        let core = UInt8(random.below(5))
        if random.chance(30) { return world.forget(core: core, id) }
        world.subscribe(random.pick(people + [agent, foreignAgent]), core: core, id)
    }

    private mutating func socketOfUser() {
        let (person, core) = (random.pick(people), UInt8(random.below(5)))
        if random.chance(50) {
            world.connect(person, core: core)
        } else {
            world.detach(person, core: core)
        }
    }

    private mutating func type() {
        guard let id = conversation() else { return }
        world.type(
            random.pick(people + [agent, foreignAgent]), core: 1, id, isStart: random.chance(50),
            overHTTP: random.chance(30))
    }

    /// What a core does once a second.
    private mutating func lookAtTime() {
        world.settlePresence()
        if closes, let id = conversation() { world.closeInactive(id) }
    }

    /// Somebody reads, up to any entry or beyond, or comes to see where the others are.
    private mutating func mark() {
        guard let id = conversation() else { return }
        let person = random.pick(people + [agent, agent, foreignAgent])
        let head = world.store.head(of: id)
        if random.chance(30) {
            world.introduce(person, id, seq: head)
            return
        }
        world.read(
            person, id, UInt64(random.below(Int(head) + 3)), core: random.chance(60) ? 1 : nil)
    }

    private mutating func cancel() {
        let running = world.owner.runs.keys.sorted { $0.high < $1.high }
        let id =
            running.isEmpty || random.chance(20)
            ? Identifier(high: 5, low: 5) : random.pick(running)
        world.cancel(random.pick(people + [agent, foreignAgent]), core: 2, run: id)
    }

    /// What the caches' clocks may do at any time to a state that is idle.
    private mutating func evict() {
        let owner = world.owner
        let idle = world.store.order.filter {
            owner.conversations[$0].map(owner.mayForget) ?? false
        }
        if !idle.isEmpty, random.chance(60) { return world.owner.drop(random.pick(idle)) }
        let person = random.pick(people)
        if let user = world.owner.users[person.key], world.owner.mayForget(user) {
            world.owner.users[person.key] = nil
        }
    }

    private mutating func settle() {
        guard !world.pending.isEmpty else { return }
        let place = random.below(world.pending.count)
        let fate: World.Fate =
            random.chance(unavailable)
            ? .unavailable : random.chance(foreign) ? .afterForeignEntry : .stored
        world.settle(place, fate)
    }

    /// A read is carried out at one moment and its result comes at a later one.
    private mutating func read() {
        if !late.isEmpty, random.chance(50) {
            return world.deliver(late.remove(at: random.below(late.count)))
        }
        guard !world.reads.isEmpty else { return }
        late.append(
            world.perform(random.below(world.reads.count), isAvailable: !random.chance(unavailable))
        )
    }

    /// While nothing is ever closed, a user has one conversation a channel.
    func checkOneConversationAChannel() {
        if patches || closes { return }
        var seen: Set<String> = []
        for id in world.store.order {
            guard let row = world.store.rows[id] else { continue }
            let name = "\(row.tenant.value) \(row.userID.bytes.string()) \(row.channel)"
            if !seen.insert(name).inserted { world.violate("\(name) has two conversations") }
        }
    }

    /// Without faults and cancels, and with the queue policy, every message has just one reply.
    func checkEveryMessageIsAnswered() {
        guard isCalm, world.policy == .queue else { return }
        for id in world.store.order {
            let log = world.store.logs[id] ?? []
            guard !log.contains(where: { $0.kind == .handler }) else { continue }
            for entry in log
            where entry.isInbound && !entry.body.bytes.contains("\"text\":\"quiet\"") {
                if log.filter({ $0.answersSeq == entry.seq }).count != 1 {
                    world.violate("a message has not just one reply")
                }
            }
        }
    }
}

@Suite struct ConversationSimulation {
    @Test(arguments: seeds)
    func `Whatever the store does, no rule of a conversation is broken`(_ seed: UInt64) {
        var simulation = Simulation(seed: seed)
        simulation.run(steps: 300)
        simulation.checkOneConversationAChannel()
        simulation.checkEveryMessageIsAnswered()
        let told = simulation.world.violations.prefix(5).joined(separator: "; ")
        #expect(told == "", "replay with SEED=\(seed) swift test --filter ConversationSimulation")
        #expect(simulation.world.tickets.count > 50, "the simulation does something")
    }

    @Test func `The simulation meets every kind of fault and answer`() {
        var total = OwnerCounters()
        var codes: Set<ProblemCode> = []
        var statuses: Set<Int> = []
        for seed in UInt64(1001)...1040 {
            var simulation = Simulation(seed: seed)
            simulation.run(steps: 300)
            let counters = simulation.world.owner.counters
            total.duplicates += counters.duplicates
            total.conflicts += counters.conflicts
            total.runsStarted += counters.runsStarted
            total.runsCancelled += counters.runsCancelled
            for ticket in simulation.world.tickets {
                if let problem = ticket.problem { codes.insert(problem.code) }
                if let status = ticket.status { statuses.insert(status) }
            }
        }
        #expect(total.duplicates > 20 && total.conflicts > 20)
        #expect(total.runsStarted > 500 && total.runsCancelled > 10)
        #expect(
            codes == [
                .conflict, .notFound, .idempotencyMismatch, .temporarilyUnavailable,
                .preconditionFailed, .validationFailed,
            ])
        #expect(statuses.isSuperset(of: [200, 202, 404, 409, 422, 503]))
    }
}

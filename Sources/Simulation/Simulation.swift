// The whole service in one thread, from a seed: every core's loop, the rings, the parsers, the
// owners, delivery; a network, a store and clients that do their worst; and the checks.
//
// Phases: busy with faults, then quiet without, then one last message of everybody, then rest.
// Nothing here reads a clock or the kernel's randomness, and nothing sleeps.
//
// A dictionary's order is the one thing that a seed does not decide, unless the process runs with
// SWIFT_DETERMINISTIC_HASHING=1: `simulate` sees to that.

import ChatModel
import Conversations
import ShardRuntime

public struct SimulationResult: Sendable {
    public let seed: UInt64
    /// Rules that were broken; empty when all is well.
    public let violations: [String]
    /// Of everything that happened: two runs of one seed have the same.
    public let traceHash: UInt64
    public let virtualNanoseconds: UInt64
    public let eventCount: Int
    public let turnCount: Int
    public let entryCount: Int
    /// What the run met, by name.
    public let counts: [String: Int]
}

public final class Simulation {
    private static let eventsMax = 3_000_000

    private let seed: UInt64
    private let around: Surroundings
    private let network: SimulatedNetwork
    private let archive: Archive
    private let journal: Journal
    private let setting: Setting
    private var process: SimulatedProcess?
    private var clients: [Client] = []
    private var turnCount = 0

    /// `trace` is called with a line for each thing that happens.
    public static func run(
        seed: UInt64, plant: Plant? = nil, trace: ((String) -> Void)? = nil
    ) -> SimulationResult {
        let simulation = Simulation(seed: seed, plant: plant, trace: trace)
        return simulation.run()
    }

    private init(seed: UInt64, plant: Plant?, trace: ((String) -> Void)?) {
        self.seed = seed
        around = Surroundings(seed: seed, trace: trace)
        network = SimulatedNetwork(around, plant: plant)
        archive = Archive(plant: plant)
        journal = Journal(around, archive)
        setting = Setting(around)
        for tenant in setting.directory.tenants where tenant.autoCloseSeconds > 0 {
            archive.tenants[tenant.index] = tenant.name
        }
    }

    private func run() -> SimulationResult {
        let start = around.agenda.now
        begin()
        busy()
        quiet()
        sayLast()
        checkAtRest()
        end()
        turnCount += process?.turnCount ?? 0
        return SimulationResult(
            seed: seed, violations: around.violations, traceHash: around.trace.hash,
            virtualNanoseconds: around.agenda.now - start, eventCount: around.agenda.eventCount,
            turnCount: turnCount, entryCount: archive.entryCount, counts: journal.counts)
    }

    /// Lets this much time pass, unless a rule is broken meanwhile.
    private func pass(_ nanoseconds: UInt64) {
        let end = around.agenda.now + nanoseconds
        while around.violations.isEmpty, around.agenda.step(until: end) {
            if around.agenda.eventCount > Self.eventsMax {
                around.violate("the simulation never comes to rest")
            }
        }
    }

    // MARK: Phases

    private func begin() {
        process = SimulatedProcess(around, network, archive, setting)
        for person in setting.people {
            for _ in 0..<1 + around.chance.below(3) { add(person) }
        }
        for agent in setting.agents { add(agent) }
        for client in clients { client.begin() }
        watch()
    }

    private func add(_ person: Person) {
        let client = Client(
            number: clients.count, person: person, around: around, network: network,
            journal: journal)
        client.pauseNanoseconds = around.chance.pick(
            [50 * .millisecond, 300 * .millisecond, .second])
        clients.append(client)
    }

    private func busy() {
        let duration = around.chance.between(4 * .second, 12 * .second)
        for _ in 0..<around.faults.crashCount {
            around.agenda.after(around.chance.between(.second / 2, duration)) { [unowned self] in
                crash()
            }
        }
        pass(duration)
    }

    private func crash() {
        guard let process, process.isAlive, around.faults.crashCount > 0 else { return }
        around.trace.note("the process crashes")
        journal.count("crash")
        turnCount += process.turnCount
        process.crash()
        self.process = nil
        around.agenda.after(around.chance.between(10 * .millisecond, 2 * .second)) {
            [unowned self] in restart()
        }
    }

    private func restart() {
        around.trace.note("the process starts again")
        if around.chance.percent(30) { around.faults.coreCount = 1 + around.chance.below(4) }
        process = SimulatedProcess(around, network, archive, setting)
    }

    private func quiet() {
        around.trace.note("quiet from here on")
        around.faults.end()
        for client in clients {
            client.isQuiet = true
            if let link = client.link { network.resume(link) }
        }
        pass(25 * .second)
    }

    /// A last message of every user must come to every socket of that user.
    private func sayLast() {
        guard around.violations.isEmpty else { return }
        var last: [(client: Client, intent: Intent)] = []
        for person in setting.people {
            let client = Client(
                number: clients.count, person: person, around: around, network: network,
                journal: journal)
            clients.append(client)
            client.phase = .http
            client.link = network.connect(client)
            let intent = journal.intend(
                person, isKeyed: true, words: "farewell", channel: "web", conversation: nil)
            client.post(intent)
            last.append((client, intent))
        }
        // Without faults an answer takes milliseconds; behind a wake-up that got lost, as long as
        // the next timer.
        pass(400 * .millisecond)
        if around.violations.isEmpty, last.contains(where: { $0.intent.acknowledged == nil }) {
            around.violate("without faults, an answer takes longer than 400 ms")
        }
        pass(15 * .second)
        guard around.violations.isEmpty else { return }
        for (_, intent) in last {
            guard let place = intent.acknowledged else {
                noteCensus()
                around.violate("without faults, intent \(intent.number) was not acknowledged")
                continue
            }
            for client in clients where client.isOpen && client.person.key == intent.person.key {
                if client.followers[place.conversation]?.isMuted ?? false { continue }
                if !client.shown.contains(intent.number) {
                    client.violate("was not shown intent \(intent.number)")
                }
            }
        }
    }

    // MARK: Checks

    /// Once a second: nothing is held beyond its bound, and the wall clock may jump.
    private func watch() {
        checkBounds()
        if around.chance.permille(around.faults.clockJumpPermille * 20) {
            around.trace.note("the wall clock jumps")
            let jump = around.chance.between(0, 4000)
            around.agenda.wallOffsetMilliseconds =
                around.agenda.wallOffsetMilliseconds + jump - 2000
        }
        around.agenda.after(.second) { [unowned self] in watch() }
    }

    private func checkBounds() {
        for core in process?.cores ?? [] {
            let census = core.shard.census()
            if census.outboxBytesMax > Limits.outboxBytesMax + 4 << 20 {
                around.violate("an outbox holds \(census.outboxBytesMax) bytes")
            }
            if census.requestsInFlight < 0 { around.violate("fewer than no requests in flight") }
            if census.requestsInFlight > Limits.requestsInFlightPerShardMax + 64 {
                around.violate("\(census.requestsInFlight) requests are in flight")
            }
            if census.connections > network.openLinkCount {
                around.violate("more connections than descriptors")
            }
        }
    }

    private func noteCensus() {
        for (index, core) in (process?.cores ?? []).enumerated() {
            around.trace.note("core \(index): \(core.shard.census())")
        }
    }

    private func checkAtRest() {
        guard around.violations.isEmpty else { return }
        for client in clients {
            if !client.calls.isEmpty, !client.isSpoilt {
                client.violate("\(client.calls[0].id) is never answered")
            }
            guard client.isOpen else { continue }
            if let frame = client.frames.first { client.violate("\(frame.id) is never answered") }
            if let run = client.runs.first { client.violate("run \(run.id) never ends") }
            checkPresence(client)
            for id in archive.order {
                guard let follower = client.followers[id], let last = follower.lastSeq,
                    !follower.isMuted,
                    last < shownHead(of: id, to: client.person)
                else { continue }
                client.violate("was not shown what is behind \(last) of \(archive.head(of: id))")
            }
        }
        journal.checkAtRest()
        for (index, core) in (process?.cores ?? []).enumerated() {
            let census = core.shard.census()
            checkIdle(census.owner, "core \(index)")
            if census.requestsInFlight != 0 {
                around.violate("core \(index) waits for \(census.requestsInFlight) answers")
            }
            if census.connectionsDirty + census.keyLookups != 0 {
                around.violate("core \(index) forgets a connection")
            }
            if census.buffersLent != 0 {
                around.violate("core \(index) has lost \(census.buffersLent) buffers")
            }
        }
    }

    /// Whoever was told of a user's presence was told how it is now.
    private func checkPresence(_ agent: Client) {
        for id in archive.order {
            guard let shown = agent.present[id], let row = archive.rows[id] else { continue }
            let key = UserKey(tenant: row.tenant, userID: row.userID)
            let isThere = clients.contains { $0.isOpen && $0.person.key == key }
            if isThere, !shown {
                agent.violate("takes \(row.userID.bytes.string()) for offline, who is there")
            }
        }
    }

    /// The last known entry that a person may see.
    private func shownHead(of id: Identifier, to person: Person) -> UInt64 {
        var head = archive.knownHead(of: id)
        while journal.isHidden(id, head, from: person) { head -= 1 }
        return head
    }

    private func checkIdle(_ owner: OwnerCensus, _ name: String) {
        if owner.runs + owner.unitsOnTheirWay + owner.waiting + owner.reads != 0 {
            around.violate("\(name)'s owner is not at rest: \(owner)")
        }
        if owner.keysInProgress + owner.repeatedKeys != 0 {
            around.violate("\(name)'s owner keeps keys: \(owner)")
        }
    }

    /// Everybody goes, or is sent away; nothing of them stays.
    private func end() {
        guard around.violations.isEmpty else { return }
        let drains = around.chance.percent(40)
        if drains {
            process?.drain()
        } else {
            for client in clients {
                if let link = client.link {
                    network.close(link, around.chance.pick([.orderly, .reset, .silent]))
                }
                client.lose()
            }
        }
        // Longer than every time limit of a connection whose peer is gone without a word.
        pass(100 * .second)
        guard around.violations.isEmpty else { return }
        if drains, !(process?.state.areAllDrained ?? false) {
            around.violate("the drain does not end")
        }
        if network.openLinkCount != 0 {
            around.violate("\(network.openLinkCount) connections stay open")
        }
        for (index, core) in (process?.cores ?? []).enumerated() {
            let census = core.shard.census()
            let rest =
                census.connections + census.connectionsHeld + census.followedConversations
                + census.usersConnected
                + census.owner.followed + census.owner.usersWithDevices + census.buffersLent
            if rest != 0 { around.violate("core \(index) keeps something: \(census)") }
        }
    }
}

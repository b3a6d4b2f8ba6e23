// One life of the service's process: its cores with their loops, the rings, the store's threads.

import ChatModel
import Identity
import Logging
import Reactor
import Rings
import ShardRuntime

/// One core: the very loop and shard of the product.
final class SimulatedCore {
    let shard: Shard
    fileprivate var loop: EventLoop<SimulatedBackend>
    /// When the turn that runs now is over.
    fileprivate var busyUntil: UInt64 = 0
    /// When the core runs next, and which of its wake-ups that is: earlier ones are void.
    fileprivate var wakeTime: UInt64 = .max
    fileprivate var wakeTicket = 0
    fileprivate var timeoutNanoseconds: UInt64 = 0

    init(_ shard: Shard, _ loop: consuming EventLoop<SimulatedBackend>) {
        self.shard = shard
        self.loop = loop
    }
}

/// Owner: the simulation's one thread.
final class SimulatedProcess {
    let state: ServiceState
    let store: SimulatedStore
    private(set) var cores: [SimulatedCore] = []
    private let bells: [Doorbell]
    private let around: Surroundings
    private let network: SimulatedNetwork
    private(set) var isAlive = true
    private(set) var turnCount = 0

    init(
        _ around: Surroundings, _ network: SimulatedNetwork, _ archive: Archive, _ setting: Setting
    ) {
        self.around = around
        self.network = network
        let count = around.faults.coreCount
        network.start(cores: count)
        let bells = (0..<count).map { SimulatedProcess.bell(network, core: $0) }
        self.bells = bells
        store = SimulatedStore(around, archive, coreBells: bells, readerCount: 2)
        let entropy = SeededEntropy(seed: around.chance.next())
        let source = { [agenda = around.agenda] in (agenda.now, agenda.milliseconds) }
        state = ServiceState(
            configuration: setting.configuration, directory: setting.directory,
            tokenSettings: setting.tokenSettings, coreCount: count,
            backendName: SimulatedBackend.name, clock: LoopClock(source: source),
            storeMetrics: store.metrics, logger: setting.logger,
            entropy: Entropy { entropy.bytes($0) })
        let mesh = Mesh(bells: bells, capacity: around.faults.meshRingCapacity)
        for index in 0..<count {
            let operations = OperationQueue()
            let pool = ReceivePool(count: around.faults.receiveBuffers)
            let clock = LoopClock(source: source)
            let parts = ShardParts(
                index: index, bell: bells[index], listener: network.listeners[index].descriptor,
                store: store.clients[index], mesh: mesh)
            let shard = Shard(
                parts, service: state, clock: clock, operations: operations, buffers: pool)
            let loop = EventLoop(
                SimulatedBackend(network: network, core: index, pool: pool),
                operations: operations, clock: clock, doorbell: bells[index])
            cores.append(SimulatedCore(shard, loop))
        }
        network.wake = { [weak self] core in self?.notify(core) }
        for (index, core) in cores.enumerated() {
            core.loop.begin(core.shard)
            settle(core, index)
        }
        state.setReady()
    }

    private static func bell(_ network: SimulatedNetwork, core: Int) -> Doorbell {
        let sockets = Unshared(network)
        return Doorbell(
            descriptor: network.bells[core].descriptor,
            write: { _ in sockets.value?.setBell(core, isRung: true) },
            clear: { _ in sockets.value?.setBell(core, isRung: false) })
    }

    func crash() {
        isAlive = false
        store.crash()
        network.wake = { _ in }
        network.crash()
    }

    /// SIGTERM, as `Service.drain` does it.
    func drain() {
        state.setDraining()
        state.setClosing()
        ringAll()
    }

    private func ringAll() {
        guard isAlive, !state.areAllDrained else { return }
        for bell in bells { bell.ringIfAsleep() }
        around.agenda.after(10 * .millisecond) { [weak self] in self?.ringAll() }
    }

    // MARK: Turns

    /// Something became ready: the core wakes, unless it is still in its turn.
    private func notify(_ index: Int) {
        guard isAlive, index < cores.count else { return }
        let latency = around.chance.between(0, 30 * .microsecond)
        schedule(index, at: max(around.agenda.now + latency, cores[index].busyUntil))
    }

    private func schedule(_ index: Int, at time: UInt64) {
        let core = cores[index]
        guard time < core.wakeTime else { return }
        core.wakeTime = time
        core.wakeTicket += 1
        let ticket = core.wakeTicket
        around.agenda.at(time) { [weak self] in
            guard let self, isAlive, core.wakeTicket == ticket else { return }
            turn(core, index)
        }
    }

    private func turn(_ core: SimulatedCore, _ index: Int) {
        turnCount += 1
        around.trace.note("core \(index) turns")
        core.loop.wakeUp(core.shard, timeoutNanoseconds: core.timeoutNanoseconds)
        settle(core, index)
    }

    /// The turn is over: the core falls asleep, or goes on at once when there is work.
    private func settle(_ core: SimulatedCore, _ index: Int) {
        core.timeoutNanoseconds = core.loop.fallAsleep(core.shard)
        let now = around.agenda.now
        var cost = around.chance.between(5 * .microsecond, 60 * .microsecond)
        if around.chance.permille(around.faults.pausePermille) {
            cost = around.chance.between(.millisecond, 200 * .millisecond)
        }
        core.busyUntil = now + cost
        core.wakeTime = .max
        core.wakeTicket += 1
        if core.timeoutNanoseconds == 0 || network.isReady(index) {
            schedule(index, at: core.busyUntil)
        } else if core.timeoutNanoseconds < .max {
            schedule(index, at: max(core.busyUntil, now + core.timeoutNanoseconds))
        }
    }
}

/// Carries an object into the closures of bells, which are made for threads.
final class Unshared<Value: AnyObject>: @unchecked Sendable {
    // Safety: a simulation has one thread.
    private(set) weak var value: Value?
    init(_ value: Value) { self.value = value }
}

/// Random bytes from a seed.
final class SeededEntropy: @unchecked Sendable {
    // Safety: a simulation has one thread.
    private var random: Random

    init(seed: UInt64) { random = Random(seed: seed) }

    func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next() >> 32) }
    }
}

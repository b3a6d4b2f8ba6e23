// The store's threads, one life of them: they take units and jobs from the very rings that the real
// store takes them from, and send events back. The archive is their disk.

import Bytes
import ChatModel
import Rings
import Stores

/// Owner: the simulation's one thread. Each of the store's threads is a chain of events: look at
/// the rings, work for a while, tell, look again; and a bell that wakes it when it sleeps.
final class SimulatedStore {
    private struct WriterLink {
        let units: Inlet<CommitUnit>
        let events: Port<StoreEvent>
    }

    private final class Reader {
        var links: [(jobs: Inlet<ReadJob>, events: Port<StoreEvent>)] = []
        let bell: Doorbell
        var next = 0

        init(bell: Doorbell) { self.bell = bell }
    }

    let metrics = StoreMetrics()
    private(set) var clients: [StoreClient] = []
    private let around: Surroundings
    private let archive: Archive
    private var writerLinks: [WriterLink] = []
    private var readers: [Reader] = []
    private let writerBell: Doorbell
    /// Taken from the rings and not yet committed.
    private var batch: [(core: Int, unit: CommitUnit)] = []
    private var isAlive = true
    private var identifiers: IdentifierSource
    private(set) var commitCount = 0

    init(_ around: Surroundings, _ archive: Archive, coreBells: [Doorbell], readerCount: Int) {
        self.around = around
        self.archive = archive
        identifiers = IdentifierSource(seed: around.chance.next())
        let wakeups = Wakeups(around, count: 1 + readerCount)
        writerBell = wakeups.bell(0)
        let capacity = around.faults.storeRingCapacity
        for index in 0..<readerCount { readers.append(Reader(bell: wakeups.bell(1 + index))) }
        for bell in coreBells {
            let units = Ring<CommitUnit>(capacity: capacity)
            let events = Ring<StoreEvent>(capacity: capacity)
            writerLinks.append(
                WriterLink(
                    units: Inlet(units.consumer), events: Port(events.producer, doorbell: bell)))
            var jobPorts: [Port<ReadJob>] = []
            var inlets = [Inlet(events.consumer)]
            for reader in readers {
                let jobs = Ring<ReadJob>(capacity: capacity)
                let events = Ring<StoreEvent>(capacity: capacity)
                jobPorts.append(Port(jobs.producer, doorbell: reader.bell))
                inlets.append(Inlet(events.consumer))
                reader.links.append(
                    (Inlet(jobs.consumer), Port(events.producer, doorbell: bell)))
            }
            clients.append(
                StoreClient(
                    units: Port(units.producer, doorbell: writerBell), jobs: jobPorts,
                    inlets: inlets))
        }
        wakeups.actions = [{ [weak self] in self?.write() }]
        for index in readers.indices { wakeups.actions.append { [weak self] in self?.look(index) } }
        write()
        for index in readers.indices { look(index) }
    }

    /// The process dies. What was being committed is on the disk as a whole, or not at all.
    func crash() {
        isAlive = false
        guard !batch.isEmpty, around.chance.percent(50) else { return }
        for item in batch { _ = archive.apply(item.unit) }
        around.trace.note("store: the commit under way survives the crash, \(batch.count) units")
    }

    // MARK: The writer

    private func write() {
        guard isAlive, batch.isEmpty else { return }
        writerBell.announceAwake()
        gather()
        if batch.isEmpty {
            writerBell.announceSleep()
            if writerLinks.contains(where: { !$0.units.isEmpty() }) { soon { $0.write() } }
            return
        }
        var duration = around.chance.between(
            50 * .microsecond, max(60 * .microsecond, around.faults.commitMaxNanoseconds))
        if around.chance.permille(around.faults.stallPermille) {
            duration = around.chance.between(.second / 2, 8 * .second)
            around.trace.note("store: the disk stalls for \(duration / .millisecond) ms")
        }
        around.agenda.after(duration) { [weak self] in self?.commit() }
    }

    private func gather() {
        let countMax = around.chance.percent(20) ? 1 + around.chance.below(4) : 2048
        for (core, link) in writerLinks.enumerated() {
            _ = link.units.drain(limit: countMax) { batch.append((core, $0)) }
        }
    }

    private func commit() {
        guard isAlive else { return }
        let fails = around.chance.permille(around.faults.unavailablePermille)
        metrics.isWritable.set(fails ? 0 : 1)
        var outcomes: [CommitOutcome] = []
        for item in batch {
            if !fails, around.chance.permille(around.faults.conflictPermille) {
                let id = item.unit.conversation.id
                let made = identifiers.next(
                    milliseconds: around.agenda.milliseconds, shardKey: id.shardKey)
                archive.appendForeign(to: id, made, milliseconds: around.agenda.milliseconds)
            }
            let outcome = fails ? .unavailable : archive.apply(item.unit)
            around.trace.note(
                "store: unit of \(item.unit.entries.count) entries from core \(item.core): "
                    + describe(outcome, item.unit))
            around.trace.mix(item.unit.conversation.id.low)
            outcomes.append(outcome)
        }
        commitCount += 1
        let done = batch
        around.agenda.after(around.chance.between(0, 20 * .microsecond)) { [weak self] in
            self?.tell(done, outcomes)
        }
    }

    private func describe(_ outcome: CommitOutcome, _ unit: CommitUnit) -> String {
        let seqs =
            "\(unit.conversation.id.text(.conversation)) "
            + "\(unit.entries.first?.seq ?? 0)...\(unit.entries.last?.seq ?? 0)"
        switch outcome {
        case .committed: return "committed \(seqs)"
        case .duplicate(let index, _): return "duplicate at \(index) \(seqs)"
        case .conflict(let lastSeq): return "conflict, head \(lastSeq) \(seqs)"
        case .unavailable: return "unavailable \(seqs)"
        }
    }

    private func tell(_ done: [(core: Int, unit: CommitUnit)], _ outcomes: [CommitOutcome]) {
        guard isAlive else { return }
        batch.removeAll(keepingCapacity: true)
        for (item, outcome) in zip(done, outcomes) {
            writerLinks[item.core].events.send(
                .committed(CommitResult(unit: item.unit, outcome: outcome)))
        }
        flush()
    }

    /// While a core's ring is full, outcomes wait and are tried again.
    private func flush() {
        guard isAlive else { return }
        for link in writerLinks { link.events.flush() }
        let isCongested = writerLinks.contains { $0.events.isCongested }
        soon { if isCongested { $0.flush() } else { $0.write() } }
    }

    private func soon(_ action: @escaping (SimulatedStore) -> Void) {
        around.agenda.after(around.chance.between(.microsecond, 100 * .microsecond)) {
            [weak self] in
            if let self { action(self) }
        }
    }

    // MARK: The readers

    private func look(_ index: Int) {
        guard isAlive else { return }
        let reader = readers[index]
        reader.bell.announceAwake()
        for offset in 0..<reader.links.count {
            let place = (reader.next + offset) % reader.links.count
            guard let job = reader.links[place].jobs.pop() else { continue }
            reader.next = place + 1
            let duration = around.chance.between(20 * .microsecond, 3 * .millisecond)
            around.agenda.after(duration) { [weak self] in self?.answer(job, index, place) }
            return
        }
        var isCongested = false
        for link in reader.links {
            link.events.flush()
            if link.events.isCongested { isCongested = true }
        }
        if !isCongested {
            reader.bell.announceSleep()
            if !reader.links.contains(where: { !$0.jobs.isEmpty() }) { return }
        }
        soon { $0.look(index) }
    }

    private func answer(_ job: ReadJob, _ index: Int, _ place: Int) {
        guard isAlive else { return }
        let fails = around.chance.permille(around.faults.readFailurePermille)
        around.trace.note("store: reader \(index) answers core \(place)\(fails ? ": fails" : "")")
        let port = readers[index].links[place].events
        port.send(fails ? failure(of: job) : perform(job))
        port.flush()
        soon { $0.look(index) }
    }

    private func perform(_ job: ReadJob) -> StoreEvent {
        switch job {
        case .owner(let read): .ownerRead(archive.read(read))
        case .conversation(let query): .answer(archive.show(query))
        case .history(let query): .answer(archive.history(query))
        case .list(let query): .answer(archive.list(query))
        case .replay(let query): .replayed(archive.replay(query))
        case .message(let query): .answer(archive.message(query))
        case .target(let query): archive.target(query)
        case .inactive(let query): .inactive(archive.inactive(query))
        case .apiKey(let id): .apiKey(id: id, nil)
        case .claim(let origin, let key): .answer(Archive.answer(origin, key.userID))
        }
    }

    private func failure(of job: ReadJob) -> StoreEvent {
        let problem = Problem(
            .temporarilyUnavailable, "The message store cannot be read now. Try again.",
            retryAfterSeconds: 2)
        func refuse(_ origin: Origin) -> StoreEvent {
            .answer(Answer(origin: origin, frameID: nil, result: .failure(problem)))
        }
        switch job {
        case .owner(let read): return .ownerRead(.unavailable(read))
        case .conversation(let query): return refuse(query.origin)
        case .history(let query): return refuse(query.origin)
        case .list(let query): return refuse(query.origin)
        case .claim(let origin, _): return refuse(origin)
        case .message(let query): return refuse(query.origin)
        case .target(let query): return refuse(query.origin)
        case .apiKey(let id): return .apiKey(id: id, nil)
        case .inactive:
            return .inactive(InactivePage(found: [], last: nil, isReadable: false))
        case .replay(let query):
            return .replayed(
                ReplayPage(
                    origin: query.origin, conversation: query.conversation, frames: nil,
                    lastSeq: query.afterSeq))
        }
    }
}

/// Bells of threads that are chains of events: a ring is an event a little later.
final class Wakeups: @unchecked Sendable {
    // Safety: a simulation has one thread; the bells' closures are called on it alone.
    private let around: Surroundings
    var actions: [() -> Void] = []

    init(_ around: Surroundings, count: Int) { self.around = around }

    func bell(_ index: Int) -> Doorbell {
        Doorbell(descriptor: -1, write: { [self] _ in ring(index) })
    }

    private func ring(_ index: Int) {
        around.agenda.after(around.chance.between(.microsecond, 80 * .microsecond)) { [self] in
            actions[index]()
        }
    }
}

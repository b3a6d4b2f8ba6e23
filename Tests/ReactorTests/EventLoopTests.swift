import Bytes
import CLinux
import Glibc
import Rings
import Synchronization
import Testing

@testable import Reactor

private let token = Token(slot: 1, generation: 1)

/// What happened, in order; shared by a scripted backend and its delegate.
private final class Log {
    enum Entry: Equatable { case run(Int), finish, submit(Int), wait(UInt64) }
    var entries: [Entry] = []
    var timeouts: [UInt64] {
        entries.compactMap { if case .wait(let timeout) = $0 { timeout } else { nil } }
    }
}

/// A backend without a kernel: each send is taken at once, and each wait brings one completion.
private struct ScriptedBackend: Backend, ~Copyable {
    static var name: String { "scripted" }
    let log: Log

    mutating func submit(_ operations: OperationQueue, into batch: CompletionBatch) {
        log.entries.append(.submit(operations.operations.count))
        for operation in operations.operations where operation.kind == .send {
            batch.append(Completion(token: operation.token, kind: .send, result: 1))
        }
        operations.removeAll()
    }

    mutating func wait(timeoutNanoseconds: UInt64, into batch: CompletionBatch) {
        log.entries.append(.wait(timeoutNanoseconds))
        batch.append(Completion(token: token, kind: .poll, result: 1))
    }
}

/// Runs for so many turns. Each completion of a send causes the next, which is queued when the turn
/// is finished, as corked writes are.
private final class ScriptedDelegate: LoopDelegate {
    let log: Log
    let operations: OperationQueue
    var turnsLeft: Int
    var timer: UInt64?
    /// Answers to the next calls of `hasRingWork`; false afterwards.
    var ringWork: [Bool] = []
    var sendsLeft = 0
    var hasCorkedWrite = false
    private(set) var sleptOnCorkedWrite = false

    init(_ log: Log, _ operations: OperationQueue, turns: Int) {
        self.log = log
        self.operations = operations
        turnsLeft = turns
    }

    var isRunning: Bool { turnsLeft > 0 }

    func run(_ batch: CompletionBatch) {
        log.entries.append(.run(batch.completions.count))
        for completion in batch.completions {
            if completion.kind == .poll { turnsLeft -= 1 }
            if completion.kind == .send, sendsLeft > 0 {
                sendsLeft -= 1
                hasCorkedWrite = true
            }
        }
    }

    func finishTurn() {
        log.entries.append(.finish)
        if hasCorkedWrite { operations.add(.send, descriptor: 0, token: token) }
        hasCorkedWrite = false
    }

    func hasRingWork() -> Bool {
        // The loop asks this right before it sleeps.
        if hasCorkedWrite { sleptOnCorkedWrite = true }
        return ringWork.isEmpty ? false : ringWork.removeFirst()
    }

    func nanosecondsUntilNextTimer() -> UInt64? { timer }
}

@Suite struct EventLoopTests {
    private func run(
        _ prepare: (ScriptedDelegate) -> Void, turns: Int = 1
    ) -> (Log, ScriptedDelegate) {
        let log = Log()
        let operations = OperationQueue()
        let delegate = ScriptedDelegate(log, operations, turns: turns)
        prepare(delegate)
        var loop = EventLoop(
            ScriptedBackend(log: log), operations: operations, clock: LoopClock(),
            doorbell: Doorbell(descriptor: -1) { _ in })
        loop.run(delegate)
        return (log, delegate)
    }

    @Test("A turn waits, runs what came, finishes, and submits") func turnInOrder() {
        let (log, _) = run { $0.operations.add(.receive, descriptor: 0, token: token) }
        #expect(log.entries == [.submit(1), .wait(.max), .run(1), .finish])
    }

    @Test("A loop that is not running takes no turn") func notRunning() {
        let (log, _) = run({ _ in }, turns: 0)
        #expect(log.entries == [])
    }

    @Test("Without work the loop waits for the next timer, or for ever") func waits() {
        let (log, _) = run { $0.timer = 12_345 }
        #expect(log.timeouts == [12_345])
        let (forEver, _) = run { _ in }
        #expect(forEver.timeouts == [.max])
    }

    @Test("With work in a ring the loop only looks at the kernel and does not wait")
    func ringWorkFirst() {
        let (log, delegate) = run {
            $0.timer = 99
            $0.ringWork = [true]
        }
        #expect(log.timeouts == [0])
        #expect(delegate.ringWork == [])
    }

    @Test(
        "Ring work that shows up at the second look, after the sleep was announced, is not slept on"
    )
    func secondLook() {
        let (log, _) = run {
            $0.timer = 99
            $0.ringWork = [false, true]
        }
        #expect(log.timeouts == [0])
    }

    @Test("A send that is taken at once is run in the same turn, with what it causes")
    func immediateSends() {
        let (log, delegate) = run {
            $0.operations.add(.send, descriptor: 0, token: token)
            $0.sendsLeft = 1
        }
        #expect(
            Array(log.entries.prefix(6)) == [
                .submit(1), .run(1), .finish, .submit(1), .run(1), .finish,
            ])
        #expect(delegate.sendsLeft == 0)
    }

    @Test(
        "However long a chain of immediate sends is, the loop never sleeps on a corked write",
        arguments: 1...12) func chainOfSends(_ count: Int)
    {
        let (log, delegate) = run(
            {
                $0.operations.add(.send, descriptor: 0, token: token)
                $0.sendsLeft = count
            }, turns: 2)
        #expect(!delegate.sleptOnCorkedWrite)
        #expect(log.timeouts.count == 2)
    }

    @Test("What a long chain leaves is handed over before other completions are reaped")
    func leftOperationsFirst() {
        let (log, _) = run(
            {
                $0.operations.add(.send, descriptor: 0, token: token)
                $0.sendsLeft = 4
            }, turns: 1)
        let wait = log.entries.firstIndex(of: .wait(0)) ?? 0
        #expect(wait > 0 && log.entries[wait - 1] == .submit(1))
    }

    @Test("A turn's halves are the turn: asleep, rung, awake") func halves() {
        let log = Log()
        let delegate = ScriptedDelegate(log, OperationQueue(), turns: 1)
        delegate.timer = 77
        let rings = Mutex(0)
        let bell = Doorbell(descriptor: -1) { _ in rings.withLock { $0 += 1 } }
        var loop = EventLoop(
            ScriptedBackend(log: log), operations: delegate.operations,
            clock: LoopClock(source: { (5, 6) }), doorbell: bell)
        bell.ringIfAsleep()
        #expect(loop.fallAsleep(delegate) == 77)
        bell.ringIfAsleep()
        loop.wakeUp(delegate, timeoutNanoseconds: 77)
        bell.ringIfAsleep()
        #expect(rings.withLock { $0 } == 1, "only who sleeps is rung")
        #expect(log.entries == [.wait(77), .run(1), .finish])
    }

    @Test("A clock with a source of its own reads no other") func clockSource() {
        let now = Mutex<UInt64>(1)
        let clock = LoopClock(source: { (now.withLock { $0 }, 2 * now.withLock { $0 }) })
        #expect(clock.nanoseconds == 1 && clock.milliseconds == 2)
        now.withLock { $0 = 9 }
        #expect(clock.nanoseconds == 1, "time stands still within a turn")
        clock.update()
        #expect(clock.nanoseconds == 9 && clock.milliseconds == 18)
    }

    @Test("A chain without end does not keep the loop from the kernel") func endlessChain() {
        let (log, _) = run(
            {
                $0.operations.add(.send, descriptor: 0, token: token)
                $0.sendsLeft = .max
            }, turns: 3)
        #expect(log.timeouts == [0, 0, 0])
    }
}

// MARK: On the kernel

/// Counts what comes through a ring until it is told to stop by a negative number.
private final class RingDelegate: LoopDelegate {
    private let inlet: Inlet<Int>
    private let bell: Doorbell
    private(set) var sum = 0
    private(set) var isRunning = true

    init(_ inlet: Inlet<Int>, _ bell: Doorbell) {
        self.inlet = inlet
        self.bell = bell
    }

    func run(_ batch: CompletionBatch) {
        for completion in batch.completions where completion.kind == .poll { bell.silence() }
    }

    func finishTurn() {
        _ = inlet.drain(limit: 16) { number in
            if number < 0 { isRunning = false } else { sum += number }
        }
    }

    func hasRingWork() -> Bool { !inlet.isEmpty() }
    // A watchdog: a lost wakeup ends the test in place of hanging it.
    func nanosecondsUntilNextTimer() -> UInt64? { 10_000_000_000 }
}

@Suite struct EventLoopOnEpollTests {
    @Test("A loop asleep on epoll is woken by another thread's port until it is told to stop")
    func wokenByPort() throws {
        let bell = Doorbell.make()
        defer { close(bell.descriptor) }
        let ring = Ring<Int>(capacity: 64)
        let port = Mutex(Port(ring.producer, doorbell: bell))
        let delegate = RingDelegate(Inlet(ring.consumer), bell)
        let operations = OperationQueue()
        operations.add(.poll, descriptor: bell.descriptor, token: token)
        let backend = EpollBackend(pool: ReceivePool(count: 1))
        guard let backend else { throw SystemRefused("epoll_create") }
        var loop = EventLoop(backend, operations: operations, clock: LoopClock(), doorbell: bell)
        let sender = WorkerThread(name: "sender") {
            port.withLock { port in
                for number in 1...2000 {
                    port.send(number)
                    port.flush()
                }
                port.send(-1)
                repeat { port.flush(); sched_yield() } while port.isCongested
            }
        }
        loop.run(delegate)
        sender.join()
        #expect(delegate.sum == 2000 * 2001 / 2)
    }

    @Test("The clock stands still within a turn and never runs backwards") func clock() {
        let clock = LoopClock()
        let (nanoseconds, milliseconds) = (clock.nanoseconds, clock.milliseconds)
        #expect(clock.nanoseconds == nanoseconds)
        #expect(milliseconds > 0)
        clock.update()
        #expect(clock.nanoseconds >= nanoseconds)
    }
}

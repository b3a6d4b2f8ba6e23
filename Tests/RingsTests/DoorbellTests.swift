import CLinux
import Glibc
import Reactor
import Synchronization
import Testing

@testable import Rings

@Suite struct DoorbellTests {
    private final class Strokes: Sendable {
        let descriptors = Mutex<[Int32]>([])
    }

    private func bell(_ strokes: Strokes) -> Doorbell {
        Doorbell(descriptor: 12) { descriptor in
            strokes.descriptors.withLock { $0.append(descriptor) }
        }
    }

    @Test("A bell whose sleeper is awake makes no system call") func awake() {
        let strokes = Strokes()
        let bell = bell(strokes)
        bell.ringIfAsleep()
        #expect(strokes.descriptors.withLock { $0 } == [])
        #expect(bell.ringCount == 0)
    }

    @Test("A sleeper is rung once, however many wakers there are, on the bell's descriptor")
    func rungOnce() {
        let strokes = Strokes()
        let bell = bell(strokes)
        bell.announceSleep()
        for _ in 0..<3 { bell.ringIfAsleep() }
        #expect(strokes.descriptors.withLock { $0 } == [12])
        #expect(bell.ringCount == 1)
    }

    @Test("Each sleep can be ended by one ring") func eachSleep() {
        let strokes = Strokes()
        let bell = bell(strokes)
        for _ in 0..<3 {
            bell.announceSleep()
            bell.ringIfAsleep()
            bell.announceAwake()
            bell.ringIfAsleep()
        }
        #expect(bell.ringCount == 3)
        #expect(strokes.descriptors.withLock { $0.count } == 3)
    }
}

/// Long enough for any scheduler, and spent only when a wakeup is lost.
private let watchdogMilliseconds: Int32 = 10_000

/// A sleeper's second half of the protocol. False when nobody rang in all that time.
private func blockUntilRung(_ bell: Doorbell) -> Bool {
    guard cl_wait_readable(bell.descriptor, watchdogMilliseconds) != 0 else { return false }
    bell.silence()
    bell.announceAwake()
    return true
}

/// One side of a ping-pong; it polls its bell's eventfd for a sleep.
private final class Player: @unchecked Sendable {
    // Safety: the ends belong to the one thread that calls `play`; the rest is read after it was
    // joined.
    private var inlet: RingConsumer<Int>
    private var outlet: RingProducer<Int>
    private let own: Doorbell
    private let peer: Doorbell
    private(set) var received: [Int] = []
    private(set) var sleeps = 0
    private(set) var hasLostWakeup = false

    init(
        _ inlet: consuming RingConsumer<Int>, _ outlet: consuming RingProducer<Int>, own: Doorbell,
        peer: Doorbell
    ) {
        self.inlet = inlet
        self.outlet = outlet
        self.own = own
        self.peer = peer
    }

    func send(_ number: Int) {
        let refused = outlet.push(number)
        precondition(refused == nil, "one ball is in the air at a time")
        peer.ringIfAsleep()
    }

    /// Returns every ball until `last`.
    func play(until last: Int) {
        while true {
            while let number = inlet.pop() {
                received.append(number)
                if number < last { send(number + 1) }
                if number >= last - 1 { return }
            }
            own.announceSleep()
            if inlet.isEmpty() {
                sleeps += 1
                if !blockUntilRung(own) {
                    hasLostWakeup = true
                    return
                }
            } else {
                own.announceAwake()
            }
        }
    }
}

@Suite(.serialized) struct DoorbellThreadsTests {
    @Test("A hundred thousand ping-pongs between two sleeping threads lose no wakeup")
    func pingPong() {
        let last = 200_000
        let there = Ring<Int>(capacity: 1)
        let back = Ring<Int>(capacity: 1)
        let (bellA, bellB) = (Doorbell.make(), Doorbell.make())
        defer { for bell in [bellA, bellB] { close(bell.descriptor) } }
        let playerA = Player(back.consumer, there.producer, own: bellA, peer: bellB)
        let playerB = Player(there.consumer, back.producer, own: bellB, peer: bellA)
        let threadB = WorkerThread(name: "pong") { playerB.play(until: last) }
        let threadA = WorkerThread(name: "ping") {
            playerA.send(0)
            playerA.play(until: last)
        }
        threadA.join()
        threadB.join()
        #expect(!playerA.hasLostWakeup)
        #expect(!playerB.hasLostWakeup)
        #expect(playerA.received == Array(stride(from: 1, to: last, by: 2)))
        #expect(playerB.received == Array(stride(from: 0, through: last, by: 2)))
        #expect(playerA.sleeps + playerB.sleeps > 0, "nobody ever slept: nothing was tested")
        #expect(bellA.ringCount <= playerA.received.count + 1)
    }

    @Test("Two busy wakers whose calls must be answered never leave the sleeper asleep")
    func twoWakers() {
        let calls = 60_000
        let bell = Doorbell.make()
        defer { close(bell.descriptor) }
        let first = Ring<Int>(capacity: 2)
        let second = Ring<Int>(capacity: 2)
        let ends = [Handover(first.producer), Handover(second.producer)]
        let (firstEnd, secondEnd) = (Handover(first.consumer), Handover(second.consumer))
        let answers = AtomicWords(count: 2)
        let hasGivenUp = Atomic<Bool>(false)
        let sleeps = Atomic<Int>(0)
        let sleeper = WorkerThread(name: "sleeper") {
            var inletA = firstEnd.take()
            var inletB = secondEnd.take()
            var answered = 0
            while answered < 2 * calls {
                while let call = inletA.pop() { answers.store(UInt64(call), at: 0); answered += 1 }
                while let call = inletB.pop() { answers.store(UInt64(call), at: 1); answered += 1 }
                if answered == 2 * calls { break }
                bell.announceSleep()
                if !inletA.isEmpty() || !inletB.isEmpty() { bell.announceAwake(); continue }
                sleeps.wrappingAdd(1, ordering: .relaxed)
                if !blockUntilRung(bell) {
                    hasGivenUp.store(true, ordering: .relaxed)
                    return
                }
            }
        }
        let wakers = (0..<2).map { index in
            WorkerThread(name: "waker-\(index)") {
                var end = ends[index].take()
                for call in 1...calls {
                    _ = end.push(call)
                    bell.ringIfAsleep()
                    // Each call waits for its answer, so that no later ring can make up for a lost
                    // one.
                    while answers.load(index) != UInt64(call), !hasGivenUp.load(ordering: .relaxed)
                    { sched_yield() }
                    if hasGivenUp.load(ordering: .relaxed) { return }
                }
            }
        }
        for thread in wakers { thread.join() }
        sleeper.join()
        let isLost = hasGivenUp.load(ordering: .relaxed)
        let sleepCount = sleeps.load(ordering: .relaxed)
        #expect(!isLost, "a wakeup was lost")
        #expect((0..<2).map { answers.load($0) } == [UInt64(calls), UInt64(calls)])
        #expect(sleepCount > 0, "nobody ever slept: nothing was tested")
    }
}

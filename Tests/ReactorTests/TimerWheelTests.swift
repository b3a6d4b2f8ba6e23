import Bytes
import TestSupport
import Testing

@testable import Reactor

private let tick = TimerWheel.tickNanoseconds

private func event(_ number: Int) -> TimerEvent {
    TimerEvent(
        code: UInt8(truncatingIfNeeded: number), token: Token(slot: UInt32(number), generation: 1))
}

/// The wheel beside a plain list of what is set, with every promise checked at each step.
private struct Model {
    let wheel: TimerWheel
    private(set) var now: UInt64
    private(set) var pending: [Int: (id: TimerID, due: UInt64, setAt: UInt64)] = [:]
    private(set) var fired: [(id: TimerID, at: UInt64)] = []
    private var count = 0
    /// The first broken promise.
    private(set) var failure: String?

    init(now: UInt64) {
        self.now = now
        wheel = TimerWheel(nowNanoseconds: now)
    }

    mutating func set(after delay: UInt64) {
        let id = wheel.set(dueNanoseconds: now + delay, event(count))
        pending[count] = (id, now + delay, now)
        count += 1
        check()
    }

    mutating func cancel(_ number: Int) {
        guard let timer = pending.removeValue(forKey: number) else { return }
        wheel.cancel(timer.id)
        check()
    }

    mutating func cancelFired(_ index: Int) {
        wheel.cancel(fired[index].id)
        check()
    }

    mutating func advance(by step: UInt64) {
        now += step
        var numbers: [Int] = []
        wheel.advance(toNanoseconds: now) { numbers.append(Int($0.token.slot)) }
        var lastDueTick: UInt64 = 0
        for number in numbers {
            guard let timer = pending.removeValue(forKey: number) else {
                failure = failure ?? "timer \(number) fired without being set"
                continue
            }
            fired.append((timer.id, now))
            if timer.due > now {
                failure = failure ?? "timer \(number) fired \(timer.due - now) ns early"
            }
            let dueTick = max((timer.due + tick - 1) / tick, timer.setAt / tick + 1)
            if dueTick < lastDueTick {
                failure = failure ?? "timer \(number) fired after a later one"
            }
            lastDueTick = dueTick
        }
        // Whatever is due for a whole tick has fired; nothing else can make up for it.
        for (number, timer) in pending where max(timer.due, timer.setAt) + tick <= now {
            failure = failure ?? "timer \(number), due \(timer.due), has not fired at \(now)"
        }
        check()
    }

    private mutating func check() {
        if wheel.count != pending.count {
            failure = failure ?? "the wheel counts \(wheel.count) timers, not \(pending.count)"
        }
        let next = wheel.nanosecondsUntilNext(now: now)
        guard let due = pending.values.map({ max($0.due, $0.setAt) }).min() else {
            if next != nil { failure = failure ?? "an empty wheel names a next timer" }
            return
        }
        guard let next else {
            failure = failure ?? "timers are set and none is next"
            return
        }
        // A wait of that long ends within a tick of the next due time.
        if now + next >= max(due, now) + tick {
            failure = failure ?? "next in \(next) ns, due in \(Int64(due) - Int64(now))"
        }
    }
}

@Suite struct TimerWheelTests {
    private func fired(_ wheel: TimerWheel, at now: UInt64) -> [Int] {
        var numbers: [Int] = []
        wheel.advance(toNanoseconds: now) { numbers.append(Int($0.token.slot)) }
        return numbers
    }

    @Test("An empty wheel has no next timer and fires nothing") func empty() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        #expect(wheel.nanosecondsUntilNext(now: 0) == nil)
        #expect(fired(wheel, at: 1 << 60) == [])
        #expect(wheel.count == 0)
    }

    @Test("A timer fires with its own code and token, once") func firesOnce() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        _ = wheel.set(
            dueNanoseconds: tick, TimerEvent(code: 9, token: Token(slot: 3, generation: 5)))
        var events: [TimerEvent] = []
        wheel.advance(toNanoseconds: tick) { events.append($0) }
        wheel.advance(toNanoseconds: 1000 * tick) { events.append($0) }
        #expect(events.map(\.code) == [9])
        #expect(events.map(\.token) == [Token(slot: 3, generation: 5)])
    }

    @Test("A timer between two ticks waits for the later one", arguments: [1, tick / 2, tick - 1])
    func roundsUp(_ past: UInt64) {
        let wheel = TimerWheel(nowNanoseconds: 0)
        _ = wheel.set(dueNanoseconds: 10 * tick + past, event(1))
        #expect(fired(wheel, at: 10 * tick + past - 1) == [])
        #expect(fired(wheel, at: 11 * tick - 1) == [])
        #expect(fired(wheel, at: 11 * tick) == [1])
    }

    @Test("A timer that is due already fires with the next tick") func dueAlready() {
        let wheel = TimerWheel(nowNanoseconds: 100 * tick)
        _ = wheel.set(dueNanoseconds: 0, event(1))
        _ = wheel.set(dueNanoseconds: 100 * tick, event(2))
        #expect(fired(wheel, at: 100 * tick) == [])
        #expect(Set(fired(wheel, at: 101 * tick)) == [1, 2])
    }

    @Test(
        "Advanced tick by tick, each timer fires in the very tick of its due time",
        arguments: [
            1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_792,
        ] as [UInt64], [0, 1, 255, 65_535] as [UInt64])
    func exactTick(_ distance: UInt64, _ start: UInt64) {
        let wheel = TimerWheel(nowNanoseconds: start * tick)
        _ = wheel.set(dueNanoseconds: (start + distance) * tick, event(1))
        var firedAt: UInt64?
        for step in 1...distance + 1 where firedAt == nil {
            wheel.advance(toNanoseconds: (start + step) * tick) { _ in firedAt = step }
        }
        #expect(firedAt == distance)
    }

    @Test("A timer beyond all levels is neither early nor lost") func beyondAllLevels() {
        let start: UInt64 = 12_345
        for distance: UInt64 in [255 << 16, 1 << 24 + 1] {
            let wheel = TimerWheel(nowNanoseconds: start * tick)
            _ = wheel.set(dueNanoseconds: (start + distance) * tick, event(1))
            #expect(fired(wheel, at: (start + distance) * tick - 1) == [], "\(distance) ticks")
            #expect(wheel.count == 1)
            #expect(fired(wheel, at: (start + distance) * tick) == [1], "\(distance) ticks")
            #expect(wheel.count == 0)
        }
    }

    @Test("One long jump fires all that lies between, in order of time") func longJump() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        let distances: [UInt64] = [1, 300, 70_000, 200, 65_536, 5, 256, 100_000]
        for (number, distance) in distances.enumerated() {
            _ = wheel.set(dueNanoseconds: distance * tick, event(number))
        }
        let order = fired(wheel, at: 100_000 * tick)
        #expect(order.map { distances[$0] } == distances.sorted())
    }

    @Test("A cancelled timer does not fire, and its neighbours in the slot do") func cancels() {
        for cancelled in 0..<3 {
            let wheel = TimerWheel(nowNanoseconds: 0)
            let ids = (0..<3).map { wheel.set(dueNanoseconds: 300 * tick, event($0)) }
            wheel.cancel(ids[cancelled])
            #expect(wheel.count == 2)
            #expect(Set(fired(wheel, at: 300 * tick)) == Set(0..<3).subtracting([cancelled]))
        }
    }

    @Test("Cancelling twice, after firing, or with no timer at all changes nothing")
    func cancelsNothing() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        let first = wheel.set(dueNanoseconds: tick, event(1))
        #expect(fired(wheel, at: tick) == [1])
        wheel.cancel(first)
        wheel.cancel(.none)
        #expect(wheel.count == 0)
        // The second timer takes the row of the first: the old identifier must not reach it.
        let second = wheel.set(dueNanoseconds: 5 * tick, event(2))
        wheel.cancel(first)
        #expect(wheel.count == 1)
        wheel.cancel(second)
        wheel.cancel(second)
        #expect(wheel.count == 0)
        #expect(fired(wheel, at: 10 * tick) == [])
    }

    @Test("What fires may set timers; one that is due within the same advance fires in it")
    func setsWhileFiring() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        _ = wheel.set(dueNanoseconds: tick, event(0))
        var numbers: [Int] = []
        wheel.advance(toNanoseconds: 1000 * tick) { fired in
            let number = Int(fired.token.slot)
            numbers.append(number)
            if number < 5 {
                _ = wheel.set(dueNanoseconds: UInt64(number + 2) * 150 * tick, event(number + 1))
            }
        }
        #expect(numbers == [0, 1, 2, 3, 4, 5])
        #expect(wheel.count == 0)
    }

    @Test("What fires may cancel another timer of the same tick") func cancelsWhileFiring() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        let ids = (0..<3).map { wheel.set(dueNanoseconds: tick, event($0)) }
        var numbers: [Int] = []
        wheel.advance(toNanoseconds: tick) { fired in
            numbers.append(Int(fired.token.slot))
            for (number, id) in ids.enumerated() where number != numbers[0] { wheel.cancel(id) }
        }
        #expect(numbers.count == 1)
        #expect(wheel.count == 0)
    }

    @Test("Time that stands still or runs backwards fires nothing") func timeBackwards() {
        let wheel = TimerWheel(nowNanoseconds: 100 * tick)
        _ = wheel.set(dueNanoseconds: 102 * tick, event(1))
        #expect(fired(wheel, at: 100 * tick) == [])
        #expect(fired(wheel, at: 50 * tick) == [])
        #expect(wheel.nanosecondsUntilNext(now: 200 * tick) == 0)
        #expect(fired(wheel, at: 102 * tick) == [1])
    }

    @Test("The wait for a near timer is exact, for a far one short enough to look again")
    func untilNext() {
        let wheel = TimerWheel(nowNanoseconds: 0)
        let far = wheel.set(dueNanoseconds: 100_000 * tick, event(1))
        #expect(wheel.nanosecondsUntilNext(now: 0).map { $0 > 0 && $0 <= 256 * tick } == true)
        _ = wheel.set(dueNanoseconds: 7 * tick, event(2))
        #expect(wheel.nanosecondsUntilNext(now: 0) == 7 * tick)
        #expect(wheel.nanosecondsUntilNext(now: tick / 2) == 7 * tick - tick / 2)
        wheel.cancel(far)
        #expect(fired(wheel, at: 7 * tick) == [2])
        #expect(wheel.nanosecondsUntilNext(now: 7 * tick) == nil)
    }

    @Test(
        "A loop that sleeps as long as it is told fires each timer within a tick",
        arguments: [
            1, 255, 256, 300, 65_536, 70_001,
        ] as [UInt64]) func sleepsAsTold(_ distance: UInt64)
    {
        let start = 77 * tick + 1234
        let wheel = TimerWheel(nowNanoseconds: start)
        let due = start + distance * tick + 99
        _ = wheel.set(dueNanoseconds: due, event(1))
        var now = start
        var turns = 0
        while let wait = wheel.nanosecondsUntilNext(now: now), turns < 10_000 {
            now += wait
            turns += 1
            _ = fired(wheel, at: now)
        }
        #expect(wheel.count == 0)
        #expect(now >= due && now < due + tick)
        #expect(turns <= distance / 256 + 3, "the loop may not spin")
    }

    @Test(
        "Random sets, cancels and advances keep every promise",
        arguments: 1...12 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        var model = Model(now: chance.next() % (1 << 50))
        for step in 0..<1500 {
            switch chance.below(10) {
            case 0...4:
                // Delays of every magnitude up to about a day, so that each level is used.
                model.set(after: chance.next() % (1 << UInt64(10 + chance.below(37))))
            case 5:
                if let number = model.pending.keys.sorted().randomElement(using: &chance) {
                    model.cancel(number)
                }
            case 6:
                if !model.fired.isEmpty { model.cancelFired(chance.below(model.fired.count)) }
            case 7: model.advance(by: chance.next() % (1 << UInt64(20 + chance.below(15))))
            default: model.advance(by: chance.next() % (2 * tick))
            }
            guard model.failure == nil else {
                Issue.record("seed \(chance.seed), step \(step): \(model.failure ?? "")")
                return
            }
        }
        #expect(model.fired.count > 100, "seed \(chance.seed)")
    }
}

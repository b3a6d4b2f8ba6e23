import Glibc
import Reactor
import Synchronization
import TestSupport
import Testing

@testable import Rings

/// An element that can only be moved, as the rings' own payloads may be.
private struct Parcel: ~Copyable, Sendable {
    let content: Counted
}

@Suite struct RingTests {
    // MARK: Order, full, empty

    @Test("A new ring is empty and has room for its whole capacity", arguments: [1, 2, 64])
    func startsEmpty(_ capacity: Int) {
        let ring = Ring<Int>(capacity: capacity)
        var producer = ring.producer
        var consumer = ring.consumer
        let (room, depth, isEmpty, popped) = (
            producer.room(), producer.depth(), consumer.isEmpty(), consumer.pop()
        )
        #expect(producer.capacity == capacity)
        #expect(room == capacity)
        #expect(depth == 0)
        #expect(isEmpty)
        #expect(popped == nil)
    }

    @Test("Elements come out in the order in which they went in") func keepsOrder() {
        let ring = Ring<Int>(capacity: 8)
        var producer = ring.producer
        var consumer = ring.consumer
        for element in 0..<8 { _ = producer.push(element) }
        var popped: [Int] = []
        while let element = consumer.pop() { popped.append(element) }
        #expect(popped == Array(0..<8))
    }

    @Test("A full ring hands the element back and takes it after one pop", arguments: [1, 2, 16])
    func full(_ capacity: Int) {
        let ring = Ring<Int>(capacity: capacity)
        var producer = ring.producer
        var consumer = ring.consumer
        for element in 0..<capacity {
            let refused = producer.push(element)
            #expect(refused == nil)
        }
        let refused = producer.push(99)
        #expect(refused == 99)
        let first = consumer.pop()
        #expect(first == 0)
        let accepted = producer.push(99)
        #expect(accepted == nil)
        let again = producer.push(100)
        #expect(again == 100)
        var rest: [Int] = []
        while let element = consumer.pop() { rest.append(element) }
        #expect(rest == Array(1..<capacity) + [99])
    }

    @Test("Order holds over many wraps, at every fill level", arguments: [1, 2, 4, 8])
    func wrapsAround(_ capacity: Int) {
        for fill in 1...capacity {
            let ring = Ring<Int>(capacity: capacity)
            var producer = ring.producer
            var consumer = ring.consumer
            var (next, expected) = (0, 0)
            for _ in 0..<100 {
                for _ in 0..<fill {
                    let refused = producer.push(next)
                    #expect(refused == nil)
                    next += 1
                }
                for _ in 0..<fill {
                    let element = consumer.pop()
                    #expect(element == expected)
                    expected += 1
                }
                let isEmpty = consumer.isEmpty()
                #expect(isEmpty)
            }
        }
    }

    @Test("Room and depth follow what is staged and popped") func roomAndDepth() {
        let ring = Ring<Int>(capacity: 4)
        var producer = ring.producer
        var consumer = ring.consumer
        _ = producer.stage(1)
        _ = producer.stage(2)
        let staged = (producer.room(), producer.depth())
        #expect(staged == (2, 2))
        _ = producer.publish()
        _ = consumer.pop()
        let popped = (producer.room(), producer.depth())
        #expect(popped == (3, 1))
    }

    @Test("A capacity that is no power of two traps") func capacityTraps() async {
        await #expect(processExitsWith: .failure) { _ = Ring<Int>(capacity: 3) }
        await #expect(processExitsWith: .failure) { _ = Ring<Int>(capacity: 0) }
    }

    // MARK: Batches

    @Test("Staged elements are not visible before they are published, then all at once")
    func stagedIsInvisible() {
        let ring = Ring<Int>(capacity: 4)
        var producer = ring.producer
        var consumer = ring.consumer
        for element in 0..<4 {
            let refused = producer.stage(element)
            #expect(refused == nil)
            let (isEmpty, popped) = (consumer.isEmpty(), consumer.pop())
            #expect(isEmpty)
            #expect(popped == nil)
        }
        let refused = producer.stage(4)
        #expect(refused == 4, "staged elements take room")
        let published = producer.publish()
        #expect(published)
        var drained: [Int] = []
        let count = consumer.drain(limit: 100) { drained.append($0) }
        #expect(count == 4)
        #expect(drained == [0, 1, 2, 3])
    }

    @Test("Publishing tells whether there was anything to publish") func publishTells() {
        let ring = Ring<Int>(capacity: 2)
        var producer = ring.producer
        let nothing = producer.publish()
        #expect(!nothing)
        _ = producer.stage(1)
        let (something, again) = (producer.publish(), producer.publish())
        #expect(something)
        #expect(!again)
        _ = ring.consumer
    }

    @Test("A drain stops at its limit and goes on from there") func drainLimit() {
        let ring = Ring<Int>(capacity: 8)
        var producer = ring.producer
        var consumer = ring.consumer
        for element in 0..<8 { _ = producer.push(element) }
        for (limit, expected) in [
            (0, []), (3, [0, 1, 2]), (1, [3]), (100, [4, 5, 6, 7]), (5, []),
        ] {
            var drained: [Int] = []
            let count = consumer.drain(limit: limit) { drained.append($0) }
            #expect(count == expected.count)
            #expect(drained == expected)
        }
    }

    @Test("A drain sees what was published after an earlier look") func drainLooksAgain() {
        let ring = Ring<Int>(capacity: 8)
        var producer = ring.producer
        var consumer = ring.consumer
        _ = producer.push(1)
        let isEmpty = consumer.isEmpty()
        #expect(!isEmpty)
        _ = producer.push(2)
        var drained: [Int] = []
        _ = consumer.drain(limit: 8) { drained.append($0) }
        #expect(drained == [1, 2])
    }

    @Test("A drain gives its slots back") func drainGivesRoom() {
        let ring = Ring<Int>(capacity: 4)
        var producer = ring.producer
        var consumer = ring.consumer
        for round in 0..<10 {
            for element in 0..<4 {
                let refused = producer.push(round * 4 + element)
                #expect(refused == nil)
            }
            var sum = 0
            _ = consumer.drain(limit: 4) { sum += $0 }
            #expect(sum == round * 16 + 6)
        }
    }

    @Test(
        "Any sequence of stages, publishes, pops and drains leaves what an array holds",
        arguments: 1...10 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        let capacity = 1 << chance.below(5)
        let ring = Ring<Int>(capacity: capacity)
        var producer = ring.producer
        var consumer = ring.consumer
        var (staged, visible): ([Int], [Int]) = ([], [])
        for step in 0..<3000 {
            var isRight = true
            switch chance.below(5) {
            case 0, 1:
                let refused = producer.stage(step)
                isRight = (refused == nil) == (staged.count + visible.count < capacity)
                if refused == nil { staged.append(step) }
            case 2:
                isRight = producer.publish() == !staged.isEmpty
                visible += staged
                staged = []
            case 3:
                isRight = consumer.pop() == visible.first
                visible = Array(visible.dropFirst())
            default:
                let limit = chance.below(capacity + 2)
                var drained: [Int] = []
                let count = consumer.drain(limit: limit) { drained.append($0) }
                isRight = drained == Array(visible.prefix(limit)) && count == drained.count
                visible = Array(visible.dropFirst(limit))
            }
            let depth = producer.depth()
            guard isRight, depth == staged.count + visible.count else {
                Issue.record("seed \(chance.seed), step \(step)")
                return
            }
        }
    }

    // MARK: Ownership

    @Test("An element is freed when the consumer is done with it, not before")
    func freedWhenPopped() {
        let tally = Tally()
        let ring = Ring<Parcel>(capacity: 4)
        var producer = ring.producer
        var consumer = ring.consumer
        for number in 0..<4 { _ = producer.push(Parcel(content: Counted(number, tally))) }
        #expect(tally.aliveCount == 4)
        if let parcel = consumer.pop() {
            #expect(parcel.content.number == 0)
            #expect(tally.aliveCount == 4)
        }
        #expect(tally.aliveCount == 3)
        _ = consumer.drain(limit: 2) { #expect($0.content.number > 0) }
        #expect(tally.aliveCount == 1)
    }

    @Test("A refused element comes back alive") func refusedIsAlive() {
        let tally = Tally()
        let ring = Ring<Parcel>(capacity: 1)
        var producer = ring.producer
        _ = producer.push(Parcel(content: Counted(1, tally)))
        if let refused = producer.push(Parcel(content: Counted(2, tally))) {
            #expect(refused.content.number == 2)
            #expect(tally.aliveCount == 2)
        } else {
            Issue.record("a full ring took an element")
        }
        #expect(tally.aliveCount == 1)
        _ = ring.consumer
    }

    @Test(
        "What is left when both ends are gone is freed once, whichever goes first",
        arguments: [
            true, false,
        ]) func leftoversAreFreed(_ producerFirst: Bool)
    {
        let tally = Tally()
        do {
            let ring = Ring<Counted>(capacity: 8)
            var producer: RingProducer<Counted>? = ring.producer
            var consumer: RingConsumer<Counted>? = ring.consumer
            // Past the first wrap, three popped, five left.
            for number in 0..<6 { _ = producer?.push(Counted(number, tally)) }
            for _ in 0..<6 { _ = consumer?.pop() }
            for number in 0..<8 { _ = producer?.push(Counted(number, tally)) }
            for _ in 0..<3 { _ = consumer?.pop() }
            #expect(tally.aliveCount == 5)
            if producerFirst { producer = nil } else { consumer = nil }
            #expect(tally.aliveCount == 5)
            if producerFirst { consumer = nil } else { producer = nil }
        }
        #expect(tally.aliveCount == 0)
        #expect(tally.madeCount == 14)
    }

    @Test("Elements that were staged and never published are freed as well") func stagedIsFreed() {
        let tally = Tally()
        do {
            let ring = Ring<Counted>(capacity: 4)
            var producer = ring.producer
            for number in 0..<3 { _ = producer.stage(Counted(number, tally)) }
            _ = ring.consumer
            #expect(tally.aliveCount == 3)
        }
        #expect(tally.aliveCount == 0)
    }

    @Test("What the producer published before it went is still there to be popped")
    func producerGone() {
        let ring = Ring<Int>(capacity: 4)
        var consumer = ring.consumer
        do {
            var producer = ring.producer
            _ = producer.push(1)
            _ = producer.push(2)
        }
        let popped = (consumer.pop(), consumer.pop(), consumer.pop())
        #expect(popped == (1, 2, nil))
    }
}

// MARK: Two threads

/// What a consumer thread has found.
private final class Findings: Sendable {
    let sum = Atomic<Int>(0)
    let firstOutOfOrder = Atomic<Int>(-1)
}

/// Both threads in code that knows its element, so that a debug build is not slowed by generics.
private func produce(_ count: Int, batch: Int, _ end: Handover<RingProducer<Int>>) {
    var producer = end.take()
    var next = 0
    while next < count {
        var staged = 0
        while staged < batch, next < count, producer.stage(next) == nil {
            next += 1
            staged += 1
        }
        if !producer.publish() { sched_yield() }
    }
}

private func consume(
    _ count: Int, limit: Int, _ end: Handover<RingConsumer<Int>>, _ findings: Findings
) {
    var consumer = end.take()
    var (expected, sum, wrong) = (0, 0, -1)
    while expected < count {
        let drained = consumer.drain(limit: limit) { element in
            if element != expected, wrong < 0 { wrong = expected }
            expected += 1
            sum &+= element
        }
        if drained == 0 { sched_yield() }
    }
    findings.sum.store(sum, ordering: .relaxed)
    findings.firstOutOfOrder.store(wrong, ordering: .relaxed)
}

@Suite(.serialized) struct RingThreadsTests {
    @Test(
        "Two threads lose nothing, double nothing and keep the order",
        arguments: [
            (1024, 64, 64), (4, 1, 4), (1, 1, 1),
        ]) func twoThreads(_ capacity: Int, _ batch: Int, _ limit: Int)
    {
        let count = capacity >= 1024 ? 3_000_000 : 200_000
        let ring = Ring<Int>(capacity: capacity)
        let (producer, consumer) = (Handover(ring.producer), Handover(ring.consumer))
        let findings = Findings()
        let sending = WorkerThread(name: "ring-producer") { produce(count, batch: batch, producer) }
        let receiving = WorkerThread(name: "ring-consumer") {
            consume(count, limit: limit, consumer, findings)
        }
        sending.join()
        receiving.join()
        #expect(findings.firstOutOfOrder.load(ordering: .relaxed) == -1)
        #expect(findings.sum.load(ordering: .relaxed) == count * (count - 1) / 2)
    }

    @Test(
        "Objects made on one thread and freed on the other are each freed once, also those left over"
    )
    func objectsCross() {
        let tally = Tally()
        let count = 100_000
        do {
            let ring = Ring<Counted>(capacity: 256)
            let (producer, consumer) = (Handover(ring.producer), Handover(ring.consumer))
            let sending = WorkerThread(name: "ring-producer") {
                var end = producer.take()
                for number in 0..<count {
                    var element: Counted? = Counted(number, tally)
                    while let refused = element {
                        element = end.push(refused)
                        if element != nil { sched_yield() }
                    }
                }
            }
            let receiving = WorkerThread(name: "ring-consumer") {
                var end = consumer.take()
                var popped = 0
                // The last hundred stay in the ring.
                while popped < count - 100 {
                    if let element = end.pop() {
                        precondition(element.number == popped, "out of order")
                        popped += 1
                    } else {
                        sched_yield()
                    }
                }
            }
            sending.join()
            receiving.join()
        }
        #expect(tally.madeCount == count)
        #expect(tally.aliveCount == 0)
    }
}

import Synchronization
import TestSupport
import Testing

@testable import Rings

/// A bell that counts its strokes instead of making a system call.
private final class Strokes: Sendable {
    private let strokes = Atomic<Int>(0)
    var count: Int { strokes.load(ordering: .relaxed) }
    func bell() -> Doorbell {
        Doorbell(descriptor: 77) { _ in self.strokes.wrappingAdd(1, ordering: .relaxed) }
    }
}

private func pair<Element: Sendable>(
    capacity: Int, of: Element.Type = Int.self, doorbell: Doorbell? = nil
) -> (Port<Element>, Inlet<Element>) {
    let ring = Ring<Element>(capacity: capacity)
    return (Port(ring.producer, doorbell: doorbell), Inlet(ring.consumer))
}

private func drained<Element>(_ inlet: Inlet<Element>, limit: Int = .max) -> [Element] {
    var elements: [Element] = []
    _ = inlet.drain(limit: limit) { elements.append($0) }
    return elements
}

@Suite struct PortTests {
    @Test("What was sent arrives in order, after the flush and not before") func arrivesAfterFlush()
    {
        let (port, inlet) = pair(capacity: 8)
        for element in 0..<5 { port.send(element) }
        #expect(inlet.isEmpty())
        #expect(port.depth() == 5)
        port.flush()
        #expect(!inlet.isEmpty())
        #expect(drained(inlet) == [0, 1, 2, 3, 4])
        #expect(port.depth() == 0)
    }

    @Test("A full ring makes elements wait, none is dropped and order holds") func fullRingQueues()
    {
        let (port, inlet) = pair(capacity: 4)
        for element in 0..<100 { port.send(element) }
        #expect(port.isCongested)
        #expect(port.depth() == 100)
        var received: [Int] = []
        for _ in 0..<25 {
            port.flush()
            received += drained(inlet)
        }
        #expect(received == Array(0..<100))
        #expect(!port.isCongested)
        #expect(port.depth() == 0)
    }

    @Test("A ring that is just full is not congested, one element more is")
    func congestionBoundary() {
        let (port, inlet) = pair(capacity: 4)
        for element in 0..<4 { port.send(element) }
        #expect(!port.isCongested)
        #expect(port.fullCount == 0)
        port.send(4)
        #expect(port.isCongested)
        #expect(port.fullCount == 1)
        port.flush()
        #expect(port.isCongested, "the ring is still full")
        #expect(inlet.pop() == 0)
        #expect(port.isCongested, "room alone moves nothing")
        port.flush()
        #expect(!port.isCongested)
    }

    @Test("While elements wait, later ones queue behind them although the ring has room")
    func noOvertaking() {
        let (port, inlet) = pair(capacity: 2)
        for element in 0..<3 { port.send(element) }
        port.flush()
        #expect(drained(inlet) == [0, 1])
        port.send(3)
        #expect(port.isCongested)
        port.flush()
        #expect(drained(inlet) == [2, 3])
    }

    @Test("A flush rings a sleeping peer once, and only when something was published")
    func ringsOnlyForNews() {
        let strokes = Strokes()
        let bell = strokes.bell()
        let (port, inlet) = pair(capacity: 2, doorbell: bell)
        bell.announceSleep()
        port.flush()
        #expect(strokes.count == 0, "nothing was sent")
        port.send(1)
        port.flush()
        #expect(strokes.count == 1)
        port.send(2)
        port.flush()
        #expect(strokes.count == 1, "the peer has been woken already")
        bell.announceSleep()
        port.send(3)
        port.flush()
        #expect(strokes.count == 1, "the ring is full: nothing new to see")
        #expect(drained(inlet) == [1, 2])
        port.flush()
        #expect(strokes.count == 2)
    }

    @Test("A peer that is awake is not rung") func awakeIsNotRung() {
        let strokes = Strokes()
        let bell = strokes.bell()
        let (port, inlet) = pair(capacity: 2, doorbell: bell)
        bell.announceSleep()
        bell.announceAwake()
        port.send(1)
        port.flush()
        #expect(strokes.count == 0)
        #expect(bell.ringCount == 0)
        #expect(inlet.pop() == 1)
    }

    @Test("A port that stays congested does not keep what it has passed on") func passedOnIsLetGo()
    {
        let tally = Tally()
        let (port, inlet) = pair(capacity: 4, of: Counted.self)
        for number in 0..<10 { port.send(Counted(number, tally)) }
        var expected = 0
        for number in 10..<20_010 {
            port.flush()
            #expect(port.isCongested)
            #expect(inlet.pop()?.number == expected)
            expected += 1
            port.send(Counted(number, tally))
        }
        #expect(port.depth() == 10)
        #expect(tally.aliveCount < 5000)
    }

    @Test("Elements that still wait are freed with the port") func waitingIsFreed() {
        let tally = Tally()
        do {
            let (port, inlet) = pair(capacity: 2, of: Counted.self)
            for number in 0..<10 { port.send(Counted(number, tally)) }
            port.flush()
            #expect(inlet.pop()?.number == 0)
            #expect(tally.aliveCount >= 9)
        }
        #expect(tally.aliveCount == 0)
    }

    @Test(
        "Any mix of sends, flushes and bounded drains loses and reorders nothing",
        arguments: 1...10 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        let (port, inlet) = pair(capacity: 1 << chance.below(4))
        var (sent, received): (Int, [Int]) = (0, [])
        for step in 0..<3000 {
            switch chance.below(4) {
            case 0, 1:
                port.send(sent)
                sent += 1
            case 2: port.flush()
            default: received += drained(inlet, limit: chance.below(8))
            }
            guard port.depth() == sent - received.count else {
                Issue.record("seed \(chance.seed), step \(step): depth \(port.depth())")
                return
            }
        }
        while received.count < sent {
            port.flush()
            let more = drained(inlet)
            if more.isEmpty { break }
            received += more
        }
        #expect(received == Array(0..<sent), "seed \(chance.seed)")
    }
}

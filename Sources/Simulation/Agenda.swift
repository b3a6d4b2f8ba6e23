// Virtual time: what is to happen, and when. Time passes only from one event to the next.

/// Owner: the simulation's one thread. A binary heap; events of the same instant come in an order
/// that the seed decides, since nothing in the world orders them.
final class Agenda {
    private struct Item {
        let time: UInt64
        let order: UInt64
        let action: () -> Void
    }

    private(set) var now: UInt64
    private(set) var eventCount = 0
    /// What the wall clock says more (or less) than the monotonic one; a fault moves it.
    var wallOffsetMilliseconds: UInt64 = 1_767_225_600_000
    private let chance: Chance
    private var heap: [Item] = []

    init(chance: Chance, start: UInt64 = 1_000 * .second) {
        self.chance = chance
        now = start
    }

    var milliseconds: UInt64 { now / .millisecond + wallOffsetMilliseconds }
    var isEmpty: Bool { heap.isEmpty }

    func after(_ nanoseconds: UInt64, _ action: @escaping () -> Void) {
        at(now + nanoseconds, action)
    }

    func at(_ time: UInt64, _ action: @escaping () -> Void) {
        heap.append(Item(time: max(time, now), order: chance.next(), action: action))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Runs the next event if it is due by `end`; otherwise time goes on to `end`, and false.
    func step(until end: UInt64) -> Bool {
        guard let first = heap.first, first.time <= end else {
            now = max(now, end)
            return false
        }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        sink()
        now = first.time
        eventCount += 1
        first.action()
        return true
    }

    private func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && precedes(child, least) {
                least = child
            }
            if least == parent { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        (heap[a].time, heap[a].order) < (heap[b].time, heap[b].order)
    }
}

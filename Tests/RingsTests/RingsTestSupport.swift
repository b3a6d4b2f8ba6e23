// What the ring tests share: elements that count themselves, and boxes that carry an end to its
// thread.

import Synchronization

/// Counts how many of its elements are alive.
final class Tally: Sendable {
    let alive = Atomic<Int>(0)
    let made = Atomic<Int>(0)
    var aliveCount: Int { alive.load(ordering: .sequentiallyConsistent) }
    var madeCount: Int { made.load(ordering: .sequentiallyConsistent) }
}

/// An element that is freed once or shows it: freed twice, the tally would fall below the truth.
final class Counted: Sendable {
    let number: Int
    private let tally: Tally

    init(_ number: Int, _ tally: Tally) {
        self.number = number
        self.tally = tally
        tally.alive.wrappingAdd(1, ordering: .sequentiallyConsistent)
        tally.made.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }

    deinit { tally.alive.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
}

/// Hands a value that cannot be copied to the one thread that uses it next.
final class Handover<Value: ~Copyable>: @unchecked Sendable {
    // Safety: filled before the thread starts, and taken by it once.
    private var value: Value?

    init(_ value: consuming Value) { self.value = consume value }

    func take() -> Value {
        var taken: Value? = nil
        swap(&taken, &value)
        switch consume taken {
        case .some(let value): return value
        case .none: preconditionFailure("a value is handed over once")
        }
    }
}

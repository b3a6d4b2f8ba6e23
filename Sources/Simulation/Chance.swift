// The one source of chance in a simulation.

import ChatModel

/// Owner: the simulation's one thread. Everything that happens by chance asks here, in an order
/// that the seed alone decides.
final class Chance {
    private var random: Random

    init(seed: UInt64) { random = Random(seed: seed) }

    func next() -> UInt64 { random.next() }

    /// A number below `bound`, which is at least 1.
    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    func between(_ low: UInt64, _ high: UInt64) -> UInt64 {
        low >= high ? low : low + random.next() % (high - low + 1)
    }

    func percent(_ chance: Int) -> Bool { below(100) < chance }

    /// True in `chance` of 1,000 cases.
    func permille(_ chance: Int) -> Bool { chance > 0 && below(1000) < chance }

    func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    func shuffle<Element>(_ elements: inout [Element]) {
        guard elements.count > 1 else { return }
        for last in stride(from: elements.count - 1, to: 0, by: -1) {
            elements.swapAt(last, below(last + 1))
        }
    }
}

extension UInt64 {
    static var microsecond: UInt64 { 1000 }
    static var millisecond: UInt64 { 1_000_000 }
    static var second: UInt64 { 1_000_000_000 }
}

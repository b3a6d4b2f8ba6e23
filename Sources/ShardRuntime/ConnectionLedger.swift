// How many connections the process has, and how many of them each address holds. Shared by all
// cores: touched when a connection begins and when it ends, and by nothing in between.
//
// A word of the table is one address's: 40 bits of its hash (seeded, so that nobody can aim at a
// collision) and 24 bits of count. A word whose count is 0 belongs to nobody. An address whose
// eight words are all taken by others is not counted by itself; the bound of the process holds all
// the same.

import Bytes
import Reactor
import Rings
import Synchronization

package final class ConnectionLedger: Sendable {
    enum Admission: Equatable {
        /// Give the place back when the connection ends.
        case admitted(Place)
        case isFull
        case addressIsFull
    }

    /// Where a connection's address is counted.
    struct Place: Equatable, BitwiseCopyable {
        let index: UInt32
        static let uncounted = Place(index: .max)
    }

    private static let slots = 65_536
    private static let probes = 8
    private static let countMask: UInt64 = 0xFF_FFFF

    let connectionsMax: Int
    let connectionsPerAddressMax: Int
    private let total = Atomic<Int>(0)
    private let table = AtomicWords(count: slots)
    private let seed: UInt64

    package init(connectionsMax: Int, connectionsPerAddressMax: Int, seed: UInt64) {
        precondition(connectionsMax > 0, "a service that takes no connection")
        self.connectionsMax = connectionsMax
        self.connectionsPerAddressMax = min(
            connectionsPerAddressMax, connectionsMax, Int(Self.countMask) - 1)
        self.seed = seed
    }

    var count: Int { total.load(ordering: .relaxed) }

    /// True from three quarters of the bound on: who is idle makes room sooner.
    var isUnderPressure: Bool { count > connectionsMax - connectionsMax / 4 }

    /// nil: the peer is gone already, so its address cannot be told.
    func admit(_ address: PeerAddress?) -> Admission {
        guard total.wrappingAdd(1, ordering: .relaxed).newValue <= connectionsMax else {
            total.wrappingSubtract(1, ordering: .relaxed)
            return .isFull
        }
        guard let address else { return .admitted(.uncounted) }
        guard let place = take(address.hash(seed: seed)) else {
            total.wrappingSubtract(1, ordering: .relaxed)
            return .addressIsFull
        }
        return .admitted(place)
    }

    func release(_ place: Place) {
        total.wrappingSubtract(1, ordering: .relaxed)
        guard place != .uncounted else { return }
        let index = Int(place.index)
        while true {
            let word = table.load(index)
            precondition(word & Self.countMask > 0, "a place is given back once")
            if table.compareExchange(index, expected: word, desired: word - 1) == word { return }
        }
    }

    /// nil when the address has as many as it may.
    private func take(_ hash: UInt64) -> Place? {
        let tag = hash & ~Self.countMask
        let first = Int(truncatingIfNeeded: hash) & (Self.slots - 1)
        while true {
            var free = -1
            var own = -1
            for probe in 0..<Self.probes {
                let index = (first + probe) & (Self.slots - 1)
                let word = table.load(index)
                if word & Self.countMask == 0 {
                    if free < 0 { free = index }
                } else if word & ~Self.countMask == tag {
                    own = index
                    break
                }
            }
            if own < 0, free < 0 { return .uncounted }
            let index = own >= 0 ? own : free
            let word = table.load(index)
            let held = own >= 0 ? word & Self.countMask : 0
            guard held < UInt64(connectionsPerAddressMax) else { return nil }
            // Somebody else changed the word meanwhile: look again.
            guard
                own >= 0
                    ? word & ~Self.countMask == tag && held > 0
                    : word & Self.countMask == 0
            else { continue }
            if table.compareExchange(index, expected: word, desired: tag | held + 1) == word {
                return Place(index: UInt32(index))
            }
        }
    }
}

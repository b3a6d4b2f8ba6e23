// The one source of chance in unit tests: seeded, and told in every failure, so that a run can be
// replayed with `SEED=7 swift test --filter …`.

import Glibc

/// SplitMix64: the same numbers from the same seed everywhere.
public struct Seeded: RandomNumberGenerator {
    public let seed: UInt64
    private var state: UInt64

    public init(_ seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// Starts from the environment's `SEED`, or from `fallback` so that an ordinary run is
    /// repeatable.
    public static func fromEnvironment(or fallback: UInt64) -> Seeded {
        let text = unsafe getenv("SEED").map { unsafe String(cString: $0) }
        return Seeded(text.flatMap { UInt64($0) } ?? fallback)
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not zero.
    public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    public mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}

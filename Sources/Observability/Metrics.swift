// Numbers that one thread writes and another reads. A write is a relaxed load and store of a word
// that nobody else writes, so it costs what an ordinary variable costs.

import Bytes
import Synchronization

/// A value with one writing thread.
public final class Counter: Sendable {
    private let value = Atomic<UInt64>(0)
    public init() {}

    /// Only the owning thread may call this.
    @inline(__always) public func add(_ amount: UInt64 = 1) {
        value.store(value.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// Only the owning thread may call this.
    public func subtract(_ amount: UInt64 = 1) {
        value.store(value.load(ordering: .relaxed) &- amount, ordering: .relaxed)
    }

    public func set(_ amount: UInt64) { value.store(amount, ordering: .relaxed) }
    public var current: UInt64 { value.load(ordering: .relaxed) }
}

/// A histogram with fixed bounds and one writing thread. Values and bounds in the unit's integer
/// (µs, items); `scale` divides them for the exposition (1e6: µs to seconds).
@safe public final class Histogram: @unchecked Sendable {
    // Safety: buckets holds bounds.count + 1 atomics for the object's life.
    public let bounds: [UInt64]
    public let scale: Double
    private let buckets: UnsafeMutablePointer<Atomic<UInt64>>
    private let total = Atomic<UInt64>(0)

    public init(bounds: [UInt64], scale: Double) {
        self.bounds = bounds
        self.scale = scale
        unsafe buckets = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: bounds.count + 1)
        for index in 0...bounds.count { unsafe (buckets + index).initialize(to: Atomic(0)) }
    }

    deinit { unsafe buckets.deallocate() }

    /// 50 µs to 10 s.
    public static func microseconds() -> Histogram {
        Histogram(
            bounds: [
                50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000,
                500_000, 1_000_000,
                2_500_000, 5_000_000, 10_000_000,
            ], scale: 1e6)
    }

    public static func items() -> Histogram {
        Histogram(bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096], scale: 1)
    }

    /// Only the owning thread may call this.
    public func record(_ value: UInt64) {
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        // Safety: index <= bounds.count.
        let bucket = unsafe buckets + index
        unsafe bucket.pointee.store(
            bucket.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        total.store(total.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    public var counts: [UInt64] {
        (0...bounds.count).map { unsafe buckets[$0].load(ordering: .relaxed) }
    }

    public var sum: UInt64 { total.load(ordering: .relaxed) }
}

import Synchronization

/// A fixed table of atomic 64-bit words, for the few things that all cores share (limits).
@safe public final class AtomicWords: @unchecked Sendable {
    // Safety: words holds count atomics for the object's life; every index is checked.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    public let count: Int

    public init(count: Int) {
        self.count = count
        unsafe words = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: count)
        for index in 0..<count { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit { unsafe words.deallocate() }

    public func load(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < count, "word past the table")
        return unsafe words[index].load(ordering: .relaxed)
    }

    public func store(_ value: UInt64, at index: Int) {
        precondition(index >= 0 && index < count, "word past the table")
        unsafe words[index].store(value, ordering: .relaxed)
    }

    /// The value that was there; equal to `expected` when the exchange took place.
    public func compareExchange(_ index: Int, expected: UInt64, desired: UInt64) -> UInt64 {
        precondition(index >= 0 && index < count, "word past the table")
        return unsafe words[index].compareExchange(
            expected: expected, desired: desired, ordering: .relaxed
        ).original
    }
}

// Owner: one loop. Rows addressed by a 32-bit slot, with a generation that tells a stale token from
// a live one. Rows never move, so a row can be changed in place while others come and go.

/// Names one life of one slot. The generation is odd while the slot is taken.
public struct Token: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var slot: UInt32
    public var generation: UInt32

    @inlinable public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    @inlinable public init(raw: UInt64) {
        slot = UInt32(truncatingIfNeeded: raw)
        generation = UInt32(truncatingIfNeeded: raw >> 32)
    }

    @inlinable public var raw: UInt64 { UInt64(slot) | UInt64(generation) << 32 }
    @inlinable public static var none: Token { Token(slot: .max, generation: 0) }
}

@safe public final class Slab<Row> {
    // Safety: each chunk holds rowsPerChunk rows; a row is initialised exactly while its generation
    // is odd.
    @usableFromInline static var rowsPerChunkLog2: Int { 8 }
    @usableFromInline var chunks: [UnsafeMutablePointer<Row>]
    @usableFromInline var generations: [UInt32] = []
    private var free: [UInt32] = []
    public let rowsMax: Int
    public private(set) var count = 0

    public init(rowsMax: Int) {
        unsafe chunks = []
        self.rowsMax = rowsMax
    }

    deinit {
        for slot in generations.indices where generations[slot] & 1 == 1 {
            unsafe pointer(UInt32(slot)).deinitialize(count: 1)
        }
        for index in unsafe chunks.indices { unsafe chunks[index].deallocate() }
    }

    @inlinable @inline(always) func pointer(_ slot: UInt32) -> UnsafeMutablePointer<Row> {
        unsafe chunks[Int(slot) >> Slab.rowsPerChunkLog2]
            + (Int(slot) & (1 << Slab.rowsPerChunkLog2 - 1))
    }

    /// Puts a row in; nil when `rowsMax` rows are taken.
    public func insert(_ row: Row) -> Token? {
        if free.isEmpty, !addChunk() { return nil }
        let slot = free.removeLast()
        generations[Int(slot)] &+= 1
        // Safety: a slot on the free list is uninitialised.
        unsafe pointer(slot).initialize(to: row)
        count += 1
        return Token(slot: slot, generation: generations[Int(slot)])
    }

    private func addChunk() -> Bool {
        let size = 1 << Self.rowsPerChunkLog2
        let first = generations.count
        guard first < rowsMax else { return false }
        unsafe chunks.append(UnsafeMutablePointer<Row>.allocate(capacity: size))
        generations.append(contentsOf: repeatElement(0, count: size))
        for slot in stride(from: min(first + size, rowsMax) - 1, through: first, by: -1) {
            free.append(UInt32(slot))
        }
        return true
    }

    public func remove(_ token: Token) {
        precondition(contains(token), "a row is removed once")
        // Safety: an odd generation means that the row is initialised.
        unsafe pointer(token.slot).deinitialize(count: 1)
        generations[Int(token.slot)] &+= 1
        free.append(token.slot)
        count -= 1
    }

    @inlinable public func contains(_ token: Token) -> Bool {
        // Safety: the slot is compared with the count before its generation is read.
        Int(token.slot) < generations.count
            && generations[Int(token.slot)] == token.generation && token.generation & 1 == 1
    }

    /// The row in `slot`, in place. The caller has checked its token.
    @inlinable public subscript(slot: UInt32) -> Row {
        @inline(always) unsafeAddress { unsafe UnsafePointer(pointer(slot)) }
        @inline(always) unsafeMutableAddress { unsafe pointer(slot) }
    }

    /// Tokens of all rows, for walks that add or remove rows.
    public func tokens() -> [Token] {
        generations.enumerated().compactMap {
            $0.element & 1 == 1 ? Token(slot: UInt32($0.offset), generation: $0.element) : nil
        }
    }
}

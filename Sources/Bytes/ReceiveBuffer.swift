/// Owner: one connection. The bytes of a message that has not arrived whole.
///
///     0 ── consumed ──────────── filled ────────── capacity (+ 64 readable bytes behind)
///          │ not yet parsed      │ free
///
/// A connection owns one only while it holds such bytes; otherwise it parses out of the buffer that
/// the loop lent to the kernel. Grows by doubling up to `limitBytes`; never shrinks, it is dropped
/// instead.
@safe public final class ReceiveBuffer {
    // Safety: base holds capacity + padding bytes; [0, filled) is initialised. One owner.
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private var consumed = 0
    private var filled = 0

    public init(capacity: Int) {
        self.capacity = capacity
        unsafe base = UnsafeMutableRawPointer.allocate(
            byteCount: capacity + ByteBlock.paddingBytes, alignment: 16)
    }

    deinit { unsafe base.deallocate() }

    public var count: Int { filled - consumed }
    public var capacityBytes: Int { capacity }

    /// Appends a copy. The caller has checked its own limit first.
    public func append(_ span: RawSpan) {
        if filled + span.byteCount > capacity { makeRoom(span.byteCount) }
        unsafe span.withUnsafeBytes { source in
            // Safety: makeRoom left span.byteCount free bytes.
            if let start = source.baseAddress {
                unsafe (base + filled).copyMemory(from: start, byteCount: source.count)
            }
        }
        filled += span.byteCount
        assertInvariant()
    }

    private func makeRoom(_ more: Int) {
        if consumed > 0 {
            unsafe base.copyMemory(from: base + consumed, byteCount: filled - consumed)
            filled -= consumed
            consumed = 0
        }
        guard filled + more > capacity else { return }
        let larger = max(capacity * 2, filled + more)
        let fresh = UnsafeMutableRawPointer.allocate(
            byteCount: larger + ByteBlock.paddingBytes, alignment: 16)
        unsafe fresh.copyMemory(from: base, byteCount: filled)
        unsafe base.deallocate()
        unsafe base = fresh
        capacity = larger
    }

    public func consume(_ count: Int) {
        precondition(count >= 0 && consumed + count <= filled, "consumed past the received bytes")
        consumed += count
        if consumed == filled { consumed = 0; filled = 0 }
        assertInvariant()
    }

    /// The unparsed bytes, writable (frames are unmasked in place).
    public var bytes: MutableRawSpan {
        @_lifetime(borrow self) get {
            // Safety: [consumed, filled) is initialised; the owner holds one view at a time.
            let span = unsafe MutableRawSpan(
                _unsafeStart: base + consumed, byteCount: filled - consumed)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    private func assertInvariant() {
        assert(consumed <= filled, "parser ran past the received bytes")
        assert(filled <= capacity, "received past the buffer")
    }
}

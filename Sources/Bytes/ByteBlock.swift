/// Immutable bytes with shared ownership: one allocation, reference counted, safe to hand to any
/// thread once filled. Frames that go to many sockets and bodies that cross cores are blocks.
@safe public final class ByteBlock: @unchecked Sendable {
    // Safety: written only inside the initialisers, freed in deinit; immutable in between.
    @usableFromInline let base: UnsafeMutableRawPointer
    public let count: Int
    /// Readable bytes behind `count`, for parsers that load whole vectors (simdjson needs 64).
    public static let paddingBytes = 64

    public init(copying span: RawSpan) {
        count = span.byteCount
        unsafe base = UnsafeMutableRawPointer.allocate(
            byteCount: count + Self.paddingBytes, alignment: 16)
        unsafe span.withUnsafeBytes { source in
            if let start = source.baseAddress {
                unsafe base.copyMemory(from: start, byteCount: source.count)
            }
        }
    }

    public convenience init(_ string: String) {
        let copy = Array(string.utf8)
        unsafe self.init(copying: copy.span.bytes)
    }

    public convenience init(_ bytes: [UInt8]) { unsafe self.init(copying: bytes.span.bytes) }

    /// Takes over memory that was allocated with `count` and the padding behind it.
    @usableFromInline init(adopting base: UnsafeMutableRawPointer, count: Int) {
        unsafe self.base = unsafe base
        self.count = count
    }

    deinit { unsafe base.deallocate() }

    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self) get {
            // Safety: base holds count initialised bytes for as long as self lives.
            let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(base), byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    @inlinable public func equals(_ other: ByteBlock) -> Bool {
        self === other || bytes.equals(other.bytes)
    }

    /// The address, for the operation that lends these bytes to the kernel.
    @unsafe @inlinable public var address: UnsafeRawPointer { unsafe UnsafeRawPointer(base) }
}

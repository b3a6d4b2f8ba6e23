/// Immutable bytes with shared ownership: one allocation, reference counted, safe to hand to any
/// thread once filled. Frames that go to many sockets and bodies that cross cores are blocks.
@safe public struct ByteBlock: @unchecked Sendable {
    // Safety: the buffer's elements are the bytes; written only inside the initialisers, immutable
    // from then on.
    @usableFromInline let storage: ManagedBuffer<Void, UInt8>
    public let count: Int
    /// Readable bytes behind `count`, for parsers that load whole vectors (simdjson needs 64).
    public static let paddingBytes = 64

    @inlinable public init(copying span: RawSpan) {
        count = span.byteCount
        storage = ManagedBuffer.create(minimumCapacity: count &+ 64) { _ in () }
        unsafe span.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return }
            // Safety: the buffer has room for count bytes, and nobody else knows it yet.
            unsafe UnsafeMutableRawPointer(mutating: address)
                .copyMemory(from: start, byteCount: count)
        }
    }

    public init(_ string: String) {
        let copy = Array(string.utf8)
        unsafe self.init(copying: copy.span.bytes)
    }

    public init(_ bytes: [UInt8]) { unsafe self.init(copying: bytes.span.bytes) }

    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self) get {
            // Safety: the buffer holds count initialised bytes for as long as self lives.
            let span = unsafe RawSpan(_unsafeStart: address, byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    @inlinable public func equals(_ other: ByteBlock) -> Bool {
        storage === other.storage || bytes.equals(other.bytes)
    }

    /// The address, for the operation that lends these bytes to the kernel.
    @unsafe @inlinable public var address: UnsafeRawPointer {
        // Safety: the elements lie inside the object, which does not move.
        unsafe storage.withUnsafeMutablePointerToElements { UnsafeRawPointer($0) }
    }
}

/// A half-open range of byte offsets into some span. 32 bits: no message here is larger than 4 GiB.
public struct ByteRange: Equatable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var end: UInt32

    @inlinable public init(_ start: Int, _ end: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.end = UInt32(truncatingIfNeeded: end)
    }

    @inlinable public static var empty: ByteRange { ByteRange(0, 0) }
    @inlinable public var count: Int { Int(end) &- Int(start) }
    @inlinable public var isEmpty: Bool { start == end }
    @inlinable public var range: Range<Int> { Int(start)..<Int(end) }
}

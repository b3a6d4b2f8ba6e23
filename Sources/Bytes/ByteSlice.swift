/// A part of a block, which it keeps alive as a whole.
public struct ByteSlice: Sendable {
    public let block: ByteBlock
    public let range: ByteRange

    @inlinable public init(_ block: ByteBlock, _ range: ByteRange) {
        precondition(range.start <= range.end && Int(range.end) <= block.count, "past the block")
        self.block = block
        self.range = range
    }

    @inlinable public init(_ block: ByteBlock) {
        self.init(block, ByteRange(0, block.count))
    }

    @inlinable public var count: Int { range.count }

    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self) get { block.bytes.extracting(range.range) }
    }
}

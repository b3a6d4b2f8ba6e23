extension Array where Element == UInt8 {
    /// The bytes as the span that parsers take.
    public var raw: RawSpan {
        @_lifetime(borrow self) get {
            // Safety: UInt8 has no padding, so every byte of the span is initialised.
            unsafe span.bytes
        }
    }
}

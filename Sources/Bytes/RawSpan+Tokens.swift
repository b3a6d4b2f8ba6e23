// Comparison of protocol names: one folded word at a time.

extension RawSpan {
    /// Compares a name without case, 8 bytes a step. Both sides are tokens (RFC 9110 section
    /// 5.6.2); `lowercase` holds only lower-case letters, digits and '-', which all have bit 5 set.
    ///
    /// Setting bit 5 is an exact fold there: of the token characters only A-Z, '^' and '_' lack the
    /// bit, and '^' and '_' fold to '~' and DEL, which no such name holds.
    @inlinable public func equalsFoldedToken(_ lowercase: StaticString) -> Bool {
        let count = byteCount
        guard count == lowercase.utf8CodeUnitCount else { return false }
        // Safety: utf8Start holds `count` bytes, and every load below ends at or before `count`.
        let text = unsafe UnsafeRawPointer(lowercase.utf8Start)
        if count >= 8 {
            let bit: UInt64 = 0x2020_2020_2020_2020
            var i = 0
            while i &+ 8 < count {
                let word = unsafe text.loadUnaligned(fromByteOffset: i, as: UInt64.self)
                if load64(at: i) | bit != word { return false }
                i &+= 8
            }
            // The last word overlaps the one before it, so no tail is left.
            let word = unsafe text.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            return load64(at: count &- 8) | bit == word
        }
        if count >= 4 {
            let bit: UInt32 = 0x2020_2020
            let first = unsafe text.loadUnaligned(as: UInt32.self)
            let last = unsafe text.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
            return load32(at: 0) | bit == first && load32(at: count &- 4) | bit == last
        }
        var i = 0
        while i < count {
            let letter = unsafe text.load(fromByteOffset: i, as: UInt8.self)
            if byte(at: i) | 0x20 != letter { return false }
            i &+= 1
        }
        return true
    }
}

extension InlineArray where Element == UInt8 {
    /// Whether the first `count` bytes are `text`.
    @inlinable public func holds(_ text: StaticString, inFirst count: Int) -> Bool {
        precondition(count >= 0 && count <= self.count, "more bytes than the array has")
        guard count == text.utf8CodeUnitCount else { return false }
        var i = 0
        while i < count {
            // Safety: i < utf8CodeUnitCount.
            if unsafe self[i] != text.utf8Start[i] { return false }
            i &+= 1
        }
        return true
    }
}

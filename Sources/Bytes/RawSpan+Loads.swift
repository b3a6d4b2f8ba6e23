// Checked loads and comparisons on spans, so that parsers need no `unsafe` of their own.
// All loads are little-endian and unaligned unless their name says otherwise.

import CLinux

extension RawSpan {
    /// The byte at `offset`; traps past the end.
    @inlinable @inline(always) public func byte(at offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < byteCount, "read past the received bytes")
        // Safety: the bound was checked on the line above.
        return unsafe unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self)
    }

    @inlinable @inline(always) public func load16(at offset: Int) -> UInt16 {
        precondition(offset >= 0 && offset &+ 2 <= byteCount, "read past the received bytes")
        // Safety: the bound was checked on the line above.
        return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt16.self)
    }

    @inlinable @inline(always) public func load32(at offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset &+ 4 <= byteCount, "read past the received bytes")
        // Safety: the bound was checked on the line above.
        return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt32.self)
    }

    @inlinable @inline(always) public func load64(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset &+ 8 <= byteCount, "read past the received bytes")
        // Safety: the bound was checked on the line above.
        return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self)
    }

    /// The part of this span that `range` names.
    @inlinable @inline(always) @_lifetime(copy self)
    public func part(_ range: ByteRange) -> RawSpan { extracting(range.range) }

    /// Offset of the first `byte` at or after `start`; `byteCount` when there is none.
    /// 16 bytes a step.
    @inlinable public func firstOffset(of byte: UInt8, from start: Int = 0) -> Int {
        precondition(start >= 0 && start <= byteCount, "search starts past the received bytes")
        return unsafe withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return 0 }
            var i = start
            let count = raw.count
            while i &+ 16 <= count {
                // Safety: 16 bytes from i lie inside the span, by the loop's condition.
                let mask = unsafe cl_equal_mask16(base + i, byte)
                if mask != 0 { return i &+ mask.trailingZeroBitCount }
                i &+= 16
            }
            while i < count {
                // Safety: i < count.
                if unsafe raw[i] == byte { return i }
                i &+= 1
            }
            return count
        }
    }

    /// Offset of the first control byte (below 0x20 but not HTAB, or DEL) in `range`; its end when
    /// none.
    @inlinable public func firstControlOffset(in range: ByteRange) -> Int {
        precondition(
            range.start <= range.end && Int(range.end) <= byteCount, "range past the received bytes"
        )
        return unsafe withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return Int(range.end) }
            var i = Int(range.start)
            let end = Int(range.end)
            while i &+ 16 <= end {
                // Safety: 16 bytes from i lie inside the span, by the loop's condition.
                let mask = unsafe cl_control_mask16(base + i)
                if mask != 0 { return i &+ mask.trailingZeroBitCount }
                i &+= 16
            }
            while i < end {
                // Safety: i < end <= count.
                let b = unsafe raw[i]
                if (b < 0x20 && b != 0x09) || b == 0x7F { return i }
                i &+= 1
            }
            return end
        }
    }

    @inlinable public func equals(_ other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        var i = 0
        while i &+ 8 <= byteCount {
            if load64(at: i) != other.load64(at: i) { return false }
            i &+= 8
        }
        while i < byteCount {
            if byte(at: i) != other.byte(at: i) { return false }
            i &+= 1
        }
        return true
    }

    @inlinable public func equals(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        var i = 0
        while i < byteCount {
            // Safety: i < utf8CodeUnitCount.
            if unsafe byte(at: i) != text.utf8Start[i] { return false }
            i &+= 1
        }
        return true
    }

    @inlinable public func hasPrefix(_ text: StaticString) -> Bool {
        byteCount >= text.utf8CodeUnitCount && extracting(0..<text.utf8CodeUnitCount).equals(text)
    }

    /// Compares ASCII letters without case; `lowercase` must be in lower case.
    @inlinable public func equalsIgnoringCase(_ lowercase: StaticString) -> Bool {
        guard byteCount == lowercase.utf8CodeUnitCount else { return false }
        var i = 0
        while i < byteCount {
            // Safety: i < utf8CodeUnitCount.
            if unsafe Self.lowercased(byte(at: i)) != lowercase.utf8Start[i] { return false }
            i &+= 1
        }
        return true
    }

    @inlinable @inline(always) public static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// This span without leading and trailing SP and HTAB (RFC 9110 section 5.5, OWS).
    @inlinable @_lifetime(copy self) public func trimmed() -> RawSpan {
        var start = 0
        var end = byteCount
        while start < end, byte(at: start) == 0x20 || byte(at: start) == 0x09 { start &+= 1 }
        while end > start, byte(at: end &- 1) == 0x20 || byte(at: end &- 1) == 0x09 { end &-= 1 }
        return extracting(start..<end)
    }

    /// An unsigned decimal number that fills the span; nil for anything else, or past 64 bits.
    @inlinable public func decimal() -> UInt64? {
        guard byteCount > 0, byteCount <= 20 else { return nil }
        var value: UInt64 = 0
        var i = 0
        while i < byteCount {
            let digit = byte(at: i) &- 0x30
            guard digit < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
            if overflow || carry { return nil }
            value = sum
            i &+= 1
        }
        return value
    }

    /// A copy as a String; ill-formed UTF-8 is repaired. Off the hot path.
    public func string() -> String {
        unsafe withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// A copy as an array. Off the hot path.
    public func array() -> [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }

    /// 64 well-mixed bits of the span, by FNV-1a over 8-byte words and a finaliser.
    /// Not for untrusted tables without a secret `seed`.
    @inlinable public func hash(seed: UInt64) -> UInt64 {
        var h = 0xCBF2_9CE4_8422_2325 ^ seed
        var i = 0
        while i &+ 8 <= byteCount {
            h = (h ^ load64(at: i)) &* 0x9E37_79B9_7F4A_7C15
            h ^= h >> 29
            i &+= 8
        }
        while i < byteCount {
            h = (h ^ UInt64(byte(at: i))) &* 0x0000_0100_0000_01B3
            i &+= 1
        }
        h ^= UInt64(byteCount)
        h = (h ^ (h >> 30)) &* 0xBF58_476D_1CE4_E5B9
        h = (h ^ (h >> 27)) &* 0x94D0_49BB_1331_11EB
        return h ^ (h >> 31)
    }
}

extension MutableRawSpan {
    /// XORs the bytes of `range` in place with the 4-byte `mask` (RFC 6455 section 5.3).
    /// `mask` is little-endian: its lowest byte meets the first byte of the range.
    @inlinable public mutating func xor(_ range: Range<Int>, mask: UInt32) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount, "unmask past the received bytes"
        )
        unsafe withUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            // Safety: the range was checked against the span's bounds above.
            unsafe cl_xor_mask(
                base.assumingMemoryBound(to: UInt8.self) + range.lowerBound, range.count, mask)
        }
    }
}

// Owner: one loop or one thread. A growing buffer that text and JSON are written into.
// It is a class so that a field of it can be written through while other state of the same owner is
// borrowed.
// Budget: no allocation once it has grown to the size of the largest thing written.

import CLinux

@safe public final class ByteWriter {
    // Safety: base holds capacity + padding bytes; [0, count) is initialised. Never shared.
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    @usableFromInline var filled = 0
    public let limitBytes: Int

    public init(capacity: Int = 4096, limitBytes: Int = 1 << 30) {
        unsafe base = UnsafeMutableRawPointer.allocate(
            byteCount: capacity + ByteBlock.paddingBytes, alignment: 16)
        self.capacity = capacity
        self.limitBytes = limitBytes
    }

    deinit { unsafe base.deallocate() }

    @inlinable public var count: Int { filled }

    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self) get {
            // Safety: [0, filled) is initialised and lives as long as self; writers take self
            // exclusively by contract.
            let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(base), byteCount: filled)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    @inlinable public func removeAll() { filled = 0 }

    /// Drops everything from `count` on.
    @inlinable public func truncate(to count: Int) {
        precondition(count >= 0 && count <= filled, "truncation past the written bytes")
        filled = count
    }

    @inlinable @inline(always) public func reserve(_ more: Int) {
        if filled &+ more > capacity { grow(more) }
    }

    @usableFromInline @inline(never) func grow(_ more: Int) {
        precondition(
            filled + more <= limitBytes, "a bounded writer was asked for more than its limit")
        let larger = max(capacity * 2, filled + more)
        let fresh = UnsafeMutableRawPointer.allocate(
            byteCount: larger + ByteBlock.paddingBytes, alignment: 16)
        unsafe fresh.copyMemory(from: base, byteCount: filled)
        unsafe base.deallocate()
        unsafe base = fresh
        capacity = larger
    }

    @inlinable @inline(always) public func append(_ byte: UInt8) {
        reserve(1)
        // Safety: reserve made room for one more byte.
        unsafe base.storeBytes(of: byte, toByteOffset: filled, as: UInt8.self)
        filled &+= 1
    }

    @inlinable @inline(always) public func append(_ text: StaticString) {
        let n = text.utf8CodeUnitCount
        reserve(n)
        // Safety: reserve made room for n bytes.
        unsafe (base + filled).copyMemory(from: text.utf8Start, byteCount: n)
        filled &+= n
    }

    @inlinable public func append(_ span: RawSpan) {
        let n = span.byteCount
        reserve(n)
        unsafe span.withUnsafeBytes { source in
            // Safety: reserve made room for n bytes.
            if let start = source.baseAddress {
                unsafe (base + filled).copyMemory(from: start, byteCount: n)
            }
        }
        filled &+= n
    }

    @inlinable public func append(_ block: ByteBlock) { append(block.bytes) }
    @inlinable public func append(_ slice: ByteSlice) { append(slice.bytes) }

    public func append(string: String) {
        var copy = string
        copy.withUTF8 { utf8 in
            reserve(utf8.count)
            // Safety: reserve made room for utf8.count bytes.
            if let start = utf8.baseAddress {
                unsafe (base + filled).copyMemory(from: start, byteCount: utf8.count)
            }
            filled &+= utf8.count
        }
    }

    @inlinable public func append(decimal value: UInt64) {
        if value < 10 { return append(UInt8(truncatingIfNeeded: value) &+ 0x30) }
        reserve(20)
        var digits = 1
        var power: UInt64 = 10
        while value >= power {
            digits &+= 1
            let (next, overflow) = power.multipliedReportingOverflow(by: 10)
            if overflow { break }
            power = next
        }
        var rest = value
        var i = digits &- 1
        while i >= 0 {
            // Safety: reserve made room for 20 digits.
            unsafe base.storeBytes(
                of: UInt8(truncatingIfNeeded: rest % 10) &+ 0x30, toByteOffset: filled &+ i,
                as: UInt8.self)
            rest /= 10
            i &-= 1
        }
        filled &+= digits
    }

    @inlinable public func append(decimal value: Int) {
        if value < 0 {
            append(0x2D)
            append(decimal: UInt64(bitPattern: Int64(0 &- value)))
        } else {
            append(decimal: UInt64(value))
        }
    }

    /// `digits` decimal digits with leading zeros.
    @inlinable public func append(decimal value: UInt64, digits: Int) {
        reserve(digits)
        var rest = value
        var i = digits &- 1
        while i >= 0 {
            // Safety: reserve made room for the digits.
            unsafe base.storeBytes(
                of: UInt8(truncatingIfNeeded: rest % 10) &+ 0x30, toByteOffset: filled &+ i,
                as: UInt8.self)
            rest /= 10
            i &-= 1
        }
        filled &+= digits
    }

    /// `digits` lower-case hexadecimal digits of the lowest bits.
    @inlinable public func append(hex value: UInt64, digits: Int = 16) {
        precondition(digits >= 0 && digits <= 16, "a word has at most 16 digits")
        // The padding behind the capacity takes what is stored past the last digit.
        reserve(digits)
        let top = value << UInt64((16 &- digits) &* 4)
        // Safety: reserve made room for the digits, and 64 bytes of padding follow.
        unsafe base.storeBytes(
            of: Self.hexadecimal(UInt32(truncatingIfNeeded: top >> 32)), toByteOffset: filled,
            as: UInt64.self)
        if digits > 8 {
            unsafe base.storeBytes(
                of: Self.hexadecimal(UInt32(truncatingIfNeeded: top)), toByteOffset: filled &+ 8,
                as: UInt64.self)
        }
        filled &+= digits
    }

    /// Eight digits at once, the highest in the lowest byte: nibbles are spread over bytes, then 39
    /// is added to those from `a` on.
    @inlinable static func hexadecimal(_ value: UInt32) -> UInt64 {
        var x = UInt64(value.byteSwapped)
        x = (x | x << 16) & 0x0000_FFFF_0000_FFFF
        x = (x | x << 8) & 0x00FF_00FF_00FF_00FF
        x = (x >> 4 | x << 8) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = ((x &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
        return x &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }

    /// The span as a JSON string with its quotes (RFC 8259 section 7). The bytes must be valid
    /// UTF-8.
    @inlinable public func append(json span: RawSpan) {
        append(0x22)
        reserve(span.byteCount)
        var from = 0
        let count = span.byteCount
        unsafe span.withUnsafeBytes { raw in
            guard let start = raw.baseAddress else { return }
            var i = 0
            while i < count {
                if i &+ 16 <= count {
                    // Safety: 16 bytes from i lie inside the span.
                    let mask = unsafe cl_json_escape_mask16(start + i)
                    if mask == 0 { i &+= 16; continue }
                    i &+= mask.trailingZeroBitCount
                }
                // Safety: i < count.
                let byte = unsafe raw[i]
                if byte < 0x20 || byte == 0x22 || byte == 0x5C {
                    append(span.extracting(from..<i))
                    appendEscape(byte)
                    from = i &+ 1
                }
                i &+= 1
            }
        }
        append(span.extracting(from..<count))
        append(0x22)
    }

    @inlinable public func append(json block: ByteBlock) { append(json: block.bytes) }

    public func append(json string: String) {
        let copy = Array(string.utf8)
        unsafe append(json: copy.span.bytes)
    }

    @usableFromInline func appendEscape(_ byte: UInt8) {
        append(0x5C)
        switch byte {
        case 0x22, 0x5C: append(byte)
        case 0x08: append(0x62)
        case 0x0C: append(0x66)
        case 0x0A: append(0x6E)
        case 0x0D: append(0x72)
        case 0x09: append(0x74)
        default:
            append("u00")
            append(hex: UInt64(byte), digits: 2)
        }
    }

    /// A copy of what was written, as a block of its own.
    public func block() -> ByteBlock { ByteBlock(copying: bytes) }

    /// A copy as a String. Off the hot path.
    public func string() -> String { bytes.string() }
}

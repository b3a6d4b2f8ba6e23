import Bytes

/// A set of ASCII bytes as 128 bits: a test is a shift and a mask, with no table in memory. Bytes
/// from 0x80 on are in no set. The bits are checked against the RFCs' character lists by a test.
struct HTTPByteClass {
    /// Bit n of `low` is byte n, bit n of `high` is byte 64 + n.
    let low: UInt64
    let high: UInt64

    /// tchar, RFC 9110 section 5.6.2.
    @inline(always) static var token: HTTPByteClass {
        HTTPByteClass(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    }

    /// Visible ASCII but '#', '%' and '?': the target bytes that need no second look.
    @inline(always) static var plainTarget: HTTPByteClass {
        HTTPByteClass(low: 0x7FFF_FFD6_0000_0000, high: 0x7FFF_FFFF_FFFF_FFFF)
    }

    /// unreserved and sub-delims, RFC 3986 section 3.2.2: a registered name but its
    /// percent-encoding.
    @inline(always) static var registeredName: HTTPByteClass {
        HTTPByteClass(low: 0x2BFF_7FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }

    @inline(always) static var hexDigit: HTTPByteClass {
        HTTPByteClass(low: 0x03FF_0000_0000_0000, high: 0x0000_007E_0000_007E)
    }

    @inline(always) func contains(_ byte: UInt8) -> Bool {
        let word = byte & 0x40 == 0 ? low : high
        return byte < 0x80 && (word &>> UInt64(byte)) & 1 != 0
    }

    /// The first offset in `start..<end` whose byte is not of this class; `end` when there is none.
    @inline(always)
    func endOfRun(_ bytes: RawSpan, from start: Int, to end: Int) -> Int {
        var i = start
        while i < end, contains(bytes.byte(at: i)) { i &+= 1 }
        return i
    }
}

/// Values of single bytes that the HTTP parsers share.
enum HTTPByte {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let quote: UInt8 = 0x22
    static let percent: UInt8 = 0x25
    static let comma: UInt8 = 0x2C
    static let colon: UInt8 = 0x3A
    static let semicolon: UInt8 = 0x3B
    static let equals: UInt8 = 0x3D
    static let questionMark: UInt8 = 0x3F
    static let backslash: UInt8 = 0x5C

    @inline(always) static func isWhitespace(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// field-vchar, SP or HTAB (RFC 9110 section 5.5): all but the controls.
    @inline(always) static func isFieldContent(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == tab
    }

    /// The value of a hexadecimal digit; nil for another byte.
    @inline(always) static func hexValue(_ byte: UInt8) -> UInt8? {
        let digit = byte &- 0x30
        if digit < 10 { return digit }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// Whether '%' at `offset` is followed by two hexadecimal digits before `end`.
    @inline(always)
    static func isPercentEncoding(_ bytes: RawSpan, at offset: Int, before end: Int) -> Bool {
        guard offset &+ 2 < end else { return false }
        let high = bytes.byte(at: offset &+ 1)
        let low = bytes.byte(at: offset &+ 2)
        return HTTPByteClass.hexDigit.contains(high) && HTTPByteClass.hexDigit.contains(low)
    }
}

// Incremental UTF-8 validation (RFC 3629 section 4, Unicode table 3-7).
//
// The state between two feeds is how many continuation bytes the open sequence still wants and
// which range the next one must lie in. That range is narrower than 80..BF only behind four leads:
//
//     E0  A0..BF   no overlong 3-byte forms      F0  90..BF   no overlong 4-byte forms
//     ED  80..9F   no surrogates                 F4  80..8F   nothing past U+10FFFF
//
// so a bad byte is refused when it comes, not when its sequence ends.
// Budget: ASCII 16 bytes a step; other text one 32-bit load a character (or two, for 2-byte ones).

import Bytes

public struct UTF8Validator: Equatable, Sendable, BitwiseCopyable {
    @usableFromInline var continuationsLeft: UInt8 = 0
    @usableFromInline var nextMin: UInt8 = 0x80
    @usableFromInline var nextMax: UInt8 = 0xBF
    @usableFromInline var hasFailed = false

    @inlinable public init() {}

    /// Whether the bytes so far end at the end of a character.
    @inlinable public var isComplete: Bool { continuationsLeft == 0 && !hasFailed }

    /// Whether `bytes` is well-formed as a whole.
    @inlinable public static func isValid(_ bytes: RawSpan) -> Bool {
        var validator = UTF8Validator()
        return validator.feed(bytes) && validator.isComplete
    }

    /// Takes the next bytes of the text. False when they cannot belong to well-formed UTF-8,
    /// whatever follows; it stays false then.
    @inlinable public mutating func feed(_ bytes: RawSpan) -> Bool {
        if continuationsLeft == 0, !hasFailed, bytes.firstNonASCIIOffset() == bytes.byteCount {
            return true
        }
        return feedMixed(bytes)
    }

    @usableFromInline @inline(never) mutating func feedMixed(_ bytes: RawSpan) -> Bool {
        if hasFailed { return false }
        let count = bytes.byteCount
        var i = 0
        while i < count, continuationsLeft > 0 {
            guard take(bytes.byte(at: i)) else { return false }
            i &+= 1
        }
        while i < count {
            i = bytes.firstNonASCIIOffset(from: i)
            while i &+ 4 <= count {
                let word = bytes.load32(at: i)
                let length = Self.wellFormedLength(word)
                if length == 0 { break }
                i &+= length
            }
            // Here stands ASCII, a bad sequence, or one of the last three bytes.
            if i < count {
                guard take(bytes.byte(at: i)) else { return false }
                i &+= 1
            }
            while i < count, continuationsLeft > 0 {
                guard take(bytes.byte(at: i)) else { return false }
                i &+= 1
            }
        }
        return true
    }

    /// How many bytes of the little-endian `word` are whole, well-formed sequences of two or more
    /// bytes; 0 when it starts with anything else.
    @inline(__always) static func wellFormedLength(_ word: UInt32) -> Int {
        if word & 0x0000_C0E0 == 0x0000_80C0 {
            // C0 and C1 would be overlong.
            if word & 0x1E == 0 { return 0 }
            let hasSecond = word & 0xC0E0_0000 == 0x80C0_0000 && word & 0x001E_0000 != 0
            return hasSecond ? 4 : 2
        }
        if word & 0x00C0_C0F0 == 0x0080_80E0 {
            let rest = word & 0x200F
            return rest == 0 || rest == 0x200D ? 0 : 3
        }
        if word & 0xC0C0_C0F8 == 0x8080_80F0 {
            if word & 0x3007 == 0 { return 0 }
            return word & 0x04 != 0 && word & 0x3003 != 0 ? 0 : 4
        }
        return 0
    }

    /// One byte of the machine that the header of this file describes.
    @inline(__always) private mutating func take(_ byte: UInt8) -> Bool {
        if continuationsLeft > 0 {
            guard byte >= nextMin, byte <= nextMax else { return fail() }
            continuationsLeft &-= 1
            nextMin = 0x80
            nextMax = 0xBF
            return true
        }
        switch byte {
        case 0x00...0x7F: return true
        case 0xC2...0xDF: continuationsLeft = 1
        case 0xE0: (continuationsLeft, nextMin) = (2, 0xA0)
        case 0xED: (continuationsLeft, nextMax) = (2, 0x9F)
        case 0xE1...0xEF: continuationsLeft = 2
        case 0xF0: (continuationsLeft, nextMin) = (3, 0x90)
        case 0xF1...0xF3: continuationsLeft = 3
        case 0xF4: (continuationsLeft, nextMax) = (3, 0x8F)
        default: return fail()
        }
        return true
    }

    private mutating func fail() -> Bool {
        hasFailed = true
        return false
    }
}

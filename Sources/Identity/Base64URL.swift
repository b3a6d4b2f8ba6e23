import Bytes

/// Base64 with the URL alphabet and without padding (RFC 4648 section 5).
public enum Base64URL {
    /// Appends the decoded bytes; false for a foreign character, a padding sign or an impossible
    /// length. Leftover bits must be zero, so that a value has one spelling.
    public static func decode(_ text: RawSpan, into writer: ByteWriter) -> Bool {
        guard text.byteCount % 4 != 1 else { return false }
        var bits: UInt32 = 0
        var count = 0
        for offset in 0..<text.byteCount {
            guard let value = value(text.byte(at: offset)) else { return false }
            bits = bits << 6 | value
            count += 6
            if count >= 8 {
                count -= 8
                writer.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
                bits &= (1 << UInt32(count)) - 1
            }
        }
        return bits == 0
    }

    public static func encode(_ bytes: RawSpan, into writer: ByteWriter) {
        let alphabet: StaticString =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        var bits: UInt32 = 0
        var count = 0
        for offset in 0..<bytes.byteCount {
            bits = bits << 8 | UInt32(bytes.byte(at: offset))
            count += 8
            while count >= 6 {
                count -= 6
                writer.append(alphabet.byte(Int(bits >> UInt32(count)) & 63))
                bits &= (1 << UInt32(count)) - 1
            }
        }
        if count > 0 { writer.append(alphabet.byte(Int(bits << UInt32(6 - count)) & 63)) }
    }

    private static func value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case 0x41...0x5A: UInt32(byte - 0x41)
        case 0x61...0x7A: UInt32(byte - 0x61) + 26
        case 0x30...0x39: UInt32(byte - 0x30) + 52
        case 0x2D: 62
        case 0x5F: 63
        default: nil
        }
    }
}

extension StaticString {
    fileprivate func byte(_ index: Int) -> UInt8 {
        precondition(index >= 0 && index < utf8CodeUnitCount, "character past the text")
        // Safety: the bound was checked on the line above.
        return unsafe utf8Start[index]
    }
}

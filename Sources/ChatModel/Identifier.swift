import Bytes

/// What an identifier names; its raw text is the prefix on the wire.
public enum IdentifierKind: Sendable {
    case message, conversation, session, run

    public var prefix: StaticString {
        switch self {
        case .message: "msg_"
        case .conversation: "conv_"
        case .session: "sess_"
        case .run: "run_"
        }
    }
}

/// A UUID version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then random bits.
///
/// The last 16 bits are the shard key: a hash of the tenant and the user whom the thing belongs to.
/// Whoever sees an id therefore knows the owner core without a look-up, and all of a user's
/// conversations, sessions and idempotency keys live on one core.
public struct Identifier: Hashable, Sendable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Names nothing.
    public static let none = Identifier(high: 0, low: 0)

    /// 36 characters of text behind a prefix.
    public static let textBytes = 36

    @inlinable public var shardKey: UInt16 { UInt16(truncatingIfNeeded: low) }
    @inlinable public var milliseconds: UInt64 { high >> 16 }

    /// Reads `prefix` and the 8-4-4-4-12 hexadecimal form; nil for anything else.
    public init?(_ text: RawSpan, kind: IdentifierKind) {
        let prefix = kind.prefix
        guard text.byteCount == prefix.utf8CodeUnitCount + Self.textBytes, text.hasPrefix(prefix)
        else { return nil }
        self.init(uuid: text.extracting(prefix.utf8CodeUnitCount..<text.byteCount))
    }

    /// Reads the bare 36-character form.
    public init?(uuid text: RawSpan) {
        guard text.byteCount == Self.textBytes else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for offset in 0..<Self.textBytes {
            let byte = text.byte(at: offset)
            if offset == 8 || offset == 13 || offset == 18 || offset == 23 {
                guard byte == 0x2D else { return nil }
                continue
            }
            guard let nibble = hexadecimalValue(byte) else { return nil }
            if digits < 16 {
                words.0 = words.0 << 4 | nibble
            } else {
                words.1 = words.1 << 4 | nibble
            }
            digits += 1
        }
        self.init(high: words.0, low: words.1)
    }

    public func write(_ kind: IdentifierKind, into writer: ByteWriter) {
        writer.append(kind.prefix)
        write(into: writer)
    }

    public func write(into writer: ByteWriter) {
        writer.append(hex: high >> 32, digits: 8)
        writer.append(0x2D)
        writer.append(hex: high >> 16, digits: 4)
        writer.append(0x2D)
        writer.append(hex: high, digits: 4)
        writer.append(0x2D)
        writer.append(hex: low >> 48, digits: 4)
        writer.append(0x2D)
        writer.append(hex: low, digits: 12)
    }

    public func text(_ kind: IdentifierKind) -> String {
        let writer = ByteWriter(capacity: 48)
        write(kind, into: writer)
        return writer.string()
    }
}

/// The value of a hexadecimal digit, either case.
public func hexadecimalValue(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte - 0x30)
    case 0x61...0x66: UInt64(byte - 0x57)
    case 0x41...0x46: UInt64(byte - 0x37)
    default: nil
    }
}

/// Owner: one thread. Makes identifiers whose order within a millisecond follows their making.
public struct IdentifierSource {
    private var random: Random
    private var lastMilliseconds: UInt64 = 0
    private var counter: UInt64 = 0

    public init(seed: UInt64) { random = Random(seed: seed) }

    public mutating func next(milliseconds: UInt64, shardKey: UInt16) -> Identifier {
        // RFC 9562 section 6.2 method 1: a 12-bit counter keeps ids of one millisecond in order. It
        // starts below half so that it cannot run over within a millisecond's work; when it does,
        // time steps on.
        if milliseconds > lastMilliseconds {
            lastMilliseconds = milliseconds
            counter = random.next() & 0x7FF
        } else {
            counter += 1
            if counter > 0xFFF { lastMilliseconds += 1; counter = 0 }
        }
        let high = lastMilliseconds << 16 | 0x7000 | counter
        let low = 0x8000_0000_0000_0000 | (random.next() >> 2) & ~0xFFFF | UInt64(shardKey)
        return Identifier(high: high, low: low)
    }
}

/// A small fast generator (splitmix64) for ids, jitter and seeds of tests; never for secrets.
public struct Random: Sendable {
    @usableFromInline var state: UInt64

    public init(seed: UInt64) { state = seed }

    @inlinable public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

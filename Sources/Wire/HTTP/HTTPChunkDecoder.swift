import Bytes

/// What one step of a chunked body's decoder came to. `next` is where the following call continues;
/// the bytes before it are never needed again.
public enum ChunkOutcome: Equatable, Sendable {
    /// A piece of the body, never empty. A chunk that arrives in parts comes out in parts.
    case data(ByteRange, next: Int)
    case needsMoreBytes(next: Int)
    /// The body is over; the next request's head starts at `next`.
    case end(next: Int)
}

/// Owner: one request with `HTTPFraming.chunked`. Reads a chunked body (RFC 9112 section 7.1):
///
///     4;name=value CRLF  data CRLF  …  0 CRLF  [ trailer: value CRLF ]…  CRLF
///     size line          data          last     trailer section
///
/// The framing is read byte by byte, so every state resumes at any split; data is handed out as the
/// ranges it lies in. Extensions and trailers are checked and dropped.
///
/// After an error the connection answers and closes: the end of the body is not known.
/// Budget: no allocation; one branch table step for each framing byte, none for data bytes.
public struct HTTPChunkDecoder: Sendable {
    enum State: UInt8 {
        // The size line; HTTPChunkDecoder+Extensions.swift has the ext states.
        case sizeStart, size, sizeWhitespace
        case extName, extNameRest, extNameWhitespace, extValue, extToken, extQuoted, extQuotedPair
        case extValueEnd, extWhitespace
        case sizeLineFeed
        // The data and its CRLF.
        case data, dataCarriageReturn, dataLineFeed
        // The trailer section; HTTPChunkDecoder+Trailers.swift.
        case trailerStart, trailerName, trailerValue, trailerLineFeed, finalLineFeed
        case ended
    }

    /// A size line with its CRLF.
    public static let chunkLineBytesMax = 1024
    /// All trailer lines with their CRLFs.
    public static let trailerBytesMax = 8192
    static let sizeDigitsMax: UInt8 = 16
    /// Longer trailer names are none of the forbidden ones.
    static let trailerNameBytesMax = 32

    var state: State = .sizeStart
    var sizeDigits: UInt8 = 0
    /// Bytes of the size line, then of the trailer section.
    var lineBytes: UInt16 = 0
    var trailerNameBytes: UInt16 = 0
    /// The chunk's size while its line is read, then what is left of its data.
    var remaining: UInt64 = 0
    /// The start of a trailer's name in lower case, since its bytes may be gone when it ends.
    var trailerName = InlineArray<32, UInt8>(repeating: 0)

    public init() {}

    /// Whether `end` was returned.
    public var isAtEnd: Bool { state == .ended }

    /// Reads on at `offset`, up to the next piece of data, the end, or the end of `bytes`. `bytes`
    /// may be another span on each call, as long as `bytes[offset]` is the first byte not yet read.
    public mutating func next(
        _ bytes: RawSpan, from offset: Int
    ) throws(HTTPError) -> ChunkOutcome {
        precondition(
            offset >= 0 && offset <= bytes.byteCount, "a chunk starts in the received bytes")
        precondition(state != .ended, "a body ends once")
        let count = bytes.byteCount
        var i = offset
        while i < count {
            if state == .data {
                let available = min(UInt64(count &- i), remaining)
                remaining &-= available
                if remaining == 0 { state = .dataCarriageReturn }
                let end = i &+ Int(available)
                return .data(ByteRange(i, end), next: end)
            }
            try read(bytes.byte(at: i))
            i &+= 1
            if state == .ended { return .end(next: i) }
        }
        return .needsMoreBytes(next: count)
    }

    /// One framing byte.
    #if !DEBUG
        @_noLocks
    #endif
    private mutating func read(_ byte: UInt8) throws(HTTPError) {
        switch state {
        case .sizeStart, .size, .sizeWhitespace, .sizeLineFeed:
            try countLineByte()
            try readSize(byte)
        case .extName, .extNameRest, .extNameWhitespace, .extValue, .extToken, .extQuoted,
            .extQuotedPair, .extValueEnd, .extWhitespace:
            try countLineByte()
            try readExtension(byte)
        case .dataCarriageReturn:
            guard byte == HTTPByte.carriageReturn else { throw .badChunk }
            state = .dataLineFeed
        case .dataLineFeed:
            guard byte == HTTPByte.lineFeed else { throw .badChunk }
            startSizeLine()
        case .trailerStart, .trailerName, .trailerValue, .trailerLineFeed, .finalLineFeed:
            try readTrailer(byte)
        case .data, .ended:
            preconditionFailure("data is not read byte by byte, and nothing is read after the end")
        }
    }

    private mutating func countLineByte() throws(HTTPError) {
        guard lineBytes < UInt16(Self.chunkLineBytesMax) else { throw .chunkLineTooLong }
        lineBytes &+= 1
    }

    private mutating func startSizeLine() {
        state = .sizeStart
        sizeDigits = 0
        lineBytes = 0
        remaining = 0
    }

    /// chunk-size = 1*HEXDIG, then an extension or CRLF.
    private mutating func readSize(_ byte: UInt8) throws(HTTPError) {
        switch state {
        case .sizeStart, .size:
            if let digit = HTTPByte.hexValue(byte) {
                // 16 digits fill 64 bits; sizes past Int.max would overflow someone's arithmetic.
                guard sizeDigits < Self.sizeDigitsMax, remaining >> 59 == 0 else {
                    throw .badChunkSize
                }
                remaining = remaining << 4 | UInt64(digit)
                sizeDigits &+= 1
                state = .size
            } else if state == .sizeStart {
                throw byte == HTTPByte.lineFeed ? .bareLineFeed : .badChunkSize
            } else if HTTPByte.isWhitespace(byte) {
                state = .sizeWhitespace
            } else {
                try endOfPart(byte, otherwise: .badChunkSize)
            }
        case .sizeWhitespace:
            // Whitespace is read before ";" only (BWS, RFC 9112 7.1.1). Before CRLF it is no part
            // of the grammar, and readers that disagree about it can be set against each other.
            if byte == HTTPByte.semicolon {
                state = .extName
            } else if !HTTPByte.isWhitespace(byte) {
                throw .badChunkSize
            }
        default:
            guard byte == HTTPByte.lineFeed else { throw .bareCarriageReturn }
            endSizeLine()
        }
    }

    private mutating func endSizeLine() {
        lineBytes = 0
        state = remaining == 0 ? .trailerStart : .data
    }

    /// The byte behind a size, an extension name or a value: another extension, or the line's end.
    mutating func endOfPart(_ byte: UInt8, otherwise error: HTTPError) throws(HTTPError) {
        switch byte {
        case HTTPByte.semicolon: state = .extName
        case HTTPByte.carriageReturn: state = .sizeLineFeed
        case HTTPByte.lineFeed: throw .bareLineFeed
        default: throw error
        }
    }
}

import Bytes

/// What a parse of a head came to. Errors are thrown.
public enum HTTPParseOutcome: Equatable, Sendable {
    /// Nothing is wrong so far. Call again with the same bytes and at least one more.
    case needsMoreBytes
    /// The head is whole; the body or the next head starts at offset `headBytes`.
    case complete(headBytes: Int)
}

/// Owner: one connection. Reads one request head (RFC 9112 sections 2 to 6) into a caller's table.
///
///     0 ── lineStart ──────── scanned ─────── byteCount
///     │ lines parsed │ no LF in here │ not yet looked at
///
/// A head may arrive in any pieces: each byte is searched for a line end once, and each line is
/// parsed once, when it is whole. The bytes may move between calls; only offsets are kept. A
/// malformed line is refused as soon as its LF is there, a line or head past its limit as soon as
/// it is past it.
///
/// After an error the connection answers and closes; after `complete`, `reset()` starts the next
/// head. Budget: no allocation, about three passes over the bytes (LF, name, value's controls).
public struct HTTPHeadParser: Sendable {
    enum Phase: UInt8 { case requestLine, fields, complete }

    public let limits: HTTPLimits
    private(set) var phase: Phase = .requestLine
    private var skippedEmptyLine = false
    private var lineStart: UInt32 = 0
    /// Bytes that were searched for a line end.
    private(set) var scanned: UInt32 = 0

    public init(limits: HTTPLimits = HTTPLimits()) { self.limits = limits }

    /// Prepares for the next head, whose first byte is again offset 0.
    public mutating func reset() {
        phase = .requestLine
        skippedEmptyLine = false
        lineStart = 0
        scanned = 0
    }

    /// Reads on. `bytes` starts at the head's first byte and holds at least what the last call saw;
    /// bytes behind the head are not looked at. `head` is the same one from call to call.
    public mutating func parse(
        _ bytes: RawSpan, into head: inout HTTPRequestHead
    ) throws(HTTPError) -> HTTPParseOutcome {
        precondition(phase != .complete, "a parser is reset before it reads the next head")
        precondition(bytes.byteCount >= Int(scanned), "bytes of a partial head were taken away")
        if scanned == 0 { head.reset() }
        while true {
            let lineFeed = bytes.firstOffset(of: HTTPByte.lineFeed, from: Int(scanned))
            guard lineFeed < bytes.byteCount else {
                try checkLimit(lineFeed)
                scanned = UInt32(lineFeed)
                return .needsMoreBytes
            }
            let next = lineFeed &+ 1
            // The limit comes before the line's content, so that the answer does not depend on
            // how much of the line had arrived when it was passed.
            try checkLimit(next)
            let start = Int(lineStart)
            guard lineFeed > start, bytes.byte(at: lineFeed &- 1) == HTTPByte.carriageReturn else {
                // RFC 9112 2.2 lets a recipient take a bare LF for a line end. Others upstream may
                // not, and the two would see different heads; refuse.
                throw .bareLineFeed
            }
            let end = lineFeed &- 1
            scanned = UInt32(next)
            lineStart = UInt32(next)
            assertInvariant(bytes.byteCount)
            if phase == .requestLine {
                if end == start {
                    // RFC 9112 2.2: an empty line before the request line is ignored. One is.
                    guard !skippedEmptyLine else { throw .badRequestLine }
                    skippedEmptyLine = true
                    continue
                }
                try Self.parseRequestLine(bytes, from: start, to: end, into: &head)
                phase = .fields
            } else if end == start {
                try Self.finish(&head)
                phase = .complete
                return .complete(headBytes: next)
            } else {
                guard head.fieldCountStored < limits.headerCountMax else { throw .tooManyHeaders }
                try Self.parseField(bytes, from: start, to: end, into: &head)
            }
        }
    }

    /// `end` is one past the last byte that is known to belong to the current line.
    private func checkLimit(_ end: Int) throws(HTTPError) {
        if phase == .requestLine {
            if end &- Int(lineStart) > Int(limits.requestLineBytesMax) { throw .requestLineTooLong }
        } else if end > Int(limits.headBytesMax) {
            throw .headTooLarge
        }
    }

    private func assertInvariant(_ byteCount: Int) {
        assert(lineStart <= scanned, "a line starts behind its own scan")
        assert(Int(scanned) <= byteCount, "the scan ran past the received bytes")
    }

    /// Which rule the byte breaks that stopped a scan, when it is one of the notorious two.
    static func refusal(of byte: UInt8, otherwise error: HTTPError) -> HTTPError {
        switch byte {
        case 0: .nullByte
        case HTTPByte.carriageReturn: .bareCarriageReturn
        default: error
        }
    }

    /// What only the whole head can tell: Host, persistence, upgrade.
    #if !DEBUG
        @_noLocks
    #endif
    private static func finish(_ head: inout HTTPRequestHead) throws(HTTPError) {
        let tokens = head.connectionTokens
        if head.minorVersion == 0 {
            // RFC 9112 9.3: 1.0 persists only when asked to. Upgrade and 100-continue are ignored
            // there (RFC 9110 sections 7.8 and 10.1.1).
            head.keepAlive = tokens.contains(.keepAlive) && !tokens.contains(.close)
            head.expectContinue = false
            return
        }
        guard head.value(.host) != nil else { throw .missingHost }
        head.keepAlive = !tokens.contains(.close)
        // A body would have to be read before the protocol changes; then it is a plain GET.
        head.upgradeToWebSocket =
            head.method == .get && head.framing == .none && tokens.contains(.upgrade)
            && tokens.contains(.webSocket)
    }
}

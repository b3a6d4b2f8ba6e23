// Owner: one socket, one loop. What a server has received of the message and the frame at hand.
//
// The common case, a whole uncompressed message in one frame that has arrived in one read, is
// unmasked where it lies and handed on as a range. All other data payload is moved into an assembly
// buffer as it comes, so the caller never has to keep more than an unfinished header or control
// frame (131 bytes), and no byte is unmasked, checked or inflated twice.
//
//     betweenFrames ──header of a data frame──▶ insideFrame ──its last byte──▶ betweenFrames
//          └── Close frame or an error ──▶ closed
//
// Budget: in place no allocation, no copy, one pass to unmask and one to check text. Gathered: one
// copy, buffers from the loop's pool. An idle socket holds this struct and, when the peer keeps its
// compression context, one inflater.

import Bytes

/// Where the bytes of a message are.
public enum WebSocketPayload: Equatable, Sendable, BitwiseCopyable {
    /// In the caller's bytes, unmasked. Valid until the caller reuses them.
    case inPlace(ByteRange)
    /// In the socket's own buffer: `takeAssembled()`.
    case assembled
}

public enum WebSocketEvent: Equatable, Sendable, BitwiseCopyable {
    /// All that could be used was used. The caller keeps the bytes from `next` on and calls again
    /// when it has at least `total` bytes from there.
    case needsMoreBytes(total: Int)
    case message(isText: Bool, payload: WebSocketPayload)
    case ping(ByteRange)
    case pong(ByteRange)
    /// The peer closes. `code` nil: its frame had no body (RFC 6455 section 7.1.5, 1005).
    case close(code: UInt16?, reason: ByteRange)
    /// A Close frame or an error came before. These bytes are to be dropped (section 5.5.1).
    case closed
}

public struct WebSocketStep: Equatable, Sendable, BitwiseCopyable {
    public let event: WebSocketEvent
    /// Offset of the first byte that has not been parsed yet.
    public let next: Int

    @inlinable public init(_ event: WebSocketEvent, next: Int) {
        self.event = event
        self.next = next
    }
}

public struct WebSocketInbound {
    @usableFromInline enum Phase: UInt8, BitwiseCopyable {
        case betweenFrames, insideFrame, closed
    }
    @usableFromInline enum Message: UInt8, BitwiseCopyable { case none, text, binary }

    /// What has been gathered; nil while there is nothing.
    @usableFromInline var assembly: ByteWriter?
    @usableFromInline var inflater: Inflater?
    @usableFromInline let messageBytesMax: UInt32
    /// Payload bytes of the message's frames, by their headers, as sent.
    @usableFromInline var messageWireBytes: UInt32 = 0
    /// Frames of the message so far.
    @usableFromInline var fragmentCount: UInt32 = 0
    /// Of the frame at hand: payload bytes still to come, and the mask turned to meet the next.
    @usableFromInline var frameBytesLeft: UInt32 = 0
    @usableFromInline var frameMask: UInt32 = 0
    @usableFromInline var utf8 = UTF8Validator()
    @usableFromInline var phase = Phase.betweenFrames
    @usableFromInline var message = Message.none
    @usableFromInline var messageIsCompressed = false
    @usableFromInline var frameIsLast = false
    /// The peer's window; 0 when no compression was negotiated.
    @usableFromInline let windowBits: UInt8
    @usableFromInline let peerKeepsContext: Bool

    /// So many fragments may be of any size, and beyond them one for each `fragmentBytesMin` bytes.
    static let fragmentsFreeMax: UInt32 = 1024
    static let fragmentBytesMin: UInt32 = 16

    /// What is held of a message that is not whole.
    public var heldBytes: Int { assembly?.capacityBytes ?? 0 }

    /// `messageBytesMax` bounds a message as the application sees it, at most 1 GiB. `deflate` is
    /// what the handshake agreed on.
    public init(messageBytesMax: Int, deflate: DeflateParameters? = nil) {
        precondition(messageBytesMax > 0, "a socket that may receive nothing")
        precondition(messageBytesMax <= 1 << 30, "offsets in a message have 32 bits")
        self.messageBytesMax = UInt32(messageBytesMax)
        windowBits = deflate?.clientWindowBits ?? 0
        peerKeepsContext = !(deflate?.clientNoContextTakeover ?? false)
    }

    /// The next thing that the peer said, from `offset` on. Non-final fragments are taken in
    /// without an event. Ranges in the event are offsets into `bytes`, not into its part from
    /// `offset`.
    ///
    /// An error closes the socket: the caller answers with `error.closeCode`, and later calls
    /// return `.closed`.
    @inlinable public mutating func next(
        _ bytes: inout MutableRawSpan, from offset: Int, assembling pool: WebSocketAssemblyPool
    ) throws(WebSocketError) -> WebSocketStep {
        precondition(offset >= 0 && offset <= bytes.byteCount, "parsing starts past the bytes")
        do throws(WebSocketError) {
            var at = offset
            while true {
                switch phase {
                case .betweenFrames:
                    if let step = try takeFrame(&bytes, at: &at) { return step }
                case .insideFrame:
                    if let step = try takePayload(&bytes, at: &at, pool) { return step }
                case .closed:
                    return WebSocketStep(.closed, next: bytes.byteCount)
                }
            }
        } catch {
            close(pool)
            throw error
        }
    }

    /// The buffer of the message that was just announced as `.assembled`; the socket lets go of it.
    /// The caller reads `bytes` and gives it back to the pool. Not taking it drops the message when
    /// the next one is gathered.
    public mutating func takeAssembled() -> ByteWriter {
        guard message == .none, let writer = assembly else {
            preconditionFailure("there is no assembled message to take")
        }
        assembly = nil
        return writer
    }

    /// Starts on the frame at `at`. Returns an event, or nil once a data frame has been opened.
    @inlinable mutating func takeFrame(
        _ bytes: inout MutableRawSpan, at: inout Int
    ) throws(WebSocketError) -> WebSocketStep? {
        let outcome: WebSocketFrameOutcome
        do {
            let rest = bytes.bytes.extracting(at..<bytes.byteCount)
            if rest.byteCount > 0 { try checkOrder(rest.byte(at: 0)) }
            outcome = try parseWebSocketFrameHeader(
                rest, role: .server, payloadBytesMax: Int(wireBytesMax),
                deflateNegotiated: windowBits != 0)
        }
        switch outcome {
        case .needsMoreBytes(let total):
            return WebSocketStep(.needsMoreBytes(total: total), next: at)
        case .header(let header):
            let start = at &+ header.headerBytes
            let isWhole = header.payloadBytes <= bytes.byteCount &- start
            if header.opcode.isControl {
                let total = header.headerBytes &+ header.payloadBytes
                guard isWhole else {
                    return WebSocketStep(.needsMoreBytes(total: total), next: at)
                }
                return try takeControl(&bytes, header, at: start)
            }
            if isWhole, header.fin, !header.rsv1, header.opcode != .continuation {
                return try takeInPlace(&bytes, header, at: start)
            }
            try open(header)
            at = start
            return nil
        }
    }

    /// RFC 6455 section 5.4: fragments follow each other, with nothing but control frames between.
    @inlinable @inline(always) func checkOrder(_ first: UInt8) throws(WebSocketError) {
        let opcode = first & 0x0F
        if opcode == 0 {
            if message == .none { throw .unexpectedContinuation }
        } else if opcode < 3, message != .none {
            throw .expectedContinuation
        }
    }

    /// What a message's frames may have together. DEFLATE makes bytes that cannot be compressed
    /// longer, by less than an eighth; past that a frame is refused before it is inflated.
    @inlinable var wireBytesMax: UInt32 {
        windowBits == 0 ? messageBytesMax : messageBytesMax &+ messageBytesMax >> 3 &+ 64
    }

    /// The common case: a message in one frame, all of it here.
    @inlinable mutating func takeInPlace(
        _ bytes: inout MutableRawSpan, _ header: WebSocketFrameHeader, at start: Int
    ) throws(WebSocketError) -> WebSocketStep {
        if header.payloadBytes > Int(messageBytesMax) { throw .messageTooBig }
        let end = start &+ header.payloadBytes
        bytes.xor(start..<end, mask: header.mask)
        let isText = header.opcode == .text
        if isText, !UTF8Validator.isValid(bytes.bytes.extracting(start..<end)) {
            throw .invalidUTF8
        }
        let payload = WebSocketPayload.inPlace(ByteRange(start, end))
        return WebSocketStep(.message(isText: isText, payload: payload), next: end)
    }
}

// MARK: - Messages that are gathered

extension WebSocketInbound {
    /// A data frame that is not handed on in place begins.
    @usableFromInline mutating func open(
        _ header: WebSocketFrameHeader
    ) throws(WebSocketError) {
        if header.opcode != .continuation {
            message = header.opcode == .text ? .text : .binary
            messageIsCompressed = header.rsv1
            messageWireBytes = 0
            fragmentCount = 0
            assert(utf8.isComplete, "a message ended inside a character")
            assembly?.removeAll()
        }
        // Both terms are at most wireBytesMax, so the sum fits 32 bits.
        messageWireBytes &+= UInt32(header.payloadBytes)
        let limit = messageIsCompressed ? wireBytesMax : messageBytesMax
        if messageWireBytes > limit { throw .messageTooBig }
        // Section 5.4 lets fragments be empty and without number; each costs the time of a frame.
        fragmentCount &+= 1
        if fragmentCount > Self.fragmentsFreeMax &+ messageWireBytes / Self.fragmentBytesMin {
            throw .tooManyFragments
        }
        frameBytesLeft = UInt32(header.payloadBytes)
        frameMask = header.mask
        frameIsLast = header.fin
        phase = .insideFrame
    }

    /// Takes what has come of the open frame's payload. nil when the frame ended without ending its
    /// message.
    @usableFromInline mutating func takePayload(
        _ bytes: inout MutableRawSpan, at: inout Int, _ pool: WebSocketAssemblyPool
    ) throws(WebSocketError) -> WebSocketStep? {
        let count = min(Int(frameBytesLeft), bytes.byteCount - at)
        if count > 0 {
            bytes.xor(at..<at + count, mask: frameMask)
            try gather(bytes.bytes.extracting(at..<at + count), pool)
            at += count
            frameBytesLeft -= UInt32(count)
            // The next byte meets the mask's byte number `count` (modulo 4).
            let turn = UInt32(count & 3) * 8
            frameMask = frameMask &>> turn | frameMask &<< (32 &- turn)
        }
        guard frameBytesLeft == 0 else {
            return WebSocketStep(.needsMoreBytes(total: 1), next: at)
        }
        phase = .betweenFrames
        return frameIsLast ? try finish(next: at, pool) : nil
    }

    private mutating func gather(
        _ payload: RawSpan, _ pool: WebSocketAssemblyPool
    ) throws(WebSocketError) {
        let writer = writer(pool)
        if messageIsCompressed {
            try inflate(payload, into: writer, endOfMessage: false, pool)
        } else {
            if message == .text, !utf8.feed(payload) { throw .invalidUTF8 }
            writer.append(payload)
        }
    }

    private mutating func finish(
        next: Int, _ pool: WebSocketAssemblyPool
    ) throws(WebSocketError) -> WebSocketStep {
        if messageIsCompressed {
            try inflate(RawSpan(), into: writer(pool), endOfMessage: true, pool)
            if !peerKeepsContext, let idle = inflater {
                inflater = nil
                pool.giveBack(idle)
            }
        }
        let isText = message == .text
        // RFC 6455 5.6: the message as a whole is UTF-8, so no character is left open.
        if isText, !utf8.isComplete { throw .invalidUTF8 }
        message = .none
        // Nothing was gathered: every fragment was empty.
        let payload = assembly == nil ? WebSocketPayload.inPlace(.empty) : .assembled
        return WebSocketStep(.message(isText: isText, payload: payload), next: next)
    }

    private mutating func inflate(
        _ payload: RawSpan, into writer: ByteWriter, endOfMessage: Bool,
        _ pool: WebSocketAssemblyPool
    ) throws(WebSocketError) {
        let start = writer.count
        do throws(WebSocketError) {
            try inflater(pool).inflate(
                payload, into: writer, limitBytes: Int(messageBytesMax), endOfMessage: endOfMessage)
        } catch {
            // Text that was bad before the stream was is reported as such, as it would have been
            // had the bytes come one by one.
            try check(writer.bytes.extracting(start..<writer.count))
            throw error
        }
        try check(writer.bytes.extracting(start..<writer.count))
    }

    private mutating func check(_ inflated: RawSpan) throws(WebSocketError) {
        if message == .text, !utf8.feed(inflated) { throw .invalidUTF8 }
    }

    private mutating func writer(_ pool: WebSocketAssemblyPool) -> ByteWriter {
        if let assembly { return assembly }
        let fresh = pool.takeWriter()
        assembly = fresh
        return fresh
    }

    private mutating func inflater(_ pool: WebSocketAssemblyPool) -> Inflater {
        if let inflater { return inflater }
        let fresh =
            peerKeepsContext
            ? Inflater(windowBits: windowBits, keepsContext: true) : pool.takeInflater()
        inflater = fresh
        return fresh
    }
}

// MARK: - Control frames

extension WebSocketInbound {
    @usableFromInline mutating func takeControl(
        _ bytes: inout MutableRawSpan, _ header: WebSocketFrameHeader, at start: Int
    ) throws(WebSocketError) -> WebSocketStep {
        let end = start + header.payloadBytes
        bytes.xor(start..<end, mask: header.mask)
        let range = ByteRange(start, end)
        switch header.opcode {
        case .ping: return WebSocketStep(.ping(range), next: end)
        case .pong: return WebSocketStep(.pong(range), next: end)
        case .close: return WebSocketStep(try takeClose(bytes.bytes, range), next: end)
        case .continuation, .text, .binary:
            preconditionFailure("a data frame is not a control frame")
        }
    }

    /// RFC 6455 section 5.5.1: the body is empty, or a code and a reason in UTF-8.
    private mutating func takeClose(
        _ bytes: RawSpan, _ body: ByteRange
    ) throws(WebSocketError) -> WebSocketEvent {
        if body.count == 1 { throw .badCloseBody }
        var code: UInt16?
        var reason = ByteRange(body.range.upperBound, body.range.upperBound)
        if body.count >= 2 {
            let sent = bytes.load16(at: body.range.lowerBound).byteSwapped
            guard WebSocketCloseCode.isValidOnTheWire(sent) else { throw .badCloseCode }
            reason = ByteRange(body.range.lowerBound + 2, body.range.upperBound)
            guard UTF8Validator.isValid(bytes.part(reason)) else { throw .invalidUTF8 }
            code = sent
        }
        phase = .closed
        return .close(code: code, reason: reason)
    }

    /// Nothing more is parsed; what was held goes.
    @usableFromInline mutating func close(_ pool: WebSocketAssemblyPool) {
        phase = .closed
        message = .none
        inflater = nil
        if let assembly { pool.giveBack(assembly) }
        assembly = nil
    }
}

// The frame header of RFC 6455 section 5.2, parsed out of whatever bytes have come so far.
//
//      byte 0          byte 1         0, 2 or 8 bytes    0 or 4 bytes
//     ┌─┬─┬─┬─┬──────┐┌─┬──────────┐┌──────────────────┐┌─────────────┐
//     │F│1│2│3│opcode││M│ length 7 ││ length, network  ││ masking key │ payload …
//     └─┴─┴─┴─┴──────┘└─┴──────────┘└──────────────────┘└─────────────┘
//
// Owns nothing, keeps nothing. Each check runs as soon as its byte is there and always in the same
// order, so that a stream is refused with the same error however it was cut into reads.
// Budget: at most 14 bytes touched, no allocation, no lock. `@_noLocks` holds release builds to
// that; debug builds form the messages of preconditions as Strings, which it takes for locks.

import Bytes

/// Which end of the connection reads the frame. A server expects masked frames, a client plain
/// ones.
public enum WebSocketRole: Sendable, BitwiseCopyable { case server, client }

/// RFC 6455 section 5.2; 3 to 7 and 11 to 15 are reserved and have no case.
public enum WebSocketOpcode: UInt8, Sendable, BitwiseCopyable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    /// Section 5.5: the top bit of the opcode marks control frames.
    @inlinable public var isControl: Bool { rawValue & 8 != 0 }
}

public struct WebSocketFrameHeader: Equatable, Sendable, BitwiseCopyable {
    public let fin: Bool
    /// The first frame of a message that is compressed (RFC 7692 section 6).
    public let rsv1: Bool
    public let opcode: WebSocketOpcode
    /// The masking key as `MutableRawSpan.xor` wants it: the lowest byte meets the first payload
    /// byte. 0 in a client, whose peer does not mask.
    public let mask: UInt32
    public let headerBytes: Int
    public let payloadBytes: Int

    @inlinable public init(
        fin: Bool, rsv1: Bool, opcode: WebSocketOpcode, mask: UInt32, headerBytes: Int,
        payloadBytes: Int
    ) {
        self.fin = fin
        self.rsv1 = rsv1
        self.opcode = opcode
        self.mask = mask
        self.headerBytes = headerBytes
        self.payloadBytes = payloadBytes
    }
}

public enum WebSocketFrameOutcome: Equatable, Sendable, BitwiseCopyable {
    /// The header is not whole. `total` is its length as far as it is known: never more than the
    /// header really has, always more than was given.
    case needsMoreBytes(total: Int)
    case header(WebSocketFrameHeader)
}

/// Section 5.5: payload bytes that a control frame may have.
public let webSocketControlPayloadBytesMax = 125

/// Parses the header at the start of `bytes`.
///
/// `payloadBytesMax` bounds data frames; control frames have the RFC's own 125. A length form that
/// only lengths past the limit may use is refused at the second byte.
#if !DEBUG
    @_noLocks
#endif
@inlinable
public func parseWebSocketFrameHeader(
    _ bytes: RawSpan, role: WebSocketRole, payloadBytesMax: Int, deflateNegotiated: Bool
) throws(WebSocketError) -> WebSocketFrameOutcome {
    let maskBytes = role == .server ? 4 : 0
    guard bytes.byteCount >= 1 else { return .needsMoreBytes(total: 2 &+ maskBytes) }
    let first = bytes.byte(at: 0)
    let opcode = try webSocketOpcode(first, deflateNegotiated: deflateNegotiated)

    guard bytes.byteCount >= 2 else { return .needsMoreBytes(total: 2 &+ maskBytes) }
    let second = bytes.byte(at: 1)
    // Section 5.1: a frame with the wrong masking closes the connection.
    switch role {
    case .server: if second & 0x80 == 0 { throw .unmaskedClientFrame }
    case .client: if second & 0x80 != 0 { throw .maskedServerFrame }
    }
    let short = Int(second & 0x7F)
    if opcode.isControl {
        if short > webSocketControlPayloadBytesMax { throw .controlFrameTooLong }
    } else if short > payloadBytesMax || (short == 127 && payloadBytesMax < 65_536) {
        // 126 announces at least 126 bytes, 127 at least 65,536.
        throw .frameTooBig
    }

    let lengthBytes = short < 126 ? 0 : short == 126 ? 2 : 8
    let headerBytes = 2 &+ lengthBytes &+ maskBytes
    var payloadBytes = short
    if lengthBytes != 0 {
        guard let long = try webSocketLongLength(bytes, lengthBytes: lengthBytes) else {
            return .needsMoreBytes(total: headerBytes)
        }
        if long > payloadBytesMax { throw .frameTooBig }
        payloadBytes = long
    }
    guard bytes.byteCount >= headerBytes else { return .needsMoreBytes(total: headerBytes) }
    return .header(
        WebSocketFrameHeader(
            fin: first & 0x80 != 0, rsv1: first & 0x40 != 0, opcode: opcode,
            mask: maskBytes == 0 ? 0 : bytes.load32(at: headerBytes &- 4),
            headerBytes: headerBytes, payloadBytes: payloadBytes))
}

/// The opcode in the first byte, with the reserved bits and the rules for control frames checked.
#if !DEBUG
    @_noLocks
#endif
@inlinable @inline(always)
func webSocketOpcode(
    _ first: UInt8, deflateNegotiated: Bool
) throws(WebSocketError) -> WebSocketOpcode {
    if first & 0x30 != 0 { throw .reservedBitsSet }
    guard let opcode = WebSocketOpcode(rawValue: first & 0x0F) else { throw .unknownOpcode }
    // RFC 7692 section 6: RSV1 stands on the first frame of a data message and nowhere else.
    if first & 0x40 != 0, !deflateNegotiated || (opcode != .text && opcode != .binary) {
        throw .reservedBitsSet
    }
    // RFC 6455 5.5: control frames must not be fragmented.
    if opcode.isControl, first & 0x80 == 0 { throw .fragmentedControlFrame }
    return opcode
}

/// The length in the 2 or 8 bytes from offset 2; nil while they have not all come.
#if !DEBUG
    @_noLocks
#endif
@inlinable @inline(always)
func webSocketLongLength(_ bytes: RawSpan, lengthBytes: Int) throws(WebSocketError) -> Int? {
    if lengthBytes == 2 {
        guard bytes.byteCount >= 4 else { return nil }
        let length = Int(bytes.load16(at: 2).byteSwapped)
        if length < 126 { throw .nonMinimalLength }
        return length
    }
    // Section 5.2: the most significant bit must be 0. It shows in the first of the eight bytes.
    if bytes.byteCount >= 3, bytes.byte(at: 2) & 0x80 != 0 { throw .lengthTopBitSet }
    guard bytes.byteCount >= 10 else { return nil }
    let length = Int(truncatingIfNeeded: bytes.load64(at: 2).byteSwapped)
    if length < 65_536 { throw .nonMinimalLength }
    return length
}

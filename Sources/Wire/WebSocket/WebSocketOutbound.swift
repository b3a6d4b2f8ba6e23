// Frames as a server writes them (RFC 6455 section 5.1: never masked), and masked ones as a client
// does, for tests and tools. Appends to the caller's writer and keeps nothing.
// Budget: one copy of the payload; no allocation once the writer has grown.

import Bytes

public enum WebSocketEncoder {
    /// The largest header: two bytes, a 64-bit length and a mask.
    public static let headerBytesMax = 14

    @inlinable public static func text(_ payload: RawSpan, into writer: ByteWriter) {
        frame(.text, payload, into: writer)
    }

    @inlinable public static func binary(_ payload: RawSpan, into writer: ByteWriter) {
        frame(.binary, payload, into: writer)
    }

    /// `payload` has at most 125 bytes.
    @inlinable public static func ping(_ payload: RawSpan, into writer: ByteWriter) {
        frame(.ping, payload, into: writer)
    }

    /// `payload` is that of the ping which is answered (section 5.5.3).
    @inlinable public static func pong(_ payload: RawSpan, into writer: ByteWriter) {
        frame(.pong, payload, into: writer)
    }

    /// `reason` is UTF-8 of at most 123 bytes, and empty without a code.
    public static func close(code: UInt16?, reason: RawSpan, into writer: ByteWriter) {
        closeHeader(code: code, reasonBytes: reason.byteCount, maskBit: 0, into: writer)
        if let code { append(bigEndian: code, into: writer) }
        writer.append(reason)
    }

    /// The Close frame that answers `error`.
    public static func close(for error: WebSocketError, into writer: ByteWriter) {
        let detail = error.detail
        closeHeader(
            code: error.closeCode, reasonBytes: detail.utf8CodeUnitCount, maskBit: 0, into: writer)
        append(bigEndian: error.closeCode, into: writer)
        writer.append(detail)
    }

    /// A message compressed into one frame (RFC 7692 section 7.2.1). The length of a frame stands
    /// before its payload, so the payload is compressed into `scratch` first, which is overwritten.
    public static func compressed(
        _ opcode: WebSocketOpcode, _ payload: RawSpan, by deflater: Deflater, keepContext: Bool,
        scratch: ByteWriter, into writer: ByteWriter
    ) {
        scratch.removeAll()
        deflater.compress(payload, into: scratch, keepContext: keepContext)
        header(opcode, rsv1: true, payloadBytes: scratch.count, into: writer)
        writer.append(scratch.bytes)
    }

    /// The header of a frame whose payload the caller writes next. Control frames are whole and
    /// have at most 125 bytes; RSV1 is for the first frame of a compressed message.
    @inlinable public static func header(
        _ opcode: WebSocketOpcode, fin: Bool = true, rsv1: Bool = false, payloadBytes: Int,
        into writer: ByteWriter
    ) {
        header(
            opcode, fin: fin, rsv1: rsv1, payloadBytes: payloadBytes, maskBit: 0, into: writer)
    }

    /// A frame as a client sends it. `mask` is little-endian, as in `WebSocketFrameHeader`.
    public static func masked(
        _ opcode: WebSocketOpcode, _ payload: RawSpan, mask: UInt32, fin: Bool = true,
        rsv1: Bool = false, into writer: ByteWriter
    ) {
        header(
            opcode, fin: fin, rsv1: rsv1, payloadBytes: payload.byteCount, maskBit: 0x80,
            into: writer)
        append(mask: mask, into: writer)
        writer.append(payload, mask: mask)
    }

    /// A Close frame as a client sends it.
    public static func maskedClose(
        code: UInt16?, reason: RawSpan, mask: UInt32, into writer: ByteWriter
    ) {
        closeHeader(code: code, reasonBytes: reason.byteCount, maskBit: 0x80, into: writer)
        append(mask: mask, into: writer)
        guard let code else { return }
        writer.append(UInt8(code >> 8) ^ UInt8(mask & 0xFF))
        writer.append(UInt8(code & 0xFF) ^ UInt8(mask >> 8 & 0xFF))
        // The reason begins two bytes into the body, so its mask is turned by two.
        writer.append(reason, mask: mask >> 16 | mask << 16)
    }

    @inlinable static func frame(
        _ opcode: WebSocketOpcode, _ payload: RawSpan, into writer: ByteWriter
    ) {
        header(opcode, payloadBytes: payload.byteCount, into: writer)
        writer.append(payload)
    }

    @inlinable static func header(
        _ opcode: WebSocketOpcode, fin: Bool, rsv1: Bool, payloadBytes: Int, maskBit: UInt8,
        into writer: ByteWriter
    ) {
        precondition(payloadBytes >= 0, "a negative payload")
        if opcode.isControl {
            precondition(fin && !rsv1, "a control frame is whole and plain")
            precondition(
                payloadBytes <= webSocketControlPayloadBytesMax, "a control frame past 125 bytes")
        }
        precondition(!rsv1 || opcode != .continuation, "RSV1 stands on a message's first frame")
        writer.reserve(headerBytesMax)
        writer.append(opcode.rawValue | (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0))
        if payloadBytes < 126 {
            writer.append(maskBit | UInt8(truncatingIfNeeded: payloadBytes))
        } else if payloadBytes <= 0xFFFF {
            writer.append(maskBit | 126)
            append(bigEndian: UInt16(truncatingIfNeeded: payloadBytes), into: writer)
        } else {
            writer.append(maskBit | 127)
            append(bigEndian: UInt64(payloadBytes), into: writer)
        }
    }

    private static func closeHeader(
        code: UInt16?, reasonBytes: Int, maskBit: UInt8, into writer: ByteWriter
    ) {
        if let code {
            precondition(
                WebSocketCloseCode.isValidOnTheWire(code), "a close code that may not be sent")
        } else {
            precondition(reasonBytes == 0, "a reason stands behind a code")
        }
        header(
            .close, fin: true, rsv1: false, payloadBytes: reasonBytes + (code == nil ? 0 : 2),
            maskBit: maskBit, into: writer)
    }

    @inlinable static func append<Value: FixedWidthInteger>(
        bigEndian value: Value, into writer: ByteWriter
    ) {
        var shift = Value.bitWidth &- 8
        while shift >= 0 {
            writer.append(UInt8(truncatingIfNeeded: value >> Value(shift)))
            shift &-= 8
        }
    }

    private static func append(mask: UInt32, into writer: ByteWriter) {
        append(bigEndian: mask.byteSwapped, into: writer)
    }
}

/// What the server appends to the client's key before it takes the SHA-1 (RFC 6455 section 1.3).
public let webSocketAcceptGUID: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/// Whether `key` is 16 bytes in base64 (RFC 6455 section 4.2.1): 22 characters and two pads. The
/// four bits that the 22nd character has too many are not looked at; decoders ignore them as well.
public func isValidWebSocketKey(_ key: RawSpan) -> Bool {
    guard key.byteCount == 24, key.byte(at: 22) == 0x3D, key.byte(at: 23) == 0x3D else {
        return false
    }
    var i = 0
    while i < 22 {
        switch key.byte(at: i) {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, 0x2B, 0x2F: i += 1
        default: return false
        }
    }
    return true
}

/// What a peer can do wrong on an established WebSocket, and the close code that answers it
/// (RFC 6455 section 7.4.1). Each case is one counter; none carries bytes of the peer.
public enum WebSocketError: Error, Equatable, Sendable, CaseIterable {
    case reservedBitsSet
    case unknownOpcode
    case unmaskedClientFrame
    case maskedServerFrame
    case controlFrameTooLong
    case fragmentedControlFrame
    case unexpectedContinuation
    case expectedContinuation
    case nonMinimalLength
    case lengthTopBitSet
    case badCloseCode
    case badCloseBody
    case invalidUTF8
    case badDeflate
    case frameTooBig
    case messageTooBig
    case inflatedTooBig
    case tooManyFragments

    /// The status code of the Close frame that ends the connection.
    public var closeCode: UInt16 {
        switch self {
        case .reservedBitsSet, .unknownOpcode, .unmaskedClientFrame, .maskedServerFrame,
            .controlFrameTooLong, .fragmentedControlFrame, .unexpectedContinuation,
            .expectedContinuation, .nonMinimalLength, .lengthTopBitSet, .badCloseCode,
            .badCloseBody:
            WebSocketCloseCode.protocolError
        // RFC 7692 7.2.2 names no code for bytes that do not inflate. They are data that is not
        // consistent with its message, which is what 1007 says.
        case .invalidUTF8, .badDeflate: WebSocketCloseCode.inconsistentData
        case .frameTooBig, .messageTooBig, .inflatedTooBig: WebSocketCloseCode.messageTooBig
        case .tooManyFragments: WebSocketCloseCode.policyViolation
        }
    }

    /// Why, in words that may be sent as the close reason. ASCII, at most 123 bytes.
    public var detail: StaticString {
        switch self {
        case .reservedBitsSet: "reserved bits set without an extension that defines them"
        case .unknownOpcode: "unknown opcode"
        case .unmaskedClientFrame: "a client must mask its frames"
        case .maskedServerFrame: "a server must not mask its frames"
        case .controlFrameTooLong: "control frame longer than 125 bytes"
        case .fragmentedControlFrame: "fragmented control frame"
        case .unexpectedContinuation: "continuation without a message to continue"
        case .expectedContinuation: "new message before the last one ended"
        case .nonMinimalLength: "payload length not in its shortest form"
        case .lengthTopBitSet: "top bit of the payload length set"
        case .badCloseCode: "close code that may not be sent"
        case .badCloseBody: "close body of one byte"
        case .invalidUTF8: "text that is not UTF-8"
        case .badDeflate: "payload that does not inflate"
        case .frameTooBig: "frame too big"
        case .messageTooBig: "message too big"
        case .inflatedTooBig: "message too big once inflated"
        case .tooManyFragments: "message in too many small fragments"
        }
    }
}

/// Status codes of Close frames (RFC 6455 section 7.4; 1012 to 1014 from IANA's registry).
public enum WebSocketCloseCode {
    public static let normal: UInt16 = 1000
    public static let goingAway: UInt16 = 1001
    public static let protocolError: UInt16 = 1002
    public static let unsupportedData: UInt16 = 1003
    public static let inconsistentData: UInt16 = 1007
    public static let policyViolation: UInt16 = 1008
    public static let messageTooBig: UInt16 = 1009
    public static let internalError: UInt16 = 1011
    public static let serviceRestart: UInt16 = 1012
    public static let tryAgainLater: UInt16 = 1013

    /// Whether `code` may stand in a frame. 1005, 1006 and 1015 are for local use only, 1004 and
    /// 1016 to 2999 are unassigned, 3000 to 4999 belong to libraries and applications.
    @inlinable public static func isValidOnTheWire(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

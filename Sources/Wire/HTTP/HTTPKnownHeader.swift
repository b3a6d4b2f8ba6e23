import Bytes

/// The header fields that this service reads. They are recognised while a head is parsed.
public enum KnownHeader: UInt8, CaseIterable, Sendable {
    case host, authorization, xAPIKey, xTenantID, xRequestID, traceparent
    case contentType, contentLength, transferEncoding, contentEncoding
    case connection, upgrade, expect, idempotencyKey, prefer, origin
    case accept, acceptEncoding, ifNoneMatch, ifMatch, lastEventID, range, userAgent
    case secWebSocketKey, secWebSocketVersion, secWebSocketProtocol, secWebSocketExtensions
    case accessControlRequestMethod, xForwardedFor

    /// The field name in lower case.
    public var name: StaticString {
        switch self {
        case .host: "host"
        case .authorization: "authorization"
        case .xAPIKey: "x-api-key"
        case .xTenantID: "x-tenant-id"
        case .xRequestID: "x-request-id"
        case .traceparent: "traceparent"
        case .contentType: "content-type"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .contentEncoding: "content-encoding"
        case .connection: "connection"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .idempotencyKey: "idempotency-key"
        case .prefer: "prefer"
        case .origin: "origin"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .ifNoneMatch: "if-none-match"
        case .ifMatch: "if-match"
        case .lastEventID: "last-event-id"
        case .range: "range"
        case .userAgent: "user-agent"
        case .secWebSocketKey: "sec-websocket-key"
        case .secWebSocketVersion: "sec-websocket-version"
        case .secWebSocketProtocol: "sec-websocket-protocol"
        case .secWebSocketExtensions: "sec-websocket-extensions"
        case .accessControlRequestMethod: "access-control-request-method"
        case .xForwardedFor: "x-forwarded-for"
        }
    }

    /// The field that a valid, non-empty field name names, without regard to case. Length and first
    /// letter leave one candidate; its name is then compared once.
    #if !DEBUG
        @_noLocks
    #endif
    static func recognise(_ name: RawSpan) -> KnownHeader? {
        let candidate: KnownHeader
        // The key is the length in the high byte and the folded first letter in the low one.
        switch name.byteCount << 8 | Int(name.byte(at: 0) | 0x20) {
        case 0x04_68: candidate = .host
        case 0x05_72: candidate = .range
        case 0x06_61: candidate = .accept
        case 0x06_65: candidate = .expect
        case 0x06_6F: candidate = .origin
        case 0x06_70: candidate = .prefer
        case 0x07_75: candidate = .upgrade
        case 0x08_69: candidate = .ifMatch
        case 0x09_78: candidate = .xAPIKey
        case 0x0A_63: candidate = .connection
        case 0x0A_75: candidate = .userAgent
        case 0x0B_74: candidate = .traceparent
        case 0x0B_78: candidate = .xTenantID
        case 0x0C_63: candidate = .contentType
        case 0x0C_78: candidate = .xRequestID
        case 0x0D_61: candidate = .authorization
        case 0x0D_69: candidate = .ifNoneMatch
        case 0x0D_6C: candidate = .lastEventID
        case 0x0E_63: candidate = .contentLength
        case 0x0F_61: candidate = .acceptEncoding
        case 0x0F_69: candidate = .idempotencyKey
        case 0x0F_78: candidate = .xForwardedFor
        case 0x10_63: candidate = .contentEncoding
        case 0x11_73: candidate = .secWebSocketKey
        case 0x11_74: candidate = .transferEncoding
        case 0x15_73: candidate = .secWebSocketVersion
        case 0x16_73: candidate = .secWebSocketProtocol
        case 0x18_73: candidate = .secWebSocketExtensions
        case 0x1D_61: candidate = .accessControlRequestMethod
        default: return nil
        }
        return name.equalsFoldedToken(candidate.name) ? candidate : nil
    }

    /// The refusal of a second line of this field; nil where lines may be repeated.
    ///
    /// Two parties that read different lines of one of these disagree about length, host, identity
    /// or format. That is how requests are smuggled, so the request is refused instead of one
    /// picked.
    @inline(always) var repetitionError: HTTPError? {
        switch self {
        case .host: .duplicateHost
        case .contentLength: .duplicateContentLength
        case .authorization, .contentType, .contentEncoding, .xAPIKey, .xTenantID, .idempotencyKey,
            .origin, .secWebSocketKey, .secWebSocketVersion:
            .duplicateField
        default: nil
        }
    }
}

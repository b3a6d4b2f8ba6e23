// Writes response heads (RFC 9112 section 4). One per core; the Date line is made once a second.

import Bytes
import ChatModel
import Wire

/// The id of a request: the client's, or 128 random bits.
public struct RequestID: Sendable {
    public let high: UInt64
    public let low: UInt64
    public let text: ByteBlock?

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
        text = nil
    }

    public init(_ text: ByteBlock) {
        self.text = text
        high = 0
        low = 0
    }

    public func write(into writer: ByteWriter) {
        if let text { return writer.append(text) }
        writer.append(hex: high)
        writer.append(hex: low)
    }

    public func block() -> ByteBlock {
        if let text { return text }
        let writer = ByteWriter(capacity: 32)
        write(into: writer)
        return writer.block()
    }

    /// Letters, digits and `-_.:/+=@`, so that it cannot break a header or a log line.
    public static func isAcceptable(_ text: RawSpan) -> Bool {
        guard text.byteCount > 0, text.byteCount <= Limits.requestIDBytesMax else { return false }
        for offset in 0..<text.byteCount {
            switch text.byte(at: offset) {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F, 0x2E, 0x3A, 0x2F, 0x2B, 0x3D,
                0x40:
                continue
            default: return false
            }
        }
        return true
    }
}

/// What a limit said, for the headers (draft-ietf-httpapi-ratelimit-headers).
public struct RateHeaders: Sendable {
    public var tenantQuota: Int
    public var tenantRemaining: Int
    public var tenantReset: Int
    public var userQuota: Int
    public var userRemaining: Int
    public var userReset: Int

    public init(
        tenantQuota: Int, tenantRemaining: Int, tenantReset: Int, userQuota: Int,
        userRemaining: Int, userReset: Int
    ) {
        self.tenantQuota = tenantQuota
        self.tenantRemaining = tenantRemaining
        self.tenantReset = tenantReset
        self.userQuota = userQuota
        self.userRemaining = userRemaining
        self.userReset = userReset
    }
}

/// How the end of a response's body is told (RFC 9112 section 6).
public enum BodyFraming: Sendable { case length, chunked, untilClose }

/// All that a response's head says beyond its status and body.
public struct ResponseHead {
    public var status: Int
    public var contentType: StaticString
    public var requestID: RequestID
    public var keepsAlive: Bool
    /// HTTP/1.0 clients need to be told that the connection stays open.
    public var saysKeepAlive = false
    public var isReplay = false
    /// `Prefer: wait` was honoured (RFC 7240 section 3).
    public var waitSeconds: Int?
    public var rate: RateHeaders?
    public var retryAfterSeconds: Int?
    public var allow: StaticString?
    public var challenge = false
    public var upgradesTo: StaticString?
    public var allowedOrigin: ByteBlock?
    public var contentSecurityPolicy: ByteBlock?
    /// The validator of what is sent, with its quotes; caches keep it and ask again each time.
    public var entityTag: ByteBlock?
    /// Pages of any origin may load this: it holds nothing of any tenant.
    public var isForAllOrigins = false
    public var isPreflight = false
    public var framing = BodyFraming.length
    /// Sent on as it comes: no cache keeps it and no proxy gathers it.
    public var isStream = false
    /// A version, shown as a strong entity tag; 0 for none.
    public var version: UInt64 = 0

    public init(status: Int, contentType: StaticString, requestID: RequestID, keepsAlive: Bool) {
        self.status = status
        self.contentType = contentType
        self.requestID = requestID
        self.keepsAlive = keepsAlive
    }
}

public enum MediaType {
    public static let json: StaticString = "application/json"
    public static let problem: StaticString = "application/problem+json"
    public static let health: StaticString = "application/health+json"
    public static let text: StaticString = "text/plain; charset=utf-8"
    public static let html: StaticString = "text/html; charset=utf-8"
    public static let events: StaticString = "text/event-stream"
    public static let yaml: StaticString = "application/yaml"
    public static let script: StaticString = "text/javascript; charset=utf-8"
    public static let metrics: StaticString = "text/plain; version=0.0.4; charset=utf-8"
    public static let openMetrics: StaticString =
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
}

public final class ResponseWriter {
    private let date = ByteWriter(capacity: 64)
    /// No second at first, so that the first head writes the line whatever the clock says.
    private var dateSecond: UInt64?

    public init() {}

    /// Writes the head; the caller writes `bodyBytes` bytes behind it, or none for HEAD.
    public func write(
        _ head: ResponseHead, bodyBytes: Int, nowMilliseconds: UInt64, into out: ByteWriter
    ) {
        out.append("HTTP/1.1 ")
        out.append(Self.reason(head.status))
        updateDate(nowMilliseconds)
        let date = date
        out.append(date.bytes)
        // RFC 9110 section 8.6: a 204 has neither; a 304 would have to tell those of its 200.
        if head.status != 204, head.status != 304 {
            out.append("Content-Type: ")
            out.append(head.contentType)
            switch head.framing {
            case .length:
                out.append("\r\nContent-Length: ")
                out.append(decimal: UInt64(bodyBytes))
                out.append("\r\n")
            case .chunked: out.append("\r\nTransfer-Encoding: chunked\r\n")
            case .untilClose: out.append("\r\n")
            }
        }
        out.append("X-Request-ID: ")
        head.requestID.write(into: out)
        out.append("\r\n")
        if !head.keepsAlive {
            out.append("Connection: close\r\n")
        } else if head.saysKeepAlive {
            out.append("Connection: keep-alive\r\n")
        }
        if let rate = head.rate { write(rate, into: out) }
        writeRare(head, into: out)
        out.append("\r\n")
    }

    private func writeRare(_ head: ResponseHead, into out: ByteWriter) {
        if head.isReplay { out.append("Idempotency-Replayed: true\r\n") }
        if let seconds = head.waitSeconds {
            out.append("Preference-Applied: wait=")
            out.append(decimal: seconds)
            out.append("\r\n")
        }
        if let seconds = head.retryAfterSeconds {
            out.append("Retry-After: ")
            out.append(decimal: seconds)
            out.append("\r\n")
        }
        if head.version != 0 {
            out.append("ETag: \"")
            out.append(decimal: head.version)
            out.append("\"\r\n")
        }
        if let allow = head.allow {
            out.append("Allow: ")
            out.append(allow)
            out.append("\r\n")
        }
        if let name = head.upgradesTo {
            out.append("Upgrade: ")
            out.append(name)
            out.append("\r\nSec-WebSocket-Version: 13\r\n")
        }
        if head.challenge { out.append("WWW-Authenticate: Bearer realm=\"chat\"\r\n") }
        if let origin = head.allowedOrigin {
            out.append("Access-Control-Allow-Origin: ")
            out.append(origin)
            out.append("\r\nVary: Origin\r\nAccess-Control-Expose-Headers: ")
            out.append(
                "X-Request-ID, Idempotency-Replayed, RateLimit, RateLimit-Policy, Retry-After, ETag\r\n"
            )
        }
        if let policy = head.contentSecurityPolicy {
            out.append("Content-Security-Policy: ")
            out.append(policy)
            out.append("\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n")
        }
        if head.isStream { out.append("Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n") }
        if let tag = head.entityTag {
            out.append("Cache-Control: no-cache\r\nETag: ")
            out.append(tag)
            out.append("\r\n")
        }
        if head.isForAllOrigins {
            out.append("Access-Control-Allow-Origin: *\r\n")
            out.append("Cross-Origin-Resource-Policy: cross-origin\r\n")
            out.append("X-Content-Type-Options: nosniff\r\n")
        }
        if head.isPreflight, head.allowedOrigin != nil { writePreflight(head, into: out) }
    }

    /// What a listed origin may send (Fetch, section 4.8). Credentials are in headers that a script
    /// sets, so cookies are never allowed.
    private func writePreflight(_ head: ResponseHead, into out: ByteWriter) {
        out.append("Access-Control-Allow-Methods: ")
        out.append(head.allow ?? "GET, HEAD, POST, OPTIONS")
        out.append("\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, X-API-Key, ")
        out.append("X-Tenant-ID, X-Request-ID, Idempotency-Key, Prefer, traceparent, If-Match, ")
        out.append("If-None-Match, Last-Event-ID\r\nAccess-Control-Max-Age: 600\r\n")
    }

    private func write(_ rate: RateHeaders, into out: ByteWriter) {
        out.append("RateLimit-Policy: \"tenant\";q=")
        out.append(decimal: rate.tenantQuota)
        out.append(";w=60, \"user\";q=")
        out.append(decimal: rate.userQuota)
        out.append(";w=60\r\nRateLimit: \"tenant\";r=")
        out.append(decimal: rate.tenantRemaining)
        out.append(";t=")
        out.append(decimal: rate.tenantReset)
        out.append(", \"user\";r=")
        out.append(decimal: rate.userRemaining)
        out.append(";t=")
        out.append(decimal: rate.userReset)
        out.append("\r\n")
    }

    private func updateDate(_ milliseconds: UInt64) {
        let second = milliseconds / 1000
        guard second != dateSecond else { return }
        dateSecond = second
        date.removeAll()
        date.append("\r\nDate: ")
        date.append(httpDate: milliseconds)
        date.append("\r\n")
    }

    /// Status code and reason phrase.
    static func reason(_ status: Int) -> StaticString {
        switch status {
        case 200: "200 OK"
        case 201: "201 Created"
        case 202: "202 Accepted"
        case 204: "204 No Content"
        case 304: "304 Not Modified"
        case 400: "400 Bad Request"
        case 401: "401 Unauthorized"
        case 403: "403 Forbidden"
        case 404: "404 Not Found"
        case 405: "405 Method Not Allowed"
        case 408: "408 Request Timeout"
        case 409: "409 Conflict"
        case 412: "412 Precondition Failed"
        case 413: "413 Content Too Large"
        case 414: "414 URI Too Long"
        case 415: "415 Unsupported Media Type"
        case 417: "417 Expectation Failed"
        case 422: "422 Unprocessable Content"
        case 426: "426 Upgrade Required"
        case 429: "429 Too Many Requests"
        case 431: "431 Request Header Fields Too Large"
        case 501: "501 Not Implemented"
        case 503: "503 Service Unavailable"
        case 504: "504 Gateway Timeout"
        case 505: "505 HTTP Version Not Supported"
        default: "500 Internal Server Error"
        }
    }
}

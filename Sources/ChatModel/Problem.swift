import Bytes

/// The error codes of the public interface (contract section 3), with the status of each.
public enum ProblemCode: String, Sendable, CaseIterable {
    case malformedJSON = "malformed_json"
    case validationFailed = "validation_failed"
    case idempotencyMismatch = "idempotency_mismatch"
    case unauthenticated
    case forbidden
    case tenantMismatch = "tenant_mismatch"
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
    case conflict
    case preconditionFailed = "precondition_failed"
    case payloadTooLarge = "payload_too_large"
    case unsupportedMediaType = "unsupported_media_type"
    case rateLimited = "rate_limited"
    case badRequest = "bad_request"
    case internalError = "internal"
    case temporarilyUnavailable = "temporarily_unavailable"
    case timeout

    public var status: Int {
        switch self {
        case .malformedJSON, .badRequest: 400
        case .unauthenticated: 401
        case .forbidden, .tenantMismatch: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .conflict: 409
        case .preconditionFailed: 412
        case .payloadTooLarge: 413
        case .unsupportedMediaType: 415
        case .validationFailed, .idempotencyMismatch: 422
        case .rateLimited: 429
        case .internalError: 500
        case .temporarilyUnavailable: 503
        case .timeout: 504
        }
    }

    public var title: StaticString {
        switch self {
        case .malformedJSON: "The body is not valid JSON"
        case .validationFailed: "The request is not valid"
        case .idempotencyMismatch: "The idempotency key was used for another request"
        case .unauthenticated: "A valid credential is needed"
        case .forbidden: "Not allowed"
        case .tenantMismatch: "The tenant does not match the credential"
        case .notFound: "Not found"
        case .methodNotAllowed: "Method not allowed"
        case .conflict: "Conflict"
        case .preconditionFailed: "The thing has changed meanwhile"
        case .payloadTooLarge: "Too large"
        case .unsupportedMediaType: "Unsupported media type"
        case .rateLimited: "Too many requests"
        case .badRequest: "Bad request"
        case .internalError: "Internal error"
        case .temporarilyUnavailable: "Temporarily unavailable"
        case .timeout: "Timed out"
        }
    }

    /// Whether the same request may succeed later.
    public var isRetryable: Bool {
        switch self {
        case .conflict, .rateLimited, .temporarilyUnavailable, .timeout, .internalError: true
        default: false
        }
    }
}

/// One fault of a request: where (a JSON pointer, RFC 6901; `/name` for a query parameter) and
/// what.
public struct FieldFault: Sendable, Equatable {
    public let pointer: String
    public let code: String
    public let detail: String

    public init(_ pointer: String, _ code: String, _ detail: String) {
        self.pointer = pointer
        self.code = code
        self.detail = detail
    }
}

/// An error as clients see it: `application/problem+json` (RFC 9457). Off the hot path, hence
/// Strings.
public struct Problem: Error, Sendable {
    public var code: ProblemCode
    public var detail: String
    public var faults: [FieldFault]
    /// Seconds for the Retry-After header; nil for none.
    public var retryAfterSeconds: Int?
    /// Status when it differs from the code's (HTTP syntax errors: 408, 414, 431, 501, 505 …).
    public var statusOverride: Int?

    public init(
        _ code: ProblemCode, _ detail: String, faults: [FieldFault] = [],
        retryAfterSeconds: Int? = nil,
        statusOverride: Int? = nil
    ) {
        self.code = code
        self.detail = detail
        self.faults = faults
        self.retryAfterSeconds = retryAfterSeconds
        self.statusOverride = statusOverride
    }

    public static func invalid(_ pointer: String, _ code: String, _ detail: String) -> Problem {
        Problem(.validationFailed, detail, faults: [FieldFault(pointer, code, detail)])
    }

    public var status: Int { statusOverride ?? code.status }

    /// `instance` is the request's path; empty leaves it out.
    public func write(into writer: ByteWriter, requestID: ByteBlock) {
        write(into: writer, instance: RawSpan(), requestID: requestID.bytes)
    }

    public func write(into writer: ByteWriter, instance: RawSpan, requestID: RawSpan) {
        writer.append("{\"type\":\"about:blank#")
        writer.append(string: code.rawValue)
        writer.append("\",\"title\":\"")
        writer.append(code.title)
        writer.append("\",\"status\":")
        writer.append(decimal: status)
        writer.append(",\"detail\":")
        writer.append(json: detail)
        // A request that could not be read has no path of its own.
        writer.append(",\"instance\":")
        if instance.byteCount > 0 { writer.append(json: instance) } else { writer.append("\"/\"") }
        writer.append(",\"code\":\"")
        writer.append(string: code.rawValue)
        writer.append("\",\"request_id\":")
        writer.append(json: requestID)
        writer.append(code.isRetryable ? ",\"retryable\":true" : ",\"retryable\":false")
        if !faults.isEmpty {
            writer.append(",\"errors\":[")
            for (index, fault) in faults.enumerated() {
                if index > 0 { writer.append(0x2C) }
                writer.append("{\"pointer\":")
                writer.append(json: fault.pointer)
                writer.append(",\"code\":")
                writer.append(json: fault.code)
                writer.append(",\"detail\":")
                writer.append(json: fault.detail)
                writer.append(0x7D)
            }
            writer.append(0x5D)
        }
        writer.append(0x7D)
    }
}

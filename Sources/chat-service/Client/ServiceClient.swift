// Owner: the command's one thread. Requests to a running service over libcurl, one at a time: whole
// exchanges that are repeated while that makes sense, and streams that are read as they come.

import Bytes
import CCurl
import CLinux
import Wire

/// Why a request came to nothing.
struct ClientFailure: Error {
    /// Of sysexits.h: 64 the request is at fault, 69 the service cannot take it, 70 it makes no sense.
    let exitCode: Int32
    var message: String
    /// The same request may fare better later.
    var isTransient = false
    /// What the service asked to wait.
    var retryAfterSeconds: UInt64 = 0
    /// SIGINT or SIGTERM came.
    var isInterrupt = false

    static let interrupted = ClientFailure(exitCode: 0, message: "interrupted", isInterrupt: true)
}

struct ServiceRequest {
    let path: String
    var fields: [String] = []
    /// nil: a GET.
    var body: [UInt8]?
}

struct ServiceResponse {
    let status: Int
    let body: ByteBlock
    let isReplay: Bool
}

/// Waits between attempts: doubling, and spread so that clients do not come back together.
struct Backoff {
    static let firstMilliseconds: UInt64 = 250
    static let lastMilliseconds: UInt64 = 10_000
    private var attempts: UInt64 = 0

    mutating func next() -> UInt64 {
        let bound = min(Self.lastMilliseconds, Self.firstMilliseconds << min(attempts, 10))
        attempts += 1
        return bound / 2 + UInt64.random(in: 0...bound / 2)
    }

    mutating func reset() { attempts = 0 }
}

@safe final class ServiceClient {
    // Safety: made in init, freed in deinit, used by one thread; the bytes that it lends are copied
    // before the next call.
    private let curl: OpaquePointer
    private let url: String
    private let authorities: String?
    private let waitSeconds: UInt64
    /// "Authorization: …" or "X-API-Key: …"; never shown.
    var credentialField: String?
    let parser = JSONParser(documentBytesMax: Int(CCURL_BYTES_MAX), depthMax: 64)

    private static let connectMilliseconds = 5000
    /// The service answers within REQUEST_TIMEOUT_MS, 30 seconds unless it is set otherwise.
    private static let silenceMilliseconds: UInt64 = 60_000
    private static let stepMilliseconds: Int32 = 200

    init?(url: String, authorities: String?, waitSeconds: UInt64) {
        guard let made = unsafe ccurl_new() else { return nil }
        unsafe curl = unsafe made
        self.url = url
        self.authorities = authorities
        self.waitSeconds = waitSeconds
        // A peer that goes away while TLS writes must not end the process.
        cl_ignore_broken_pipes()
    }

    deinit { unsafe ccurl_free(curl) }

    // MARK: Exchanges

    /// Repeats while the service cannot be reached, is busy or asks to wait, for --wait at the
    /// most: the request must be one that does the same when it comes twice.
    func exchange(_ request: ServiceRequest) throws(ClientFailure) -> ServiceResponse {
        let deadline = now + waitSeconds * 1000
        var backoff = Backoff()
        while true {
            var failure: ClientFailure
            do {
                let response = try once(request)
                if 200..<300 ~= response.status { return response }
                failure = self.failure(of: response, request)
            } catch {
                failure = error
            }
            guard failure.isTransient else { throw failure }
            let pause = max(backoff.next(), failure.retryAfterSeconds * 1000)
            guard now + pause <= deadline else {
                if failure.retryAfterSeconds > 0 {
                    failure.message += " It asks to wait \(failure.retryAfterSeconds) s."
                }
                failure.message += " Gave up after \(waitSeconds) s (--wait)."
                throw failure
            }
            try sleep(milliseconds: pause)
        }
    }

    private func once(_ request: ServiceRequest) throws(ClientFailure) -> ServiceResponse {
        try begin(request)
        var heard = now
        var had = 0
        while try !step() {
            let have = byteCount
            if have != had { heard = now }
            had = have
            guard now < heard + Self.silenceMilliseconds else {
                throw ClientFailure(
                    exitCode: 69, message: "\(url) has said nothing for 60 s.", isTransient: true)
            }
        }
        return response()
    }

    /// What has come, once it is whole.
    func response() -> ServiceResponse {
        ServiceResponse(
            status: status, body: takeBytes(), isReplay: field("Idempotency-Replayed") == "true")
    }

    // MARK: One request

    func begin(_ request: ServiceRequest) throws(ClientFailure) {
        unsafe ccurl_reset(curl)
        if let authorities { unsafe ccurl_set_authorities(curl, authorities) }
        if isLocal { unsafe ccurl_set_direct(curl) }
        var fields = request.fields
        if let credentialField { fields.append(credentialField) }
        if request.body != nil { fields.append("Content-Type: application/json") }
        for field in fields where unsafe ccurl_add_header(curl, field) != 0 {
            throw ClientFailure(exitCode: 70, message: "There is no memory for a request.")
        }
        let code: Int32
        if let body = request.body {
            // Safety: the bytes are copied before the call returns.
            code = unsafe body.withUnsafeBytes {
                unsafe ccurl_begin(
                    curl, url + request.path, $0.baseAddress, $0.count, Self.connectMilliseconds)
            }
        } else {
            code = unsafe ccurl_begin(curl, url + request.path, nil, 0, Self.connectMilliseconds)
        }
        if code != 0 { throw failure(of: code) }
    }

    /// Moves what can be moved, for a fifth of a second at the most; true at the orderly end.
    func step() throws(ClientFailure) -> Bool {
        let code = unsafe ccurl_drive(curl, Self.stepMilliseconds)
        if cl_was_interrupted() != 0 { throw .interrupted }
        if code == CCURL_GOING { return false }
        if code != 0 { throw failure(of: code) }
        return true
    }

    /// 0 until the head is there.
    var status: Int { unsafe ccurl_status(curl) }

    private var byteCount: Int {
        var count = 0
        _ = unsafe ccurl_bytes(curl, &count)
        return count
    }

    /// What of the body has come since the last call.
    func takeBytes() -> ByteBlock {
        var count = 0
        guard let start = unsafe ccurl_bytes(curl, &count) else { return ByteBlock("") }
        // Safety: count bytes, valid until the next call, and copied here.
        let block = unsafe ByteBlock(
            copying: RawSpan(_unsafeStart: UnsafeRawPointer(start), byteCount: count))
        unsafe ccurl_drop_bytes(curl)
        return block
    }

    private func field(_ name: String) -> String? {
        // Safety: the C string is copied before the next call.
        unsafe ccurl_field(curl, name).map { unsafe String(cString: $0) }
    }

    /// Ends early at a signal.
    func sleep(milliseconds: UInt64) throws(ClientFailure) {
        let end = now + milliseconds
        while now < end {
            if cl_was_interrupted() != 0 { throw .interrupted }
            cl_sleep(min(end - now, 100))
        }
    }

    var now: UInt64 { cl_monotonic_nanoseconds() / 1_000_000 }

    private var isLocal: Bool {
        let host = url.lowercased().split(separator: "/").dropFirst().first ?? ""
        return host.hasPrefix("127.") || host.hasPrefix("[::1]") || host == "localhost"
            || host.hasPrefix("localhost:")
    }

    // MARK: Failures

    private func failure(of code: Int32) -> ClientFailure {
        let reason = unsafe String(cString: ccurl_reason(curl, code))
        switch Int(code) {
        case Int(CCURL_BAD_URL):
            return ClientFailure(exitCode: 64, message: "--url: \(url) is no address: \(reason).")
        case Int(CCURL_NOT_TRUSTED):
            return ClientFailure(
                exitCode: 69,
                message:
                    "The certificate of \(url) is not trusted: \(reason). --cacert names its authority."
            )
        case Int(CCURL_BAD_AUTHORITIES):
            return ClientFailure(
                exitCode: 64,
                message: "--cacert: \(authorities ?? "") cannot be used: \(reason).")
        case Int(CCURL_BODY_TOO_LARGE):
            return ClientFailure(
                exitCode: 70, message: "\(url) sent more than \(CCURL_BYTES_MAX) bytes at once.")
        default:
            return ClientFailure(
                exitCode: 69,
                message:
                    "\(url) cannot be reached: \(shown(reason)). Does the service run, and is --url right?",
                isTransient: true)
        }
    }

    /// An answer that is no success, in its own words where it has some.
    func failure(of response: ServiceResponse, _ request: ServiceRequest) -> ClientFailure {
        let (code, detail) = problem(response.body)
        let path = request.path.split(separator: "?")[0]
        var text = "\(url)\(path) answered \(response.status)"
        if let code { text += " \(shown(code))" }
        text += detail.map { ": \(shown($0))" } ?? "."
        var failure = ClientFailure(exitCode: 64, message: text)
        switch response.status {
        case 401:
            failure.message += " Check the credential (--token, --api-key, or the environment)."
        case 409 where code == "conflict" && request.body != nil, 429, 502, 503, 504:
            failure = ClientFailure(
                exitCode: 69, message: text, isTransient: true,
                retryAfterSeconds: UInt64(max(0, unsafe ccurl_retry_after(curl))))
        case 300..<400:
            let place = field("Location").map { " to \(shown($0))" } ?? ""
            failure.message += " It points elsewhere\(place); --url takes the address itself."
        case 500...: failure = ClientFailure(exitCode: 70, message: text)
        default: break
        }
        return failure
    }

    /// `code` and `detail` of application/problem+json (RFC 9457).
    private func problem(_ body: ByteBlock) -> (code: String?, detail: String?) {
        guard parser.parse(body.bytes), parser.kind(JSONParser.root) == .object else {
            return (nil, nil)
        }
        return (parser.text(JSONParser.root, "code"), parser.text(JSONParser.root, "detail"))
    }
}

extension JSONParser {
    /// The string in a field; nil when there is none.
    func text(_ object: JSONNode, _ name: StaticString) -> String? {
        guard let node = field(object, name), kind(node) == .string else { return nil }
        return string(node).string()
    }

    func object(_ object: JSONNode, _ name: StaticString) -> JSONNode? {
        guard let node = field(object, name), kind(node) == .object else { return nil }
        return node
    }
}

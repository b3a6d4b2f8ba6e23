import Bytes

/// A request method that this service knows (RFC 9110 section 9, PATCH from RFC 5789).
public enum HTTPMethod: UInt8, CaseIterable, Sendable {
    case get, head, post, put, patch, delete, options, connect, trace

    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .patch: "PATCH"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        }
    }

    /// The method that a token names; methods are case-sensitive (RFC 9110 section 9.1).
    static func recognise(_ token: RawSpan) -> HTTPMethod? {
        switch token.byteCount {
        case 3: token.equals("GET") ? .get : token.equals("PUT") ? .put : nil
        case 4: token.equals("POST") ? .post : token.equals("HEAD") ? .head : nil
        case 5: token.equals("PATCH") ? .patch : token.equals("TRACE") ? .trace : nil
        case 6: token.equals("DELETE") ? .delete : nil
        case 7: token.equals("OPTIONS") ? .options : token.equals("CONNECT") ? .connect : nil
        default: nil
        }
    }
}

/// How the end of the request's body is found (RFC 9112 section 6.3).
public enum HTTPFraming: Equatable, Sendable {
    /// There is no body.
    case none
    /// That many bytes follow the head; at most `Int.max`.
    case length(UInt64)
    /// An `HTTPChunkDecoder` finds the end.
    case chunked
}

/// One header line as offsets from the head's first byte; the value has no whitespace around it.
public struct HTTPField: Equatable, Sendable, BitwiseCopyable {
    public var name: ByteRange
    public var value: ByteRange

    @inlinable public init(name: ByteRange, value: ByteRange) {
        self.name = name
        self.value = value
    }
}

/// Owner: the caller of the parser, one for each connection or one for each loop.
///
/// What a parse found, as offsets from the head's first byte; it holds no bytes. It is scratch: the
/// parser clears it at the start of a head, and its contents are whole once the outcome is
/// `complete`. A caller that stores a partial head keeps this beside its parser (about 1.3 KiB).
///
///     GET /v1/items?limit=5 HTTP/1.1 CRLF     method, target = path [ "?" query ], minorVersion
///     Host: chat.example            CRLF     fields[0], known[.host]
///     CRLF                                   framing, keepAlive, upgradeToWebSocket
///
/// Budget: no allocation; clearing it writes a dozen words, never the tables.
public struct HTTPRequestHead: ~Copyable {
    /// Size of the header table.
    public static var fieldsMax: Int { 64 }

    public internal(set) var method: HTTPMethod = .get
    /// 1 for HTTP/1.1 and for later minor versions, which are read as 1.1 (RFC 9110 section 6.2).
    public internal(set) var minorVersion: UInt8 = 1
    public internal(set) var keepAlive = false
    /// The client waits for a 100 before it sends the body (RFC 9110 section 10.1.1).
    public internal(set) var expectContinue = false
    /// A GET without a body that asks for WebSocket (RFC 6455 section 4.2.1, items 1 to 4). The
    /// Sec-WebSocket fields are the handshake's to check.
    public internal(set) var upgradeToWebSocket = false
    var connectionTokens: ConnectionTokens = []

    /// The whole request target as it was sent.
    public internal(set) var target: ByteRange = .empty
    /// The path, still percent-encoded; it starts with "/" or is the "*" of OPTIONS.
    public internal(set) var path: ByteRange = .empty
    /// What follows "?", still percent-encoded; empty when there is none.
    public internal(set) var query: ByteRange = .empty
    /// The authority of a target in absolute-form.
    var targetAuthority: ByteRange?
    public internal(set) var framing: HTTPFraming = .none

    @usableFromInline var fieldCountStored: UInt32 = 0
    /// Bit n is set when known header n is present; only then does `known[n]` mean anything.
    @usableFromInline var knownPresent: UInt32 = 0
    @usableFromInline var known = InlineArray<29, ByteRange>(repeating: .empty)
    @usableFromInline var fields = InlineArray<64, HTTPField>(
        repeating: HTTPField(name: .empty, value: .empty))

    public init() {
        precondition(known.count == KnownHeader.allCases.count, "each known header has a slot")
        precondition(fields.count == Self.fieldsMax, "the header table has its documented size")
    }

    /// Forgets everything. The tables keep stale ranges that nothing can reach.
    public mutating func reset() {
        method = .get
        minorVersion = 1
        keepAlive = false
        expectContinue = false
        upgradeToWebSocket = false
        connectionTokens = []
        target = .empty
        path = .empty
        query = .empty
        targetAuthority = nil
        framing = .none
        fieldCountStored = 0
        knownPresent = 0
    }

    @inlinable public var fieldCount: Int { Int(fieldCountStored) }

    /// Header line `index` in the order of arrival.
    @inlinable public func field(at index: Int) -> HTTPField {
        precondition(index >= 0 && index < fieldCount, "header line past the end of the head")
        return fields[index]
    }

    /// The value of a known header, nil when absent. Of repeated lines this is the first.
    @inlinable public func value(_ header: KnownHeader) -> ByteRange? {
        knownPresent & (1 << UInt32(header.rawValue)) == 0 ? nil : known[Int(header.rawValue)]
    }

    /// The value of the first header line of that name, given in lower case; a walk over the table.
    /// `head` starts at the head's first byte.
    public func value(named lowercase: StaticString, in head: RawSpan) -> ByteRange? {
        var i = 0
        while i < fieldCount {
            if head.part(fields[i].name).equalsFoldedToken(lowercase) { return fields[i].value }
            i &+= 1
        }
        return nil
    }

    /// Whom the request is addressed to: the target's authority before the Host field
    /// (RFC 9112 section 3.2.2); nil in an HTTP/1.0 request without either.
    public var authority: ByteRange? { targetAuthority ?? value(.host) }

    /// Appends a line to the table. The parser has checked its limit.
    mutating func append(_ field: HTTPField) {
        precondition(fieldCount < Self.fieldsMax, "more lines than the table holds")
        fields[fieldCount] = field
        fieldCountStored &+= 1
    }

    /// Notes a known header's value; false when an earlier line has taken the slot.
    mutating func setIfAbsent(_ header: KnownHeader, _ value: ByteRange) -> Bool {
        let bit: UInt32 = 1 << UInt32(header.rawValue)
        guard knownPresent & bit == 0 else { return false }
        knownPresent |= bit
        known[Int(header.rawValue)] = value
        return true
    }
}

/// What all Connection and Upgrade lines of a head said together.
struct ConnectionTokens: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    static let close = ConnectionTokens(rawValue: 1)
    static let keepAlive = ConnectionTokens(rawValue: 2)
    static let upgrade = ConnectionTokens(rawValue: 4)
    static let webSocket = ConnectionTokens(rawValue: 8)
}

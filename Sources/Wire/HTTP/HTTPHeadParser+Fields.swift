import Bytes

// Header lines (RFC 9112 section 5) and what the known ones mean for this message.

extension HTTPHeadParser {
    /// field-line = field-name ":" OWS field-value OWS
    static func parseField(
        _ bytes: RawSpan, from start: Int, to end: Int, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        let nameEnd = HTTPByteClass.token.endOfRun(bytes, from: start, to: end)
        guard nameEnd > start, nameEnd < end, bytes.byte(at: nameEnd) == HTTPByte.colon else {
            throw nameError(bytes, from: start, stoppedAt: nameEnd, to: end)
        }
        let rest = ByteRange(nameEnd &+ 1, end)
        let control = bytes.firstControlOffset(in: rest)
        guard control == end else {
            throw refusal(of: bytes.byte(at: control), otherwise: .badHeaderValue)
        }
        let field = HTTPField(name: ByteRange(start, nameEnd), value: trim(bytes, rest))
        head.append(field)
        if let known = KnownHeader.recognise(bytes.part(field.name)) {
            try note(known, field.value, bytes, into: &head)
        }
    }

    #if !DEBUG
        @_noLocks
    #endif
    private static func nameError(
        _ bytes: RawSpan, from start: Int, stoppedAt stop: Int, to end: Int
    ) -> HTTPError {
        guard stop < end else { return .badHeaderName }
        let byte = bytes.byte(at: stop)
        guard HTTPByte.isWhitespace(byte) else {
            return refusal(of: byte, otherwise: .badHeaderName)
        }
        // RFC 9112 5.2 and 2.2: a line that starts with whitespace continues the one before, or
        // hides behind the request line.
        if stop == start { return .obsoleteFolding }
        var i = stop
        while i < end, HTTPByte.isWhitespace(bytes.byte(at: i)) { i &+= 1 }
        // RFC 9112 5.1: whitespace before the colon has been a way to smuggle; refuse.
        if i < end, bytes.byte(at: i) == HTTPByte.colon { return .whitespaceBeforeColon }
        return .badHeaderName
    }

    #if !DEBUG
        @_noLocks
    #endif
    private static func trim(_ bytes: RawSpan, _ range: ByteRange) -> ByteRange {
        var start = Int(range.start)
        var end = Int(range.end)
        while start < end, HTTPByte.isWhitespace(bytes.byte(at: start)) { start &+= 1 }
        while end > start, HTTPByte.isWhitespace(bytes.byte(at: end &- 1)) { end &-= 1 }
        return ByteRange(start, end)
    }

    private static func note(
        _ known: KnownHeader, _ value: ByteRange, _ bytes: RawSpan, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        let isFirst = head.setIfAbsent(known, value)
        if !isFirst, let error = known.repetitionError { throw error }
        switch known {
        case .host:
            guard HTTPAuthority.isValid(bytes.part(value), port: .optional) else { throw .badHost }
        case .contentLength:
            try noteContentLength(bytes.part(value), into: &head)
        case .transferEncoding:
            guard isFirst else { throw .badTransferEncoding }
            try noteTransferEncoding(bytes, value, into: &head)
        case .connection:
            try noteConnection(bytes, value, into: &head)
        case .upgrade:
            try noteUpgrade(bytes, value, into: &head)
        case .expect:
            // RFC 9110 10.1.1: any other expectation may be answered with 417.
            guard bytes.part(value).equalsIgnoringCase("100-continue") else {
                throw .expectationFailed
            }
            head.expectContinue = true
        default:
            break
        }
    }

    /// Content-Length = 1*DIGIT (RFC 9110 section 8.6). A list of equal lengths is refused too.
    private static func noteContentLength(
        _ value: RawSpan, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        // RFC 9112 6.3: length and chunked together is an attack; refuse.
        guard head.value(.transferEncoding) == nil else { throw .conflictingLength }
        guard let length = value.decimal(), length <= UInt64(Int.max) else {
            throw .badContentLength
        }
        head.framing = .length(length)
    }

    /// Exactly "chunked" (RFC 9112 sections 6.1 and 7).
    private static func noteTransferEncoding(
        _ bytes: RawSpan, _ value: ByteRange, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        // RFC 9112 6.1: in a 1.0 message it comes from a party that did not know what it forwarded.
        guard head.minorVersion > 0 else { throw .transferEncodingInHTTP10 }
        guard head.value(.contentLength) == nil else { throw .conflictingLength }
        guard bytes.part(value).equalsIgnoringCase("chunked") else {
            // A list that starts with another well-formed coding asks for what is not implemented;
            // everything else is malformed, or chunked more than once, or chunked but not last.
            var list = HTTPListScanner(value)
            do throws(HTTPError) {
                guard let first = try list.next(bytes) else { throw .badTransferEncoding }
                if bytes.part(first.name).equalsIgnoringCase("chunked") {
                    throw .badTransferEncoding
                }
                while try list.next(bytes) != nil {}
            } catch {
                throw .badTransferEncoding
            }
            throw .unsupportedTransferCoding
        }
        head.framing = .chunked
    }

    /// Connection = [ connection-option *( OWS "," OWS connection-option ) ] (RFC 9110 section
    /// 7.6.1)
    private static func noteConnection(
        _ bytes: RawSpan, _ value: ByteRange, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        var list = HTTPListScanner(value)
        while let item = try list.next(bytes) {
            let option = bytes.part(item.name)
            if option.equalsFoldedToken("close") {
                head.connectionTokens.insert(.close)
            } else if option.equalsFoldedToken("keep-alive") {
                head.connectionTokens.insert(.keepAlive)
            } else if option.equalsFoldedToken("upgrade") {
                head.connectionTokens.insert(.upgrade)
            }
        }
    }

    /// Upgrade = [ protocol *( OWS "," OWS protocol ) ], protocol = name [ "/" version ]
    /// (RFC 9110 section 7.8)
    private static func noteUpgrade(
        _ bytes: RawSpan, _ value: ByteRange, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        var list = HTTPListScanner(value)
        while let item = try list.next(bytes) {
            if bytes.part(item.name).equalsFoldedToken("websocket") {
                head.connectionTokens.insert(.webSocket)
            }
        }
    }
}

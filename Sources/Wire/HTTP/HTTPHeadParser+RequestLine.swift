import Bytes

// The request line: method SP request-target SP HTTP-version (RFC 9112 section 3).
// Exactly one SP between the parts; the lenient parsing that section 3 allows is not done.

extension HTTPHeadParser {
    /// A target's end and the offset of its first "?", which is `end` when there is none.
    private struct TargetExtent {
        var end: Int
        var questionMark: Int
    }

    static func parseRequestLine(
        _ bytes: RawSpan, from start: Int, to end: Int, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        var targetStart = start
        let method = try parseMethod(bytes, from: start, to: end, next: &targetStart)
        let extent = try scanTarget(bytes, from: targetStart, to: end)
        guard extent.end > targetStart, extent.end < end else { throw .badRequestLine }
        head.minorVersion = try parseVersion(bytes, from: extent.end &+ 1, to: end)
        // After the version, so that the preface of HTTP/2 (PRI * HTTP/2.0) is told its version.
        guard let method else { throw .notImplemented }
        head.method = method
        try splitTarget(bytes, from: targetStart, extent, into: &head)
    }

    /// The method, nil when it is a well-formed unknown one. `next` is set behind its SP.
    private static func parseMethod(
        _ bytes: RawSpan, from start: Int, to end: Int, next: inout Int
    ) throws(HTTPError) -> HTTPMethod? {
        if end &- start > 5 {
            let word = bytes.load32(at: start)
            if word == 0x2054_4547 {  // "GET " as it stands in memory
                next = start &+ 4
                return .get
            }
            if word == 0x5453_4F50, bytes.byte(at: start &+ 4) == HTTPByte.space {  // "POST"
                next = start &+ 5
                return .post
            }
        }
        let tokenEnd = HTTPByteClass.token.endOfRun(bytes, from: start, to: end)
        guard tokenEnd < end else { throw .badRequestLine }
        guard tokenEnd > start, bytes.byte(at: tokenEnd) == HTTPByte.space else {
            throw refusal(of: bytes.byte(at: tokenEnd), otherwise: .badMethod)
        }
        next = tokenEnd &+ 1
        return HTTPMethod.recognise(bytes.extracting(start..<tokenEnd))
    }

    /// Visible ASCII without "#" (a fragment is never sent, RFC 9112 section 3.2), each "%" with
    /// its two digits; ends at SP or the line's end.
    #if !DEBUG
        @_noLocks
    #endif
    private static func scanTarget(
        _ bytes: RawSpan, from start: Int, to end: Int
    ) throws(HTTPError) -> TargetExtent {
        var i = start
        var questionMark = -1
        while true {
            i = HTTPByteClass.plainTarget.endOfRun(bytes, from: i, to: end)
            if i == end { break }
            let byte = bytes.byte(at: i)
            if byte == HTTPByte.space { break }
            if byte == HTTPByte.questionMark {
                if questionMark < 0 { questionMark = i }
                i &+= 1
            } else if byte == HTTPByte.percent {
                guard HTTPByte.isPercentEncoding(bytes, at: i, before: end) else {
                    throw .badTarget
                }
                i &+= 3
            } else {
                throw refusal(of: byte, otherwise: .badTarget)
            }
        }
        return TargetExtent(end: i, questionMark: questionMark < 0 ? i : questionMark)
    }

    /// HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive (RFC 9112 section 2.3).
    #if !DEBUG
        @_noLocks
    #endif
    private static func parseVersion(
        _ bytes: RawSpan, from start: Int, to end: Int
    ) throws(HTTPError) -> UInt8 {
        guard end &- start == 8 else { throw .badVersion }
        let word = bytes.load64(at: start)
        if word == 0x312E_312F_5054_5448 { return 1 }  // "HTTP/1.1" as it stands in memory
        let major = UInt8(truncatingIfNeeded: word >> 40) &- 0x30
        let minor = UInt8(truncatingIfNeeded: word >> 56) &- 0x30
        guard word & 0x00FF_00FF_FFFF_FFFF == 0x002E_002F_5054_5448, major < 10, minor < 10 else {
            throw .badVersion
        }
        guard major == 1 else { throw .unsupportedVersion }
        return min(minor, 1)
    }

    /// Splits a target by its form (RFC 9112 section 3.2).
    private static func splitTarget(
        _ bytes: RawSpan, from start: Int, _ extent: TargetExtent, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        head.target = ByteRange(start, extent.end)
        if extent.questionMark < extent.end {
            head.query = ByteRange(extent.questionMark &+ 1, extent.end)
        }
        if head.method == .connect {
            // 3.2.3: only authority-form. This is no proxy, and a tunnel has no framing; refuse.
            let authority = bytes.extracting(start..<extent.end)
            guard HTTPAuthority.isValid(authority, port: .required) else { throw .badTarget }
            throw .notImplemented
        }
        let first = bytes.byte(at: start)
        if first == 0x2F {
            head.path = ByteRange(start, extent.questionMark)
        } else if first == 0x2A {
            // 3.2.4: the asterisk stands alone, and for OPTIONS only.
            guard head.method == .options, extent.end == start &+ 1 else { throw .badTarget }
            head.path = head.target
        } else {
            try splitAbsolute(bytes, from: start, extent, into: &head)
        }
    }

    /// absolute-form, http and https only (RFC 9112 section 3.2.2, RFC 9110 section 4.2).
    private static func splitAbsolute(
        _ bytes: RawSpan, from start: Int, _ extent: TargetExtent, into head: inout HTTPRequestHead
    ) throws(HTTPError) {
        let target = bytes.extracting(start..<extent.end)
        let schemeBytes: Int
        if target.byteCount > 7, target.extracting(0..<7).equalsIgnoringCase("http://") {
            schemeBytes = 7
        } else if target.byteCount > 8, target.extracting(0..<8).equalsIgnoringCase("https://") {
            schemeBytes = 8
        } else {
            throw .badTarget
        }
        let authorityStart = start &+ schemeBytes
        var authorityEnd = authorityStart
        while authorityEnd < extent.questionMark, bytes.byte(at: authorityEnd) != 0x2F {
            authorityEnd &+= 1
        }
        let authority = bytes.extracting(authorityStart..<authorityEnd)
        guard HTTPAuthority.isValid(authority, port: .optional) else { throw .badTarget }
        head.targetAuthority = ByteRange(authorityStart, authorityEnd)
        // An empty path means "/" (RFC 9110 4.2.3). A range must name bytes that were sent: the
        // last slash of "://" is one.
        head.path =
            authorityEnd < extent.questionMark
            ? ByteRange(authorityEnd, extent.questionMark)
            : ByteRange(authorityStart &- 1, authorityStart)
    }
}

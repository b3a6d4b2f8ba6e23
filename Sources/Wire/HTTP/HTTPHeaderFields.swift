import Bytes

/// One element of a comma-separated field value: `name [ = value ] *( ; parameter )`.
public struct HTTPListItem: Equatable, Sendable, BitwiseCopyable {
    /// A token, or two joined by "/" (media ranges, protocol versions).
    public var name: ByteRange
    /// The token or the inside of the quoted string behind "="; empty when there is none. A quoted
    /// string's backslashes are still there.
    public var value: ByteRange
    /// From the first ";" to the element's end, for `HTTPParameterScanner`; empty when there is
    /// none.
    public var parameters: ByteRange
}

/// One `name [ = value ]` behind a ";".
public struct HTTPParameter: Equatable, Sendable, BitwiseCopyable {
    public var name: ByteRange
    /// As in `HTTPListItem`.
    public var value: ByteRange
}

/// Walks a comma-separated field value (RFC 9110 section 5.6.1), such as those of Connection,
/// Prefer (RFC 7240 section 2), Accept and Sec-WebSocket-Extensions (RFC 6455 section 9.1). It
/// holds offsets only; each call is given the bytes that the field's range is relative to. Empty
/// elements are skipped.
public struct HTTPListScanner: Sendable {
    private var position: UInt32
    private let end: UInt32

    public init(_ value: ByteRange) {
        position = value.start
        end = value.end
    }

    /// The next element; nil at the end, `badHeaderValue` when it is malformed.
    #if !DEBUG
        @_noLocks
    #endif
    public mutating func next(_ bytes: RawSpan) throws(HTTPError) -> HTTPListItem? {
        let end = Int(self.end)
        var i = Int(position)
        while i < end {
            let byte = bytes.byte(at: i)
            guard HTTPByte.isWhitespace(byte) || byte == HTTPByte.comma else { break }
            i &+= 1
        }
        position = UInt32(truncatingIfNeeded: i)
        if i == end { return nil }
        let pair = try HTTPPair.scan(bytes, at: &i, end: end, names: .tokensWithSlash)
        let parametersStart = i
        var parametersEnd = i
        while HTTPPair.skip(HTTPByte.semicolon, bytes, at: &i, end: end) {
            // An empty parameter is nothing (RFC 9110 5.6.6).
            if i < end, HTTPByteClass.token.contains(bytes.byte(at: i)) {
                _ = try HTTPPair.scan(bytes, at: &i, end: end, names: .tokens)
            }
            parametersEnd = i
        }
        // Trailing whitespace was skipped: a comma must follow, or nothing.
        if i < end, bytes.byte(at: i) != HTTPByte.comma { throw .badHeaderValue }
        position = UInt32(truncatingIfNeeded: i)
        let parameters =
            parametersEnd > parametersStart ? ByteRange(parametersStart, parametersEnd) : .empty
        return HTTPListItem(name: pair.name, value: pair.value, parameters: parameters)
    }
}

/// Walks the parameters of one list element.
public struct HTTPParameterScanner: Sendable {
    private var position: UInt32
    private let end: UInt32

    public init(_ parameters: ByteRange) {
        position = parameters.start
        end = parameters.end
    }

    /// The next parameter; nil at the end. Parameters of an element that a list scanner returned
    /// are well-formed; others may throw `badHeaderValue`.
    #if !DEBUG
        @_noLocks
    #endif
    public mutating func next(_ bytes: RawSpan) throws(HTTPError) -> HTTPParameter? {
        let end = Int(self.end)
        var i = Int(position)
        var isSeparated = false
        while HTTPPair.skip(HTTPByte.semicolon, bytes, at: &i, end: end) { isSeparated = true }
        position = UInt32(truncatingIfNeeded: i)
        if i == end { return nil }
        guard isSeparated else { throw .badHeaderValue }
        let parameter = try HTTPPair.scan(bytes, at: &i, end: end, names: .tokens)
        position = UInt32(truncatingIfNeeded: i)
        return parameter
    }
}

/// The grammar that list elements and parameters share.
private enum HTTPPair {
    enum Names { case tokens, tokensWithSlash }

    /// Skips whitespace, then `byte` and the whitespace behind it. False when another byte follows;
    /// the whitespace before that one stays skipped.
    static func skip(_ byte: UInt8, _ bytes: RawSpan, at i: inout Int, end: Int) -> Bool {
        while i < end, HTTPByte.isWhitespace(bytes.byte(at: i)) { i &+= 1 }
        guard i < end, bytes.byte(at: i) == byte else { return false }
        i &+= 1
        while i < end, HTTPByte.isWhitespace(bytes.byte(at: i)) { i &+= 1 }
        return true
    }

    /// token [ BWS "=" BWS ( token / quoted-string ) ]
    static func scan(
        _ bytes: RawSpan, at i: inout Int, end: Int, names: Names
    ) throws(HTTPError) -> HTTPParameter {
        let nameStart = i
        i = HTTPByteClass.token.endOfRun(bytes, from: i, to: end)
        if names == .tokensWithSlash, i > nameStart, i < end, bytes.byte(at: i) == 0x2F {
            let subtype = i &+ 1
            i = HTTPByteClass.token.endOfRun(bytes, from: subtype, to: end)
            guard i > subtype else { throw .badHeaderValue }
        }
        guard i > nameStart else { throw .badHeaderValue }
        let name = ByteRange(nameStart, i)
        guard skip(HTTPByte.equals, bytes, at: &i, end: end) else {
            return HTTPParameter(name: name, value: .empty)
        }
        let value: ByteRange
        if i < end, bytes.byte(at: i) == HTTPByte.quote {
            let inside = i &+ 1
            i = try endOfQuoted(bytes, from: inside, end: end)
            value = ByteRange(inside, i &- 1)
        } else {
            let valueStart = i
            i = HTTPByteClass.token.endOfRun(bytes, from: i, to: end)
            guard i > valueStart else { throw .badHeaderValue }
            value = ByteRange(valueStart, i)
        }
        return HTTPParameter(name: name, value: value)
    }

    /// The offset behind the closing quote (RFC 9110 section 5.6.4).
    private static func endOfQuoted(
        _ bytes: RawSpan, from start: Int, end: Int
    ) throws(HTTPError) -> Int {
        var i = start
        while i < end {
            var byte = bytes.byte(at: i)
            if byte == HTTPByte.quote { return i &+ 1 }
            if byte == HTTPByte.backslash {
                i &+= 1
                guard i < end else { break }
                byte = bytes.byte(at: i)
            }
            guard HTTPByte.isFieldContent(byte) else { throw .badHeaderValue }
            i &+= 1
        }
        throw .badHeaderValue
    }
}

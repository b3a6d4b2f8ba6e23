import Bytes

/// One `name=value` of a query string, still percent-encoded.
public struct HTTPQueryPair: Equatable, Sendable, BitwiseCopyable {
    public var name: ByteRange
    /// Empty both for "name=" and for "name"; only the first has an equals sign before it.
    public var value: ByteRange
    public var hasEqualsSign: Bool
}

/// Walks the pairs of a query string, split at "&" (WHATWG URL, application/x-www-form-urlencoded).
/// It holds offsets only. Empty pairs, as in "a=1&&b=2", are skipped.
public struct HTTPQueryScanner: Sendable {
    private var position: UInt32
    private let end: UInt32

    public init(_ query: ByteRange) {
        position = query.start
        end = query.end
    }

    /// The next pair; nil at the end. No input is malformed at this level.
    #if !DEBUG
        @_noLocks
    #endif
    public mutating func next(_ bytes: RawSpan) -> HTTPQueryPair? {
        let end = Int(self.end)
        var i = Int(position)
        while i < end, bytes.byte(at: i) == 0x26 { i &+= 1 }
        guard i < end else {
            position = self.end
            return nil
        }
        let start = i
        var equalsSign = -1
        while i < end {
            let byte = bytes.byte(at: i)
            if byte == 0x26 { break }
            if byte == HTTPByte.equals, equalsSign < 0 { equalsSign = i }
            i &+= 1
        }
        position = UInt32(truncatingIfNeeded: i)
        guard equalsSign >= 0 else {
            return HTTPQueryPair(
                name: ByteRange(start, i), value: ByteRange(i, i), hasEqualsSign: false)
        }
        return HTTPQueryPair(
            name: ByteRange(start, equalsSign), value: ByteRange(equalsSign &+ 1, i),
            hasEqualsSign: true)
    }
}

/// What "+" stands for: a space in query strings, itself in paths.
public enum HTTPPlusSign: Sendable { case isSpace, isLiteral }

/// Appends `span` to `writer` with its percent-encoding undone (RFC 3986 section 2.1). False, and
/// nothing appended, when a "%" lacks its two digits or the result is not well-formed UTF-8. The
/// result is never longer than `span`; it may hold any ASCII control, NUL included.
public func percentDecode(
    _ span: RawSpan, into writer: ByteWriter, plus: HTTPPlusSign
) -> Bool {
    let countBefore = writer.count
    let count = span.byteCount
    var copied = 0
    var i = 0
    while i < count {
        let byte = span.byte(at: i)
        if byte == HTTPByte.percent {
            guard i &+ 2 < count, let high = HTTPByte.hexValue(span.byte(at: i &+ 1)),
                let low = HTTPByte.hexValue(span.byte(at: i &+ 2))
            else {
                writer.truncate(to: countBefore)
                return false
            }
            writer.append(span.extracting(copied..<i))
            writer.append(high << 4 | low)
            i &+= 3
            copied = i
        } else if byte == 0x2B, plus == .isSpace {
            writer.append(span.extracting(copied..<i))
            writer.append(HTTPByte.space)
            i &+= 1
            copied = i
        } else {
            i &+= 1
        }
    }
    writer.append(span.extracting(copied..<count))
    guard isWellFormedUTF8(writer.bytes.extracting(countBefore..<writer.count)) else {
        writer.truncate(to: countBefore)
        return false
    }
    return true
}

/// Table 3-7 of the Unicode standard: the second byte's range depends on the first.
#if !DEBUG
    @_noLocks
#endif
private func isWellFormedUTF8(_ bytes: RawSpan) -> Bool {
    let count = bytes.byteCount
    var i = 0
    while i < count {
        if i &+ 8 <= count, bytes.load64(at: i) & 0x8080_8080_8080_8080 == 0 {
            i &+= 8
            continue
        }
        let lead = bytes.byte(at: i)
        if lead < 0x80 {
            i &+= 1
            continue
        }
        let length: Int
        var low: UInt8 = 0x80
        var high: UInt8 = 0xBF
        switch lead {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF:
            length = 3
            if lead == 0xE0 { low = 0xA0 }
            if lead == 0xED { high = 0x9F }
        case 0xF0...0xF4:
            length = 4
            if lead == 0xF0 { low = 0x90 }
            if lead == 0xF4 { high = 0x8F }
        default: return false
        }
        guard i &+ length <= count else { return false }
        let second = bytes.byte(at: i &+ 1)
        guard second >= low, second <= high else { return false }
        if length > 2, bytes.byte(at: i &+ 2) & 0xC0 != 0x80 { return false }
        if length > 3, bytes.byte(at: i &+ 3) & 0xC0 != 0x80 { return false }
        i &+= length
    }
    return true
}

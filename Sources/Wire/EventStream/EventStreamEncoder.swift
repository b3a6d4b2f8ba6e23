// Server-Sent Events (WHATWG HTML, section 9.2), made of the JSON frames that sockets get.
//
//     chunk size CRLF            only when the body is chunked; one event is one chunk
//     event: message LF          the frame's "type"
//     id: 12 LF                  an entry's seq; nothing else has one
//     data: {"type":…} LF        one line for each line of the frame
//     LF
//     CRLF                       of the chunk
//
// An event never spans two chunks, so the same bytes serve every stream of a core.

import Bytes

/// How the end of a stream's body is told (RFC 9112 sections 6 and 7).
public enum EventFraming: UInt8, Sendable {
    case chunked
    /// For HTTP/1.0: the body ends with the connection.
    case untilClose
}

public enum EventStreamEncoder {
    /// One frame as one event.
    public static func event(_ frame: RawSpan, _ framing: EventFraming, into out: ByteWriter) {
        let type = type(of: frame)
        let seq = type.equals("message") ? seq(of: frame) : nil
        var size = type.byteCount == 0 ? 0 : 8 + type.byteCount
        if let seq { size += 5 + decimalDigits(seq) }
        var start = 0
        while start <= frame.byteCount {
            let end = endOfLine(frame, from: start)
            size += 7 + end - start
            start = nextLine(frame, after: end)
        }
        begin(size + 1, framing, into: out)
        if type.byteCount > 0 {
            out.append("event: ")
            out.append(type)
            out.append(0x0A)
        }
        if let seq {
            out.append("id: ")
            out.append(decimal: seq)
            out.append(0x0A)
        }
        start = 0
        while start <= frame.byteCount {
            let end = endOfLine(frame, from: start)
            out.append("data: ")
            out.append(frame.extracting(start..<end))
            out.append(0x0A)
            start = nextLine(frame, after: end)
        }
        out.append(0x0A)
        finish(framing, into: out)
    }

    /// A line that clients pass over. `text` has no line break.
    public static func comment(_ text: StaticString, _ framing: EventFraming, into out: ByteWriter)
    {
        begin(text.utf8CodeUnitCount + 4, framing, into: out)
        out.append(": ")
        out.append(text)
        out.append("\n\n")
        finish(framing, into: out)
    }

    /// How long a client waits before it connects again.
    public static func retry(
        milliseconds: UInt64, _ framing: EventFraming, into out: ByteWriter
    ) {
        begin(9 + decimalDigits(milliseconds), framing, into: out)
        out.append("retry: ")
        out.append(decimal: milliseconds)
        out.append("\n\n")
        finish(framing, into: out)
    }

    /// The end of the body, by which a client tells an end from a cut.
    public static func end(_ framing: EventFraming, into out: ByteWriter) {
        if framing == .chunked { out.append("0\r\n\r\n") }
    }

    // MARK: Chunks

    private static func begin(_ size: Int, _ framing: EventFraming, into out: ByteWriter) {
        guard framing == .chunked else { return }
        let digits = (67 - UInt64(size).leadingZeroBitCount) / 4
        out.append(hex: UInt64(size), digits: digits)
        out.append("\r\n")
    }

    private static func finish(_ framing: EventFraming, into out: ByteWriter) {
        if framing == .chunked { out.append("\r\n") }
    }

    private static func decimalDigits(_ value: UInt64) -> Int {
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        return digits
    }

    // MARK: What a frame says

    /// Frames begin with their type.
    @_lifetime(copy frame)
    private static func type(of frame: RawSpan) -> RawSpan {
        guard frame.hasPrefix("{\"type\":\"") else { return frame.extracting(0..<0) }
        return frame.extracting(9..<frame.firstOffset(of: 0x22, from: 9))
    }

    /// The place of an entry in its log. It stands before all that a client wrote
    /// (ChatModel/Entry.swift), so the first that is found is the entry's own.
    private static func seq(of frame: RawSpan) -> UInt64? {
        var comma = frame.firstOffset(of: 0x2C)
        while comma < frame.byteCount {
            let rest = frame.extracting(comma..<frame.byteCount)
            if rest.hasPrefix(",\"seq\":") {
                var end = 7
                while end < rest.byteCount, 0x30...0x39 ~= rest.byte(at: end) { end += 1 }
                return rest.extracting(7..<end).decimal()
            }
            comma = frame.firstOffset(of: 0x2C, from: comma + 1)
        }
        return nil
    }

    /// A line ends at LF, CR or both; JSON may hold them as white space.
    private static func endOfLine(_ frame: RawSpan, from start: Int) -> Int {
        min(frame.firstOffset(of: 0x0A, from: start), frame.firstOffset(of: 0x0D, from: start))
    }

    /// Beyond the frame when there is none.
    private static func nextLine(_ frame: RawSpan, after end: Int) -> Int {
        guard end + 1 < frame.byteCount, frame.byte(at: end) == 0x0D,
            frame.byte(at: end + 1) == 0x0A
        else { return end + 1 }
        return end + 2
    }
}

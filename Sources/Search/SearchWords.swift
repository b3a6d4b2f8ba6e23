// What a person types into a search field, as an expression that SQLite's FTS5 can run
// (sqlite.org/fts5.html, section 3).
//
//     invoice due         both words
//     "due on friday"     these words in this order
//     invo*               the last word may go on
//
// Every word becomes an FTS5 string, which is in quotes and in which nothing has a meaning; there
// is no other way from the text into the expression. What words are (runs of letters and digits)
// and which of them are the same (case and diacritics do not count) is up to the index's tokenizer.

import Bytes
import ChatModel

public struct SearchWords: Sendable {
    public enum Fault: Error, Equatable {
        case length
        case tooManyWords
    }

    /// Empty when there is no word in the text.
    public let expression: ByteBlock

    /// `text` must be UTF-8.
    public init(_ text: RawSpan) throws(Fault) {
        guard text.byteCount >= 1, text.byteCount <= Limits.searchBytesMax else {
            throw .length
        }
        let writer = ByteWriter(capacity: 512)
        var words = 0
        var offset = 0
        while offset < text.byteCount {
            let byte = text.byte(at: offset)
            if Self.isBlank(byte) {
                offset += 1
                continue
            }
            let isQuoted = byte == 0x22
            let start = isQuoted ? offset + 1 : offset
            var end = isQuoted ? text.firstOffset(of: 0x22, from: start) : start
            if isQuoted {
                // A quote that nothing closes goes to the end.
                offset = min(end + 1, text.byteCount)
            } else {
                while end < text.byteCount, !Self.isBlank(text.byte(at: end)),
                    text.byte(at: end) != 0x22
                { end += 1 }
                offset = end
            }
            let found = Self.words(in: text, start..<end)
            guard found.count > 0 else { continue }
            words += found.count
            if writer.count > 0 { writer.append(0x20) }
            Self.append(text.extracting(start..<end), to: writer)
            let star = isQuoted ? offset : end - 1
            if star < text.byteCount, text.byte(at: star) == 0x2A,
                Self.isBlank(text, from: star + 1), found.lastBytes >= Limits.searchPrefixBytesMin
            {
                writer.append("*")
            }
        }
        guard words <= Limits.searchWordsMax else { throw .tooManyWords }
        expression = writer.block()
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 || byte == 0x7F }

    private static func isBlank(_ text: RawSpan, from start: Int) -> Bool {
        for offset in start..<text.byteCount where !isBlank(text.byte(at: offset)) { return false }
        return true
    }

    /// Runs of what may be letters and digits. Beyond ASCII the tokenizer decides; here such a
    /// character counts as one.
    private static func words(
        in text: RawSpan, _ range: Range<Int>
    ) -> (count: Int, lastBytes: Int) {
        var count = 0
        var bytes = 0
        var lastBytes = 0
        for offset in range {
            let byte = text.byte(at: offset)
            let isPart =
                byte >= 0x80 || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte)
            if isPart {
                if bytes == 0 { count += 1 }
                bytes += 1
                lastBytes = bytes
            } else {
                bytes = 0
            }
        }
        return (count, lastBytes)
    }

    private static func append(_ word: RawSpan, to writer: ByteWriter) {
        writer.append(0x22)
        for offset in 0..<word.byteCount {
            let byte = word.byte(at: offset)
            // NUL would end the expression. A quote cannot be here: it ends a word.
            writer.append(isBlank(byte) ? 0x20 : byte)
        }
        writer.append(0x22)
    }
}

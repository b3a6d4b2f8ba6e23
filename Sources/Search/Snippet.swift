// Some of a message's text, around the place where the first of the words begins.

import Bytes

enum Snippet {
    static let bytesMax = 240
    static let bytesBefore = 60

    /// `expression` is one of SearchWords. A word that stands in the text with other diacritics is
    /// not found here; then the snippet is the text's beginning.
    static func make(of text: ByteBlock, _ expression: ByteBlock) -> ByteBlock {
        let bytes = text.bytes
        guard bytes.byteCount > bytesMax else { return oneLine(bytes, isCutBefore: false, false) }
        let place = firstPlace(in: bytes, of: expression.bytes) ?? 0
        var start = place > bytesBefore ? place - bytesBefore : 0
        var end = min(bytes.byteCount, start + bytesMax)
        start = max(0, min(start, end - bytesMax))
        while start < end, bytes.byte(at: start) & 0xC0 == 0x80 { start += 1 }
        while end < bytes.byteCount, end > start, bytes.byte(at: end) & 0xC0 == 0x80 { end -= 1 }
        return oneLine(
            bytes.extracting(start..<end), isCutBefore: start > 0, end < bytes.byteCount)
    }

    private static func oneLine(
        _ bytes: RawSpan, isCutBefore: Bool, _ isCutBehind: Bool
    ) -> ByteBlock {
        let writer = ByteWriter(capacity: bytesMax + 16)
        if isCutBefore { writer.append("\u{2026}") }
        for offset in 0..<bytes.byteCount {
            let byte = bytes.byte(at: offset)
            writer.append(byte < 0x20 ? 0x20 : byte)
        }
        if isCutBehind { writer.append("\u{2026}") }
        return writer.block()
    }

    /// Where the first phrase's first word begins, ASCII letters in either case.
    private static func firstPlace(in text: RawSpan, of expression: RawSpan) -> Int? {
        var start = 0
        while start < expression.byteCount, !isWord(expression.byte(at: start)) { start += 1 }
        var end = start
        while end < expression.byteCount, isWord(expression.byte(at: end)) { end += 1 }
        let count = end - start
        guard count > 0, count <= text.byteCount else { return nil }
        for offset in 0...text.byteCount - count {
            if offset > 0, isWord(text.byte(at: offset - 1)) { continue }
            var same = 0
            while same < count,
                RawSpan.lowercased(text.byte(at: offset + same))
                    == RawSpan.lowercased(expression.byte(at: start + same))
            { same += 1 }
            if same == count { return offset }
        }
        return nil
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        byte >= 0x80 || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
            || (0x61...0x7A).contains(byte)
    }
}

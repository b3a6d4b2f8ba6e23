// How an entry's body is shown once the message was edited or deleted. The log keeps what was
// written, so what stands in its place is put there whenever it is read: the body is one of ours,
// canonical JSON without white space, and its fields are found by walking over it once.

import Bytes

extension RawSpan {
    /// Where the value of a field stands in the object that these bytes are; nil when there is no
    /// such field, or the bytes are not what this program writes.
    public func place(ofField name: StaticString) -> ByteRange? {
        guard byteCount > 1, byte(at: 0) == 0x7B else { return nil }
        var offset = 1
        while offset < byteCount, byte(at: offset) == 0x22 {
            guard let keyEnd = end(ofValueAt: offset), keyEnd < byteCount,
                byte(at: keyEnd) == 0x3A, let valueEnd = end(ofValueAt: keyEnd + 1)
            else { return nil }
            if extracting(offset + 1..<keyEnd - 1).equals(name) {
                return ByteRange(keyEnd + 1, valueEnd)
            }
            guard valueEnd < byteCount, byte(at: valueEnd) == 0x2C else { return nil }
            offset = valueEnd + 1
        }
        return nil
    }

    /// The offset behind a value; nil when the bytes end before it does.
    private func end(ofValueAt start: Int) -> Int? {
        var offset = start
        var depth = 0
        while offset < byteCount {
            switch byte(at: offset) {
            case 0x22:
                guard let end = end(ofStringAt: offset) else { return nil }
                offset = end
                if depth == 0 { return offset }
                continue
            case 0x7B, 0x5B: depth += 1
            case 0x7D, 0x5D:
                if depth == 0 { return offset }
                depth -= 1
                if depth == 0 { return offset + 1 }
            case 0x2C where depth == 0: return offset
            default: break
            }
            offset += 1
        }
        return nil
    }

    private func end(ofStringAt start: Int) -> Int? {
        var offset = start + 1
        while offset < byteCount {
            switch byte(at: offset) {
            case 0x22: return offset + 1
            case 0x5C: offset += 2
            default: offset += 1
            }
        }
        return nil
    }
}

public enum EntryView {
    /// What stands in place of the content of a message that was deleted, and of its edits.
    public static let redactedContent: StaticString =
        "{\"type\":\"event\",\"name\":\"redacted\",\"data\":{}}"

    public static func content(of body: RawSpan) -> ByteRange? { body.place(ofField: "content") }

    /// Writes the body with the content of an edit, and when that was made. False when the body is
    /// not one of ours.
    public static func write(
        _ body: RawSpan, editedTo content: RawSpan, atMilliseconds milliseconds: UInt64,
        into writer: ByteWriter
    ) -> Bool {
        guard let place = Self.content(of: body), place.end < body.byteCount else { return false }
        writer.append(body.extracting(0..<place.range.lowerBound))
        writer.append(content)
        writer.append(body.extracting(place.range.upperBound..<body.byteCount - 1))
        writer.append(",\"edited_at\":\"")
        writer.append(timestamp: milliseconds)
        writer.append("\"}")
        return true
    }

    /// Writes the body without what was said in it. False when the body is not one of ours.
    public static func writeRedacted(_ body: RawSpan, into writer: ByteWriter) -> Bool {
        guard let content = Self.content(of: body),
            let metadata = body.place(ofField: "metadata"), content.end <= metadata.start
        else { return false }
        writer.append(body.extracting(0..<content.range.lowerBound))
        writer.append(redactedContent)
        writer.append(body.extracting(content.range.upperBound..<metadata.range.lowerBound))
        writer.append("{}")
        writer.append(body.extracting(metadata.range.upperBound..<body.byteCount))
        return true
    }

    /// Who sent it; nil when the body is not one of ours. `scratch` is overwritten.
    public static func sender(
        of body: RawSpan, is subject: ByteBlock, _ scratch: ByteWriter
    ) -> (type: SenderType, isSubject: Bool)? {
        guard let place = body.place(ofField: "sender") else { return nil }
        let sender = body.part(place)
        guard let typePlace = sender.place(ofField: "type"),
            let idPlace = sender.place(ofField: "id")
        else { return nil }
        scratch.removeAll()
        scratch.append(json: subject)
        let isSubject = sender.part(idPlace).equals(scratch.bytes)
        let text = sender.part(typePlace)
        for type in [SenderType.user, .bot, .agent, .system] {
            scratch.removeAll()
            scratch.append(0x22)
            scratch.append(type.name)
            scratch.append(0x22)
            if text.equals(scratch.bytes) { return (type, isSubject) }
        }
        return nil
    }
}

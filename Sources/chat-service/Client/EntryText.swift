// One entry of a conversation's log on a line, for people or for programs.

import Bytes
import Glibc
import Wire

/// Standard output has no reader any more: the command ends, and there is nothing to say.
struct ReaderGone: Error {}

struct EntryText {
    let json: Bool

    /// A message as its sender wrote it; another entry, or content without text, as JSON.
    func content(_ parser: JSONParser, _ entry: JSONNode) -> String {
        if let content = parser.object(entry, "content") {
            return parser.text(content, "text") ?? compact(parser, content)
        }
        return compact(parser, entry)
    }

    /// "3  2026-11-23T18:00:01.000Z  user alice: Hello". Further lines of a text are indented.
    func line(_ parser: JSONParser, _ entry: JSONNode, seq: UInt64) -> String {
        if json { return compact(parser, entry) }
        let kind = parser.text(entry, "kind") ?? "entry"
        var who = kind
        if kind == "message", let sender = parser.object(entry, "sender") {
            who = "\(parser.text(sender, "type") ?? "?") \(parser.text(sender, "id") ?? "?")"
            if parser.text(entry, "visibility") == "internal" { who += " (internal)" }
        }
        let lines = content(parser, entry).split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        let text = lines.map { shown(String($0)) }.joined(separator: "\n    ")
        return "\(seq)  \(shown(parser.text(entry, "created_at") ?? ""))  \(shown(who)): \(text)"
    }

    private func compact(_ parser: JSONParser, _ node: JSONNode) -> String {
        let writer = ByteWriter(capacity: 1024)
        parser.write(node, into: writer)
        return writer.string()
    }
}

/// Writes a whole line at once. Throws when nobody reads any more; other failures end in words.
func writeLine(_ text: String) throws {
    let bytes = Array((text + "\n").utf8)
    var written = 0
    while written < bytes.count {
        // Safety: the array has count bytes, of which `written` are out.
        let count = unsafe bytes.withUnsafeBytes {
            unsafe write(1, $0.baseAddress?.advanced(by: written), $0.count - written)
        }
        if count > 0 { written += count }
        if count < 0, errno == EPIPE { throw ReaderGone() }
        if count < 0, errno != EINTR {
            // Safety: strerror returns a C string that is read at once.
            let reason = unsafe String(cString: strerror(errno))
            throw ClientFailure(
                exitCode: 70, message: "Standard output cannot be written: \(reason).")
        }
    }
}

/// True when standard output is a pipe or socket that nobody reads any more.
func isReaderGone() -> Bool {
    var output = pollfd(fd: 1, events: 0, revents: 0)
    // Safety: one structure, of this frame.
    return unsafe poll(&output, 1, 0) > 0 && output.revents & Int16(POLLERR) != 0
}

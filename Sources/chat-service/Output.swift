// What commands write: lines for people, lines of JSON for programs, and complaints.

import ArgumentParser
import Bytes
import CLinux
import ChatModel
import Glibc
import ShardRuntime

/// Standard output, at once: whoever started the service may be reading it through a pipe.
func say(_ text: String) {
    print(text)
    fflush(nil)
}

func sayError(_ text: String) {
    let line = Array("chat-service: \(text)\n".utf8)
    // Safety: the array has count bytes.
    _ = unsafe line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}

func fail(_ failure: StartupFailure) -> ExitCode {
    sayError(failure.message)
    return ExitCode(failure.exitCode)
}

/// One object on one line.
struct JSONLine {
    enum Value {
        case none
        case text(String)
        case number(UInt64)
        case flag(Bool)
        case list([String])

        static func time(milliseconds: UInt64) -> Value {
            let writer = ByteWriter(capacity: 32)
            writer.append(timestamp: milliseconds)
            return .text(writer.string())
        }

        /// For people.
        var text: String {
            switch self {
            case .none: ""
            case .text(let text): shown(text)
            case .number(let number): "\(number)"
            case .flag(let isSet): isSet ? "yes" : "no"
            case .list(let items): items.joined(separator: ",")
            }
        }
    }
    typealias Field = (name: String, value: Value)

    private let fields: [Field]

    init(_ fields: [Field]) { self.fields = fields }

    var text: String {
        let writer = ByteWriter(capacity: 256)
        writer.append(0x7B)
        for (place, field) in fields.enumerated() {
            if place > 0 { writer.append(0x2C) }
            writer.append(json: field.name)
            writer.append(0x3A)
            append(field.value, to: writer)
        }
        writer.append(0x7D)
        return writer.string()
    }

    private func append(_ value: Value, to writer: ByteWriter) {
        switch value {
        case .none: writer.append("null")
        case .text(let text): writer.append(json: text)
        case .number(let number): writer.append(decimal: number)
        case .flag(let isSet): writer.append(isSet ? "true" : "false")
        case .list(let items):
            writer.append(0x5B)
            for (place, item) in items.enumerated() {
                if place > 0 { writer.append(0x2C) }
                writer.append(json: item)
            }
            writer.append(0x5D)
        }
    }
}

/// Rows of the same fields: a table with its heads for people, or an object a line.
func show(_ rows: [[JSONLine.Field]], json: Bool) {
    if json {
        for row in rows { say(JSONLine(row).text) }
        return
    }
    guard let first = rows.first else { return }
    let table = [first.map(\.name)] + rows.map { row in row.map { $0.value.text } }
    let widths = first.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    for row in table {
        let cells = row.enumerated().map { column, text in
            let cell = text.isEmpty ? "-" : text
            let gap = String(repeating: " ", count: max(0, widths[column] - cell.count))
            return column == row.count - 1 ? cell : cell + gap
        }
        say(cells.joined(separator: "  "))
    }
}

/// Text from elsewhere, harmless on a terminal: no control characters, and nothing that turns the
/// direction of what follows.
func shown(_ text: String) -> String {
    guard !text.unicodeScalars.allSatisfy(isShown) else { return text }
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { shown.append(isShown(scalar) ? scalar : "\u{FFFD}") }
    return String(shown)
}

func isShown(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x202A...0x202E, 0x2066...0x2069: false
    default: true
    }
}

// ENV_FILE: settings as KEY=VALUE lines, as systemd's EnvironmentFile= and .env have them. The
// environment of a process that runs cannot change; this file can, and SIGHUP reads it again.

import Glibc

public struct EnvironmentFile: Sendable {
    public static let bytesMax = 65_536

    public let values: [String: String]

    /// Lines that are no setting are passed over; nothing is expanded, and one pair of quotes
    /// around a value is taken off.
    public init(text: String) {
        var values: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let line = Self.trimmed(line)
            guard let split = line.firstIndex(of: "="), split != line.startIndex,
                line.first != "#", line.first != ";"
            else { continue }
            let name = Self.trimmed(line[..<split])
            var value = Self.trimmed(line[line.index(after: split)...])
            if value.count >= 2, let quote = value.first, quote == value.last,
                quote == "\"" || quote == "'"
            {
                value = value.dropFirst().dropLast()
            }
            values[String(name)] = String(value)
        }
        self.values = values
    }

    /// nil when the file cannot be read, or is larger than `bytesMax`.
    public init?(path: String) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe piece.withUnsafeMutableBytes {
                // Safety: the array has count bytes.
                unsafe read(file, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0, bytes.count + count <= Self.bytesMax else { return nil }
            if count == 0 { break }
            bytes += piece[..<count]
        }
        self.init(text: String(decoding: bytes, as: UTF8.self))
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop(while: \.isWhitespace)
        while text.last?.isWhitespace ?? false { text.removeLast() }
        return text
    }
}

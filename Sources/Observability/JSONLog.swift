// Logs: one JSON object a line on standard error. Behind swift-log's interface.

import Bytes
import CLinux
import ChatModel
import Glibc
import Logging

public struct JSONLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let label: String

    /// A logger that writes records of `level` and above.
    public static func logger(label: String, _ level: Logger.Level) -> Logger {
        Logger(label: label) { JSONLog(label: $0, logLevel: level) }
    }

    init(label: String, logLevel: Logger.Level) {
        self.label = label
        self.logLevel = logLevel
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    private static func name(_ level: Logger.Level) -> StaticString {
        switch level {
        case .trace, .debug: "DEBUG"
        case .info, .notice: "INFO"
        case .warning: "WARNING"
        case .error: "ERROR"
        case .critical: "CRITICAL"
        }
    }

    public func log(event: LogEvent) {
        let writer = ByteWriter(capacity: 256)
        writer.append("{\"ts\":\"")
        writer.append(timestamp: cl_realtime_milliseconds())
        writer.append("\",\"level\":\"")
        writer.append(Self.name(event.level))
        writer.append("\",\"logger\":")
        writer.append(json: label)
        writer.append(",\"msg\":")
        writer.append(json: "\(event.message)")
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            writer.append(0x2C)
            writer.append(json: key)
            writer.append(0x3A)
            writer.append(json: "\(value)")
        }
        writer.append("}\n")
        // One write a record, so that lines of several threads do not mix.
        unsafe writer.bytes.withUnsafeBytes { line in
            // Safety: the line lives for the call.
            _ = unsafe Glibc.write(2, line.baseAddress, line.count)
        }
    }
}

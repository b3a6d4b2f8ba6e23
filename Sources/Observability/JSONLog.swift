// Logs: one JSON object a line on standard error. Behind swift-log's interface.

import Bytes
import CLinux
import ChatModel
import Glibc
import Logging
import Synchronization

/// From which level on records are written. One for all copies of a logger, on all threads, so that
/// it can be moved while the process runs.
public final class LogThreshold: Sendable {
    private let place: Atomic<Int>

    public init(_ level: Logger.Level) { place = Atomic(Self.place(of: level)) }

    public var level: Logger.Level {
        get { Self.levels[place.load(ordering: .relaxed)] }
        set { place.store(Self.place(of: newValue), ordering: .relaxed) }
    }

    private static func place(of level: Logger.Level) -> Int {
        levels.firstIndex(of: level) ?? 0
    }

    private static let levels = Logger.Level.allCases
}

public struct JSONLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    private let threshold: LogThreshold
    private let label: String

    /// A logger that writes records of the threshold's level and above.
    public static func logger(label: String, _ threshold: LogThreshold) -> Logger {
        Logger(label: label) { JSONLog(label: $0, threshold: threshold) }
    }

    init(label: String, threshold: LogThreshold) {
        self.label = label
        self.threshold = threshold
    }

    /// Setting it sets the threshold of all copies.
    public var logLevel: Logger.Level {
        get { threshold.level }
        set { threshold.level = newValue }
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

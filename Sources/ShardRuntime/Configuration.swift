// The environment, read once at start. A value that cannot be used is a fault that names the
// variable, the value (unless it is a secret) and what is accepted; all faults are told at once.

import Bytes
import ChatModel
import Identity
import Reactor

public struct Configuration: Sendable {
    public enum Environment: String, Sendable, CaseIterable {
        case development, staging, production
    }
    public enum BackendChoice: String, Sendable { case auto, epoll }
    public enum LogLevel: String, Sendable, CaseIterable {
        case DEBUG, INFO, WARNING, ERROR, CRITICAL
    }

    public var environment = Environment.development
    public var host = "0.0.0.0"
    public var port: UInt16 = 8001
    public var requestTimeoutMilliseconds: UInt64 = 30_000
    public var sessionTimeToLiveSeconds: UInt64 = 3600
    public var configCacheTimeToLiveSeconds: UInt64 = 300
    public var defaultRateLimit = 1000
    public var burstLimit = 2000
    /// 0: one a processor.
    public var reactorThreads = 0
    public var backend = BackendChoice.auto
    public var dataDirectory = "./data"
    public var messageBytesMax = 65_536
    public var jwtSecret: String?
    public var jwtPublicKeyFile: String?
    public var jwtIssuer: String?
    public var jwtAudience: String?
    public var logLevel = LogLevel.INFO
    /// Read again by SIGHUP, for LOG_LEVEL.
    public var environmentFile: String?
    public var drainDelayMilliseconds: UInt64 = 0
    public var drainTimeoutMilliseconds: UInt64 = 20_000
    public var tls: TLSFiles?
    public var opsArePublic = true
    public var bounds = ConnectionBounds()
    public var benchRoutes = false

    /// One line a fault.
    public struct Faults: Error { public let lines: [String] }

    public init(environment values: [String: String]) throws(Faults) {
        var reader = EnvironmentReader(values)
        environment = reader.choice("ENVIRONMENT", environment)
        reader.text("HOST") { host = $0 }
        reader.number("PORT", 0...65_535) { port = UInt16($0) }
        reader.number("REQUEST_TIMEOUT_MS", 100...600_000) {
            requestTimeoutMilliseconds = UInt64($0)
        }
        reader.number("SESSION_TTL", 1...31_536_000) { sessionTimeToLiveSeconds = UInt64($0) }
        reader.number("CONFIG_CACHE_TTL", 0...86_400) { configCacheTimeToLiveSeconds = UInt64($0) }
        reader.number("RESPONSE_CACHE_TTL", 0...86_400) { _ in }
        reader.number("MAX_CONNECTIONS_MONGO", 1...10_000) { _ in }
        reader.number("MAX_CONNECTIONS_REDIS", 1...10_000) { _ in }
        reader.number("MAX_MEDIA_BYTES", 1...1 << 30) { _ in }
        reader.number("DEFAULT_RATE_LIMIT", 1...1_000_000_000) { defaultRateLimit = $0 }
        reader.number("BURST_LIMIT", 1...1_000_000_000) { burstLimit = $0 }
        reader.number("REACTOR_THREADS", 1...64) { reactorThreads = $0 }
        readBackend(&reader)
        reader.text("DATA_DIR") { dataDirectory = $0 }
        reader.number("MAX_MESSAGE_BYTES", 256...1 << 24) { messageBytesMax = $0 }
        reader.secret("JWT_SECRET", bytesMin: 32) { jwtSecret = $0 }
        reader.text("JWT_PUBLIC_KEY_FILE") { jwtPublicKeyFile = $0 }
        reader.text("JWT_ISSUER") { jwtIssuer = $0 }
        reader.text("JWT_AUDIENCE") { jwtAudience = $0 }
        logLevel = reader.choice("LOG_LEVEL", logLevel)
        reader.text("ENV_FILE") { environmentFile = $0 }
        reader.number("DRAIN_DELAY_MS", 0...600_000) { drainDelayMilliseconds = UInt64($0) }
        reader.number("DRAIN_TIMEOUT_MS", 100...600_000) { drainTimeoutMilliseconds = UInt64($0) }
        readTLS(&reader)
        readBounds(&reader)
        opsArePublic = reader.flag("OPS_PUBLIC", environment == .development)
        benchRoutes = reader.flag("BENCH_ROUTES", false)
        Self.checkEncryptionKeys(&reader)
        checkProduction(&reader)
        Self.checkUnavailable(&reader)
        if !reader.faults.isEmpty { throw Faults(lines: reader.faults) }
    }

    private mutating func readBackend(_ reader: inout EnvironmentReader) {
        guard let value = reader.value("REACTOR_BACKEND") else { return }
        if let known = BackendChoice(rawValue: value) {
            backend = known
        } else {
            reader.fault(
                "REACTOR_BACKEND", value, "auto or epoll; io_uring is not part of this version")
        }
    }

    /// `id:base64(32 bytes),…`. The value is a secret: a fault does not repeat it.
    private static func checkEncryptionKeys(_ reader: inout EnvironmentReader) {
        guard let value = reader.value("ENCRYPTION_KEYS") else { return }
        for key in value.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = key.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, !parts[0].isEmpty, isBase64Of32Bytes(parts[1]) { continue }
            reader.faults.append(
                "ENCRYPTION_KEYS: not accepted; use id:base64(32 bytes), separated by commas")
            return
        }
    }

    /// 32 bytes are 43 digits and one `=`; the last digit carries four bits.
    private static func isBase64Of32Bytes(_ text: Substring) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 44, bytes[43] == 0x3D else { return false }
        return bytes.prefix(43).allSatisfy {
            switch $0 {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2B, 0x2F: true
            default: false
            }
        }
    }

    private func checkProduction(_ reader: inout EnvironmentReader) {
        guard environment == .production else { return }
        if benchRoutes { reader.faults.append("BENCH_ROUTES: true is refused in production") }
        if jwtSecret == nil, jwtPublicKeyFile == nil {
            reader.faults.append("JWT_SECRET: required in production, or JWT_PUBLIC_KEY_FILE")
        }
        for name in ["MONGODB_URI", "REDIS_URL", "ENCRYPTION_KEYS"] where reader.value(name) == nil
        {
            reader.faults.append("\(name): required in production")
        }
    }

    /// Settings that would be silently without effect are refused instead.
    private static func checkUnavailable(_ reader: inout EnvironmentReader) {
        let later: [(String, String)] = [
            ("MONGODB_URI", "messages are stored in SQLite under DATA_DIR"),
            ("REDIS_URL", "sessions and limits are kept in this process"),
            ("POSTGRESQL_URI", "tenants and keys are stored in SQLite under DATA_DIR"),
            ("KAFKA_BROKERS", "there is no event stream"),
            ("MCP_ENGINE_URL", "the built-in engine answers"),
            ("SECURITY_HUB_URL", "tokens and roles are checked locally"),
            ("JWT_JWKS_URL", "tokens are verified with JWT_SECRET and JWT_PUBLIC_KEY_FILE"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "no traces are exported"),
            ("SPILL_DIR", "messages are stored in SQLite under DATA_DIR"),
        ]
        for (name, instead) in later where reader.value(name) != nil {
            reader.faults.append("\(name): not part of this version (\(instead)); unset it")
        }
    }

    /// Name and value of every setting, secrets redacted.
    public var effective: [(String, String)] {
        [
            ("ENVIRONMENT", environment.rawValue), ("HOST", host), ("PORT", "\(port)"),
            ("REQUEST_TIMEOUT_MS", "\(requestTimeoutMilliseconds)"),
            ("SESSION_TTL", "\(sessionTimeToLiveSeconds)"),
            ("CONFIG_CACHE_TTL", "\(configCacheTimeToLiveSeconds)"),
            ("DEFAULT_RATE_LIMIT", "\(defaultRateLimit)"),
            ("BURST_LIMIT", "\(burstLimit)"),
            ("REACTOR_THREADS", reactorThreads == 0 ? "one a processor" : "\(reactorThreads)"),
            ("REACTOR_BACKEND", backend.rawValue), ("DATA_DIR", dataDirectory),
            ("MAX_MESSAGE_BYTES", "\(messageBytesMax)"),
            ("JWT_SECRET", jwtSecret == nil ? "generated in DATA_DIR" : "<redacted>"),
            ("JWT_PUBLIC_KEY_FILE", jwtPublicKeyFile ?? ""),
            ("JWT_ISSUER", jwtIssuer ?? ""), ("JWT_AUDIENCE", jwtAudience ?? ""),
            ("LOG_LEVEL", logLevel.rawValue), ("ENV_FILE", environmentFile ?? ""),
            ("TLS_CERT_FILE", tls?.certificate ?? ""), ("TLS_KEY_FILE", tls?.key ?? ""),
            ("TLS_CLIENT_CA_FILE", tls?.clientAuthorities ?? ""),
            ("DRAIN_DELAY_MS", "\(drainDelayMilliseconds)"),
            ("DRAIN_TIMEOUT_MS", "\(drainTimeoutMilliseconds)"),
            ("OPS_PUBLIC", "\(opsArePublic)"), ("BENCH_ROUTES", "\(benchRoutes)"),
        ] + effectiveBounds
    }
}

/// Reads variables and gathers what is wrong with them. An empty value counts as unset.
struct EnvironmentReader {
    private let values: [String: String]
    var faults: [String] = []

    init(_ values: [String: String]) { self.values = values }

    func value(_ name: String) -> String? {
        guard let value = values[name], !value.isEmpty else { return nil }
        return value
    }

    mutating func fault(_ name: String, _ value: String, _ accepted: String) {
        faults.append("\(name): \"\(value)\" is not accepted; use \(accepted)")
    }

    func text(_ name: String, _ use: (String) -> Void) {
        if let value = value(name) { use(value) }
    }

    mutating func secret(_ name: String, bytesMin: Int, _ use: (String) -> Void) {
        guard let value = value(name) else { return }
        if value.utf8.count < bytesMin {
            faults.append("\(name): too short; use at least \(bytesMin) bytes")
        } else {
            use(value)
        }
    }

    mutating func number(_ name: String, _ range: ClosedRange<Int>, _ use: (Int) -> Void) {
        guard let value = value(name) else { return }
        if let number = Int(value), range.contains(number) {
            use(number)
        } else {
            fault(name, value, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    mutating func flag(_ name: String, _ standard: Bool) -> Bool {
        guard let value = value(name) else { return standard }
        switch value {
        case "true", "1": return true
        case "false", "0": return false
        default:
            fault(name, value, "true or false")
            return standard
        }
    }

    mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, _ standard: Choice
    ) -> Choice
    where Choice.RawValue == String {
        guard let value = value(name) else { return standard }
        if let choice = Choice(rawValue: value) { return choice }
        fault(name, value, Choice.allCases.map(\.rawValue).joined(separator: ", "))
        return standard
    }
}

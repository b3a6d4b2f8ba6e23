// The variables that bound what clients may take of the process. docs/limits.md has the table.

import ChatModel

/// What clients may take together, and how long each may take for what it sends.
public struct ConnectionBounds: Equatable, Sendable {
    /// nil: as many as the process may have descriptors, less a reserve.
    public var connectionsMax: Int?
    /// nil: three quarters of all.
    public var connectionsPerAddressMax: Int?
    /// Of all cores together; nil: `Limits.bufferedBytesPerShardMax` a core.
    public var bufferedBytesMax: Int?
    public var headTimeoutMilliseconds: UInt64 = 10_000
    public var bodyTimeoutMilliseconds: UInt64 = 30_000
    public var keepAliveTimeoutMilliseconds: UInt64 = 75_000
    /// Bad credentials a minute and address; 0: no bound.
    public var badCredentialsPerMinute = 60

    public init() {}

    /// For one of `count` cores.
    func bufferedBytesPerShard(of count: Int) -> Int {
        bufferedBytesMax.map { max(1, $0 / count) } ?? Limits.bufferedBytesPerShardMax
    }

    /// Bytes of a body are looked for once in this time.
    var paceWindowMilliseconds: UInt64 { max(1, bodyTimeoutMilliseconds / 3) }
    var paceBytesPerWindow: UInt32 {
        UInt32(clamping: UInt64(Limits.transferBytesPerSecondMin) * paceWindowMilliseconds / 1000)
    }
}

extension Configuration {
    mutating func readBounds(_ reader: inout EnvironmentReader) {
        reader.number("MAX_CONNECTIONS", 16...16_777_216) { bounds.connectionsMax = $0 }
        reader.number("MAX_CONNECTIONS_PER_ADDRESS", 1...16_777_216) {
            bounds.connectionsPerAddressMax = $0
        }
        reader.number("MAX_BUFFERED_BYTES", 1 << 20...1 << 40) { bounds.bufferedBytesMax = $0 }
        reader.number("HEAD_TIMEOUT_MS", 100...600_000) {
            bounds.headTimeoutMilliseconds = UInt64($0)
        }
        reader.number("BODY_TIMEOUT_MS", 100...3_600_000) {
            bounds.bodyTimeoutMilliseconds = UInt64($0)
        }
        reader.number("KEEP_ALIVE_TIMEOUT_MS", 100...3_600_000) {
            bounds.keepAliveTimeoutMilliseconds = UInt64($0)
        }
        reader.number("BAD_CREDENTIALS_PER_MINUTE", 0...1_000_000_000) {
            bounds.badCredentialsPerMinute = $0
        }
    }

    var effectiveBounds: [(String, String)] {
        [
            (
                "MAX_CONNECTIONS",
                bounds.connectionsMax.map { "\($0)" } ?? "what descriptors allow"
            ),
            (
                "MAX_CONNECTIONS_PER_ADDRESS",
                bounds.connectionsPerAddressMax.map { "\($0)" } ?? "three quarters of all"
            ),
            (
                "MAX_BUFFERED_BYTES",
                bounds.bufferedBytesMax.map { "\($0)" }
                    ?? "\(Limits.bufferedBytesPerShardMax) an event loop"
            ),
            ("HEAD_TIMEOUT_MS", "\(bounds.headTimeoutMilliseconds)"),
            ("BODY_TIMEOUT_MS", "\(bounds.bodyTimeoutMilliseconds)"),
            ("KEEP_ALIVE_TIMEOUT_MS", "\(bounds.keepAliveTimeoutMilliseconds)"),
            ("BAD_CREDENTIALS_PER_MINUTE", "\(bounds.badCredentialsPerMinute)"),
        ]
    }

    /// How many connections the process takes when it may have so many descriptors: a reserve is
    /// left for the stores, the loops and the connections that are being turned away.
    public func connectionsMax(
        descriptors: Int, cores: Int
    ) throws(StartupFailure) -> Int {
        let reserve = min(
            Limits.descriptorsReserved + Limits.turnedAwayPerShardMax * cores, descriptors / 2)
        let most = min(descriptors - reserve, Limits.connectionsPerShardMax * cores)
        guard let wanted = bounds.connectionsMax else { return max(1, most) }
        guard wanted <= most else {
            throw StartupFailure(
                StartupFailure.configuration,
                "MAX_CONNECTIONS: \"\(wanted)\" is not possible here: the process may have "
                    + "\(descriptors) descriptors, of which \(reserve) are kept for stores and "
                    + "loops; use at most \(most), or raise the limit (ulimit -n)")
        }
        return wanted
    }
}

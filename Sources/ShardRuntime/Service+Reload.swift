// SIGHUP: what may change while the process runs: the files of TLS, the log level, the tenants. The
// thread that waits for signals does this; the cores follow in their next turn.
//
// Commands write to the tenant directory while the service runs. Between signals it is looked at
// every few seconds, at the cost of one question to SQLite, so that what they did soon counts.

import Bytes
import ChatModel
import Logging
import Observability
import Reactor
import Stores

extension Service {
    /// How long to wait for a signal before `lookAtDirectory`.
    public var lookMilliseconds: UInt64 {
        min(max(state.configuration.configCacheTimeToLiveSeconds, 1), 5) * 1000
    }

    /// Tenants or keys that a command has changed.
    public func lookAtDirectory() {
        guard reload.hasChanged() else { return }
        reloadTenants(because: "the tenant directory has changed")
    }

    public func reloadAll() {
        reloadLevel()
        reloadFiles()
        reloadTenants(because: "SIGHUP")
    }

    /// New handshakes use the files as they are now. Files of no use change nothing.
    private func reloadFiles() {
        guard let credentials = state.credentials else {
            return state.logger.info("SIGHUP: no TLS files are configured")
        }
        do throws(TLSFault) {
            try credentials.reload()
        } catch {
            let text = state.configuration.text(of: error)
            return state.logger.error(
                "SIGHUP: the TLS files were not reloaded, those from before stay in use: \(text)")
        }
        state.logger.info(
            "SIGHUP: the TLS files were reloaded",
            metadata: ["expires": "\(Self.expiry(of: credentials.context))"])
    }

    private static func expiry(of context: TLSContext) -> String {
        let writer = ByteWriter(capacity: 32)
        writer.append(timestamp: UInt64(max(0, context.expirySeconds)) * 1000)
        return writer.string()
    }

    private func reloadLevel() {
        guard let path = state.configuration.environmentFile else { return }
        guard let file = EnvironmentFile(path: path) else {
            return state.logger.error(
                "SIGHUP: ENV_FILE: \(path) cannot be read; the log level stays as it is")
        }
        guard let text = file.values["LOG_LEVEL"], !text.isEmpty else { return }
        guard let level = Configuration.LogLevel(rawValue: text) else {
            return state.logger.error(
                "SIGHUP: LOG_LEVEL in \(path) is not accepted; the log level stays as it is")
        }
        threshold.level = level.threshold
        state.logger.info("SIGHUP: the log level is set", metadata: ["log_level": "\(text)"])
    }

    private func reloadTenants(because cause: String) {
        do throws(StartupFailure) {
            let before = state.newestDirectory
            let after = before.successor(try reload.read())
            guard after.tenants.count <= Limits.tenantsMax else {
                return state.logger.error(
                    "\(cause): \(after.tenants.count) tenants, those that are gone included, are too many; nothing is reloaded"
                )
            }
            state.publish(after)
            for bell in bells { bell.ringIfAsleep() }
            state.logger.info(
                "\(cause): tenants were reloaded", metadata: ["tenants": "\(after.tenants.count)"])
        } catch {
            state.logger.error(
                "\(cause): tenants were not reloaded, those from before stay: \(error.message)")
        }
    }
}

/// Owner: the thread that waits for signals. The tenant directory as commands write it.
final class TenantReload {
    private let data: DataDirectory
    private let configuration: Configuration
    private let store: DirectoryStore
    private var version: Int64

    init(_ data: DataDirectory, _ configuration: Configuration) throws(StartupFailure) {
        self.data = data
        self.configuration = configuration
        store = try data.directoryStore()
        version = (try? store.version()) ?? 0
    }

    /// A directory that cannot be asked counts as changed: reading it says what is wrong.
    func hasChanged() -> Bool {
        let now = try? store.version()
        guard now == nil || now != version else { return false }
        version = now ?? version
        return true
    }

    func read() throws(StartupFailure) -> [Tenant] {
        // Asked first: what is written while the rows are read is seen the next time.
        version = (try? store.version()) ?? version
        return try data.tenants(in: store, configuration)
    }
}

extension Configuration.LogLevel {
    public var threshold: Logger.Level {
        switch self {
        case .DEBUG: .debug
        case .INFO: .info
        case .WARNING: .warning
        case .ERROR: .error
        case .CRITICAL: .critical
        }
    }
}

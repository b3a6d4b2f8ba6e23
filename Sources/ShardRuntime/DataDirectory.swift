// DATA_DIR: who may use it, and what is made in it at the first start.
//
//     lock           held by the service that runs on it
//     jwt_secret     signs tokens when JWT_SECRET is not set (mode 600)
//     messages.db    conversations and their logs
//     search.db      the index that conversations are searched by; made again when it is not there
//     directory.db   tenants and API keys

import Bytes
import CLinux
import ChatModel
import Glibc
import Identity
import Stores

/// Why the service cannot start, with the exit code of sysexits.h that says so.
public struct StartupFailure: Error, Sendable {
    public static let unavailable: Int32 = 69
    public static let internalError: Int32 = 70
    public static let configuration: Int32 = 78

    public let exitCode: Int32
    public let message: String

    public init(_ exitCode: Int32, _ message: String) {
        self.exitCode = exitCode
        self.message = message
    }
}

public struct DataDirectory: Sendable {
    public let path: String

    public var messages: String { path + "/messages.db" }
    public var search: String { path + "/search.db" }
    public var directory: String { path + "/directory.db" }
    private var secretFile: String { path + "/jwt_secret" }

    /// Makes the directory if it is not there.
    public init(path: String) throws(StartupFailure) {
        self.path = path
        var partial = path.hasPrefix("/") ? "/" : ""
        for component in path.split(separator: "/") {
            partial += (partial.isEmpty || partial.hasSuffix("/") ? "" : "/") + component
            if unsafe mkdir(partial, 0o700) != 0, errno != EEXIST {
                throw StartupFailure(
                    StartupFailure.configuration,
                    "DATA_DIR: \(path) cannot be made: \(Self.lastError())")
            }
        }
        if unsafe access(path, R_OK | W_OK | X_OK) != 0 {
            throw StartupFailure(
                StartupFailure.configuration,
                "DATA_DIR: \(path) is not a writable directory: \(Self.lastError())")
        }
    }

    private static func lastError() -> String {
        // Safety: strerror returns a C string that is read at once.
        unsafe String(cString: strerror(errno))
    }

    /// Keeps every other service off until this process ends.
    public func lock() throws(StartupFailure) {
        let result = unsafe cl_lock_file(path + "/lock")
        if result == -EWOULDBLOCK {
            throw StartupFailure(
                StartupFailure.unavailable, "DATA_DIR: \(path) is in use by another chat-service.")
        }
        if result < 0 {
            throw StartupFailure(
                StartupFailure.configuration,
                "DATA_DIR: \(path)/lock cannot be opened: errno \(-result)")
        }
    }

    /// What tokens are signed with: JWT_SECRET, or a secret that is made once and kept here.
    public func tokenSettings(
        _ configuration: Configuration
    ) throws(StartupFailure) -> TokenSettings {
        let secret: [UInt8]
        if let given = configuration.jwtSecret {
            secret = Array(given.utf8)
        } else {
            secret = try generatedSecret()
        }
        return TokenSettings(
            secret: secret, issuer: configuration.jwtIssuer, audience: configuration.jwtAudience,
            publicKeys: try configuration.loadPublicKeys())
    }

    private func generatedSecret() throws(StartupFailure) -> [UInt8] {
        let writer = ByteWriter(capacity: 128)
        let random = ByteBlock(Digests.random(48))
        Base64URL.encode(random.bytes, into: writer)
        let fresh = writer.bytes.array()
        // O_EXCL: of two processes that start together, one makes the file and both read it.
        let made = unsafe open(secretFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if made >= 0 {
            let written = unsafe fresh.withUnsafeBytes {
                unsafe Glibc.write(made, $0.baseAddress, $0.count)
            }
            fsync(made)
            Glibc.close(made)
            guard written == fresh.count else {
                throw StartupFailure(StartupFailure.unavailable, "\(secretFile) cannot be written.")
            }
            return fresh
        }
        let file = unsafe open(secretFile, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw StartupFailure(
                StartupFailure.configuration, "\(secretFile) cannot be read: \(Self.lastError())")
        }
        defer { Glibc.close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe read(file, $0.baseAddress, $0.count)
        }
        guard count >= 32 else {
            throw StartupFailure(
                StartupFailure.configuration,
                "\(secretFile) holds no secret; remove it to have one made.")
        }
        return Array(bytes[..<count])
    }

    /// The tenants. In development the first start makes `demo` (with guests) and `acme`.
    public func loadTenants(
        _ configuration: Configuration
    ) throws(StartupFailure) -> (TenantDirectory, isNew: Bool) {
        let store = try directoryStore()
        let isNew = try seed(store, configuration)
        return (TenantDirectory(try tenants(in: store, configuration)), isNew)
    }

    /// Opens `directory.db`, and makes it if it is not there.
    public func directoryStore() throws(StartupFailure) -> DirectoryStore {
        do throws(SQLiteError) {
            return try DirectoryStore(path: directory)
        } catch {
            throw unreadable(error)
        }
    }

    /// True when there was no tenant.
    private func seed(
        _ store: DirectoryStore, _ configuration: Configuration
    ) throws(StartupFailure) -> Bool {
        do throws(SQLiteError) {
            guard try store.tenants().isEmpty else { return false }
            guard configuration.environment == .development else { return true }
            try store.add(TenantRecord(name: "demo", allowsGuests: true))
            try store.add(TenantRecord(name: "acme", allowsGuests: false))
            return true
        } catch {
            throw unreadable(error)
        }
    }

    /// The tenants as stored, with the process's limits where they have none of their own.
    func tenants(
        in store: DirectoryStore, _ configuration: Configuration
    ) throws(StartupFailure) -> [Tenant] {
        let records: [TenantRecord]
        do throws(SQLiteError) {
            records = try store.tenants()
        } catch {
            throw unreadable(error)
        }
        guard records.count <= Limits.tenantsMax else {
            throw StartupFailure(
                StartupFailure.configuration,
                "\(directory) holds \(records.count) tenants; at most \(Limits.tenantsMax) fit.")
        }
        return records.enumerated().map { place, record in
            Tenant(
                index: TenantIndex(UInt16(place)), name: record.name,
                allowsGuests: record.allowsGuests,
                ratePerMinute: record.ratePerMinute ?? configuration.defaultRateLimit,
                burst: record.burst ?? configuration.burstLimit,
                userRatePerMinute: record.userRatePerMinute
                    ?? max(1, configuration.defaultRateLimit / 10),
                userBurst: record.userBurst ?? max(1, configuration.burstLimit / 10),
                runPolicy: record.runPolicy, allowedOrigins: record.allowedOrigins,
                autoCloseSeconds: record.autoCloseSeconds)
        }
    }

    private func unreadable(_ error: SQLiteError) -> StartupFailure {
        StartupFailure(
            StartupFailure.unavailable,
            "The tenant directory cannot be opened: \(error.description)")
    }
}

// Tenants and API keys on SQLite. Off the serving path: read at start, on reload, and when a core
// meets an API key that it does not know.

import Bytes
import CLinux
import ChatModel

/// An API key as it is stored: never the secret itself.
public struct APIKeyRecord: Sendable {
    public let id: UInt64
    public let tenant: String
    public let name: String
    public let roles: [Role]
    /// SHA-256 of the secret part.
    public let secretDigest: [UInt8]
    public let createdAtMilliseconds: UInt64
    public let isRevoked: Bool

    public init(
        id: UInt64, tenant: String, name: String, roles: [Role], secretDigest: [UInt8],
        createdAtMilliseconds: UInt64, isRevoked: Bool
    ) {
        self.id = id
        self.tenant = tenant
        self.name = name
        self.roles = roles
        self.secretDigest = secretDigest
        self.createdAtMilliseconds = createdAtMilliseconds
        self.isRevoked = isRevoked
    }
}

/// A tenant's settings as stored; nil limits mean the process's defaults.
public struct TenantRecord: Sendable {
    public var name: String
    public var allowsGuests: Bool
    public var ratePerMinute: Int?
    public var burst: Int?
    public var userRatePerMinute: Int?
    public var userBurst: Int?
    public var runPolicy: RunPolicy
    public var allowedOrigins: [String]
    /// Conversations without an entry for so long are closed; 0: never.
    public var autoCloseSeconds: UInt64 = 0

    public init(name: String, allowsGuests: Bool) {
        self.name = name
        self.allowsGuests = allowsGuests
        runPolicy = .queue
        allowedOrigins = []
    }
}

public final class DirectoryStore {
    private let connection: SQLiteConnection

    static let create = """
        CREATE TABLE IF NOT EXISTS tenants(
            position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
            guests INTEGER NOT NULL, rate INTEGER, burst INTEGER, user_rate INTEGER,
            user_burst INTEGER, run_policy INTEGER NOT NULL, origins TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS api_keys(
            id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, roles TEXT NOT NULL,
            digest BLOB NOT NULL, created_at INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0);
        """

    public init(path: String) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path)
        try connection.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        try connection.run(Self.create)
        try addColumn("auto_close", "INTEGER NOT NULL DEFAULT 0")
    }

    /// Files of earlier versions lack it. Another process may add it at the same moment.
    private func addColumn(_ name: String, _ type: String) throws(SQLiteError) {
        func isThere() throws(SQLiteError) -> Bool {
            let statement = try connection.prepare(
                "SELECT 1 FROM pragma_table_info('tenants') WHERE name=?")
            statement.bind(1, text: name)
            return try statement.step()
        }
        if try isThere() { return }
        do {
            try connection.run("ALTER TABLE tenants ADD COLUMN \(name) \(type)")
        } catch {
            guard try isThere() else { throw error }
        }
    }

    // MARK: Tenants

    public func tenants() throws(SQLiteError) -> [TenantRecord] {
        let statement = try connection.prepare(
            """
            SELECT name, guests, rate, burst, user_rate, user_burst, run_policy, origins,
            auto_close FROM tenants ORDER BY position
            """)
        var found: [TenantRecord] = []
        while try statement.step() {
            var record = TenantRecord(
                name: statement.text(0), allowsGuests: statement.integer(1) != 0)
            record.ratePerMinute = statement.isNull(2) ? nil : Int(statement.integer(2))
            record.burst = statement.isNull(3) ? nil : Int(statement.integer(3))
            record.userRatePerMinute = statement.isNull(4) ? nil : Int(statement.integer(4))
            record.userBurst = statement.isNull(5) ? nil : Int(statement.integer(5))
            record.runPolicy =
                RunPolicy(rawValue: UInt8(truncatingIfNeeded: statement.integer(6))) ?? .queue
            record.allowedOrigins = statement.text(7).split(separator: " ").map(String.init)
            record.autoCloseSeconds = statement.unsigned(8)
            found.append(record)
        }
        return found
    }

    public func add(_ tenant: TenantRecord) throws(SQLiteError) {
        let statement = try connection.prepare(
            """
            INSERT OR IGNORE INTO tenants(
                name, guests, rate, burst, user_rate, user_burst, run_policy, origins)
            VALUES(?,?,?,?,?,?,?,?)
            """)
        statement.bind(1, text: tenant.name)
        statement.bind(2, tenant.allowsGuests ? Int64(1) : Int64(0))
        for (index, value) in [
            tenant.ratePerMinute, tenant.burst, tenant.userRatePerMinute, tenant.userBurst,
        ].enumerated() {
            if let value {
                statement.bind(Int32(index) + 3, Int64(value))
            } else {
                statement.bindNull(Int32(index) + 3)
            }
        }
        statement.bind(7, Int64(tenant.runPolicy.rawValue))
        statement.bind(8, text: tenant.allowedOrigins.joined(separator: " "))
        _ = try statement.step()
    }

    /// False when there is no such tenant.
    public func setOrigins(_ origins: [String], tenant: String) throws(SQLiteError) -> Bool {
        let statement = try connection.prepare(
            "UPDATE tenants SET origins=? WHERE name=?")
        statement.bind(1, text: origins.joined(separator: " "))
        statement.bind(2, text: tenant)
        _ = try statement.step()
        return connection.changedRows > 0
    }

    /// False when there is no such tenant.
    public func setAutoClose(seconds: UInt64, tenant: String) throws(SQLiteError) -> Bool {
        let statement = try connection.prepare("UPDATE tenants SET auto_close=? WHERE name=?")
        statement.bind(1, seconds)
        statement.bind(2, text: tenant)
        _ = try statement.step()
        return connection.changedRows > 0
    }

    // MARK: API keys

    public func add(_ key: APIKeyRecord) throws(SQLiteError) {
        let statement = try connection.prepare(
            "INSERT INTO api_keys(id, tenant, name, roles, digest, created_at, revoked) VALUES(?,?,?,?,?,?,0)"
        )
        statement.bind(1, key.id)
        statement.bind(2, text: key.tenant)
        statement.bind(3, text: key.name)
        statement.bind(4, text: key.roles.map(\.rawValue).joined(separator: " "))
        statement.bind(5, blob: ByteBlock(key.secretDigest))
        statement.bind(6, key.createdAtMilliseconds)
        _ = try statement.step()
    }

    /// False when there is no such key.
    public func revokeAPIKey(id: UInt64) throws(SQLiteError) -> Bool {
        let statement = try connection.prepare("UPDATE api_keys SET revoked=1 WHERE id=?")
        statement.bind(1, id)
        _ = try statement.step()
        return connection.changedRows > 0
    }

    public func apiKey(id: UInt64) throws(SQLiteError) -> APIKeyRecord? {
        let statement = try connection.prepare("\(Self.selectKeys) WHERE id=?")
        statement.bind(1, id)
        return try statement.step() ? record(statement) : nil
    }

    public func apiKeys() throws(SQLiteError) -> [APIKeyRecord] {
        let statement = try connection.prepare("\(Self.selectKeys) ORDER BY created_at")
        var found: [APIKeyRecord] = []
        while try statement.step() { found.append(record(statement)) }
        return found
    }

    private static let selectKeys =
        "SELECT id, tenant, name, roles, digest, created_at, revoked FROM api_keys"

    private func record(_ statement: SQLiteStatement) -> APIKeyRecord {
        APIKeyRecord(
            id: statement.unsigned(0), tenant: statement.text(1), name: statement.text(2),
            roles: statement.text(3).split(separator: " ").compactMap {
                Role(rawValue: String($0))
            },
            secretDigest: statement.bytes(4).array(), createdAtMilliseconds: statement.unsigned(5),
            isRevoked: statement.integer(6) != 0)
    }
}

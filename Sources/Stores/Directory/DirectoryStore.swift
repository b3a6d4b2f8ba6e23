// Tenants and API keys on SQLite. Off the serving path: read at start, on reload, and when a core
// meets an API key that it does not know. Commands write to it while the service runs; the service
// sees by `version` that they did.

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
    /// Unix seconds; `UInt64.max`: never.
    public let expiresAtSeconds: UInt64
    public let isRevoked: Bool

    public init(
        id: UInt64, tenant: String, name: String, roles: [Role], secretDigest: [UInt8],
        createdAtMilliseconds: UInt64, expiresAtSeconds: UInt64 = .max, isRevoked: Bool
    ) {
        self.id = id
        self.tenant = tenant
        self.name = name
        self.roles = roles
        self.secretDigest = secretDigest
        self.createdAtMilliseconds = createdAtMilliseconds
        self.expiresAtSeconds = expiresAtSeconds
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
            digest BLOB NOT NULL, created_at INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,
            expires_at INTEGER NOT NULL DEFAULT 0);
        """

    public init(path: String) throws(SQLiteError) {
        connection = try SQLiteConnection(path: path)
        try connection.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        try connection.run(Self.create)
        try addColumn("expires_at", "INTEGER NOT NULL DEFAULT 0", to: "api_keys")
        try addColumn("auto_close", "INTEGER NOT NULL DEFAULT 0", to: "tenants")
    }

    /// Files of earlier versions lack it. Another process may add it at the same moment.
    private func addColumn(
        _ name: String, _ type: String, to table: String
    ) throws(SQLiteError) {
        func isThere() throws(SQLiteError) -> Bool {
            let statement = try connection.prepare(
                "SELECT 1 FROM pragma_table_info('\(table)') WHERE name=?")
            statement.bind(1, text: name)
            return try statement.step()
        }
        if try isThere() { return }
        do {
            try connection.run("ALTER TABLE \(table) ADD COLUMN \(name) \(type)")
        } catch {
            guard try isThere() else { throw error }
        }
    }

    /// Another number when another connection has written since; costs no read of a table.
    public func version() throws(SQLiteError) -> Int64 {
        let statement = try connection.prepare("PRAGMA data_version")
        return try statement.step() ? statement.integer(0) : 0
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

    /// False when there is one of that name already, which stays as it is.
    @discardableResult
    public func add(_ tenant: TenantRecord) throws(SQLiteError) -> Bool {
        let statement = try connection.prepare(
            """
            INSERT OR IGNORE INTO tenants(
                guests, rate, burst, user_rate, user_burst, run_policy, origins, auto_close, name)
            VALUES(?,?,?,?,?,?,?,?,?)
            """)
        bind(tenant, to: statement)
        _ = try statement.step()
        return connection.changedRows > 0
    }

    /// Everything but the name; false when there is no such tenant.
    public func update(_ tenant: TenantRecord) throws(SQLiteError) -> Bool {
        let statement = try connection.prepare(
            """
            UPDATE tenants SET guests=?, rate=?, burst=?, user_rate=?, user_burst=?, run_policy=?,
                origins=?, auto_close=? WHERE name=?
            """)
        bind(tenant, to: statement)
        _ = try statement.step()
        return connection.changedRows > 0
    }

    private func bind(_ tenant: TenantRecord, to statement: SQLiteStatement) {
        statement.bind(1, tenant.allowsGuests ? Int64(1) : Int64(0))
        let limits = [
            tenant.ratePerMinute, tenant.burst, tenant.userRatePerMinute, tenant.userBurst,
        ]
        for (place, value) in limits.enumerated() {
            if let value {
                statement.bind(Int32(place) + 2, Int64(value))
            } else {
                statement.bindNull(Int32(place) + 2)
            }
        }
        statement.bind(6, Int64(tenant.runPolicy.rawValue))
        statement.bind(7, text: tenant.allowedOrigins.joined(separator: " "))
        statement.bind(8, tenant.autoCloseSeconds)
        statement.bind(9, text: tenant.name)
    }

    // MARK: API keys

    public func add(_ key: APIKeyRecord) throws(SQLiteError) {
        let statement = try connection.prepare(
            """
            INSERT INTO api_keys(id, tenant, name, roles, digest, created_at, expires_at, revoked)
            VALUES(?,?,?,?,?,?,?,0)
            """)
        statement.bind(1, key.id)
        statement.bind(2, text: key.tenant)
        statement.bind(3, text: key.name)
        statement.bind(4, text: key.roles.map(\.rawValue).joined(separator: " "))
        statement.bind(5, blob: ByteBlock(key.secretDigest))
        statement.bind(6, key.createdAtMilliseconds)
        let isLimited = key.expiresAtSeconds <= UInt64(Int64.max)
        statement.bind(7, isLimited ? Int64(key.expiresAtSeconds) : 0)
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
        """
        SELECT id, tenant, name, roles, digest, created_at, revoked, expires_at FROM api_keys
        """

    private func record(_ statement: SQLiteStatement) -> APIKeyRecord {
        let expiry = statement.integer(7)
        return APIKeyRecord(
            id: statement.unsigned(0), tenant: statement.text(1), name: statement.text(2),
            roles: statement.text(3).split(separator: " ").compactMap {
                Role(rawValue: String($0))
            },
            secretDigest: statement.bytes(4).array(), createdAtMilliseconds: statement.unsigned(5),
            expiresAtSeconds: expiry > 0 ? UInt64(expiry) : .max,
            isRevoked: statement.integer(6) != 0)
    }
}

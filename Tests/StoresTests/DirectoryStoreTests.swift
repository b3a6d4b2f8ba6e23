import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct DirectoryStoreTests {
    private let files = TemporaryDirectory()
    private func open() throws -> DirectoryStore {
        try DirectoryStore(path: files.file("directory.db"))
    }

    private func key(_ id: UInt64, roles: [Role] = [.service], at time: UInt64 = 1) -> APIKeyRecord
    {
        APIKeyRecord(
            id: id, tenant: "acme", name: "né", roles: roles, secretDigest: Array(0...31),
            createdAtMilliseconds: time, isRevoked: false)
    }

    @Test func `Tenants come back with all their settings, in the order of their making`() throws {
        var full = TenantRecord(name: "b-full", allowsGuests: true)
        full.ratePerMinute = 1
        full.burst = 2
        full.userRatePerMinute = 3
        full.userBurst = 4
        full.runPolicy = .restart
        full.allowedOrigins = ["https://a.example", "*"]
        try open().add(full)
        try open().add(TenantRecord(name: "a-plain", allowsGuests: false))
        let found = try open().tenants()
        #expect(
            found.map(\.name) == ["b-full", "a-plain"], "an index must not move when one is added")
        #expect(found[0].allowsGuests && !found[1].allowsGuests)
        #expect(found[0].ratePerMinute == 1 && found[0].burst == 2)
        #expect(found[0].userRatePerMinute == 3 && found[0].userBurst == 4)
        #expect(found[0].runPolicy == .restart && found[1].runPolicy == .queue)
        #expect(
            found[0].allowedOrigins == ["https://a.example", "*"] && found[1].allowedOrigins == [])
        #expect(found[1].ratePerMinute == nil && found[1].burst == nil)
        #expect(found[1].userRatePerMinute == nil && found[1].userBurst == nil)
    }

    @Test func `When conversations are closed is kept, also in a file of before`() throws {
        try SQLiteConnection(path: files.file("directory.db")).run(
            """
            CREATE TABLE tenants(
                position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
                guests INTEGER NOT NULL, rate INTEGER, burst INTEGER, user_rate INTEGER,
                user_burst INTEGER, run_policy INTEGER NOT NULL, origins TEXT NOT NULL);
            INSERT INTO tenants(name, guests, run_policy, origins) VALUES('acme', 1, 0, '*');
            """)
        #expect(try open().tenants().map(\.autoCloseSeconds) == [0])
        var changed = TenantRecord(name: "acme", allowsGuests: false)
        changed.autoCloseSeconds = 90
        changed.allowedOrigins = ["*"]
        #expect(try open().update(changed))
        changed.name = "globex"
        #expect(try open().update(changed) == false)
        #expect(try open().tenants().map(\.autoCloseSeconds) == [90])
        #expect(try open().tenants().map(\.allowedOrigins) == [["*"]])
    }

    @Test func `A tenant that exists is not changed by another of its name`() throws {
        let store = try open()
        try store.add(TenantRecord(name: "acme", allowsGuests: true))
        try store.add(TenantRecord(name: "acme", allowsGuests: false))
        #expect(try store.tenants().map(\.allowsGuests) == [true])
    }

    @Test func `A change replaces everything but the name, and only of a tenant that is there`()
        throws
    {
        let store = try open()
        var record = TenantRecord(name: "acme", allowsGuests: true)
        record.ratePerMinute = 5
        record.allowedOrigins = ["*"]
        #expect(try store.add(record))
        #expect(try !store.add(record))
        record.allowsGuests = false
        record.ratePerMinute = nil
        record.userBurst = 9
        record.runPolicy = .burst
        record.allowedOrigins = []
        #expect(try store.update(record))
        let found = try open().tenants()
        #expect(found.count == 1 && !found[0].allowsGuests && found[0].ratePerMinute == nil)
        #expect(found[0].userBurst == 9 && found[0].runPolicy == .burst)
        #expect(found[0].allowedOrigins == [])
        #expect(try !store.update(TenantRecord(name: "nobody", allowsGuests: true)))
        #expect(try store.tenants().map(\.name) == ["acme"])
    }

    @Test func `Another's write changes the version, one's own and a read do not`() throws {
        let (store, other) = (try open(), try open())
        let before = try store.version()
        _ = try store.tenants()
        try store.add(TenantRecord(name: "own", allowsGuests: true))
        #expect(try store.version() == before)
        try other.add(TenantRecord(name: "others", allowsGuests: true))
        let after = try store.version()
        #expect(after != before)
        #expect(try store.version() == after)
        try other.add(key(7))
        #expect(try store.version() != after)
    }

    @Test func `A directory of the first version gets what keys have now, and keeps its keys`()
        throws
    {
        let path = files.file("directory.db")
        try SQLiteConnection(path: path).run(
            """
            CREATE TABLE api_keys(
                id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL,
                roles TEXT NOT NULL, digest BLOB NOT NULL, created_at INTEGER NOT NULL,
                revoked INTEGER NOT NULL DEFAULT 0);
            INSERT INTO api_keys VALUES(7, 'acme', 'old', 'service', x'00', 1, 0);
            """)
        let store = try open()
        #expect(try store.apiKey(id: 7)?.expiresAtSeconds == .max)
        let late = APIKeyRecord(
            id: 8, tenant: "acme", name: "new", roles: [.agent], secretDigest: [1],
            createdAtMilliseconds: 2, expiresAtSeconds: 99, isRevoked: false)
        try store.add(late)
        #expect(try open().apiKeys().map(\.expiresAtSeconds) == [.max, 99])
    }

    @Test func `An unknown run policy is read as the default`() throws {
        let store = try open()
        try store.add(TenantRecord(name: "acme", allowsGuests: true))
        try SQLiteConnection(path: files.file("directory.db")).run(
            "UPDATE tenants SET run_policy=77")
        #expect(try store.tenants().map(\.runPolicy) == [.queue])
    }

    @Test func `A key is found by its id until it is revoked, and then as revoked`() throws {
        let store = try open()
        try store.add(key(7, roles: [.service, .ops]))
        let found = try store.apiKey(id: 7)
        #expect(found?.tenant == "acme" && found?.name == "né" && found?.roles == [.service, .ops])
        #expect(found?.secretDigest == Array(0...31) && found?.isRevoked == false)
        #expect(try store.revokeAPIKey(id: 7))
        #expect(try open().apiKey(id: 7)?.isRevoked == true)
    }

    @Test(arguments: [0, 6, 8, UInt64(Int64.max), UInt64.max])
    func `A key that was never made is not found and not revoked`(_ id: UInt64) throws {
        let store = try open()
        try store.add(key(7))
        #expect(try store.apiKey(id: id) == nil)
        #expect(try !store.revokeAPIKey(id: id))
        #expect(try store.apiKey(id: 7)?.isRevoked == false)
    }

    @Test func `The same id is not given twice`() throws {
        let store = try open()
        try store.add(key(7))
        #expect(throws: SQLiteError.self) { try store.add(key(7, roles: [.admin])) }
        #expect(try store.apiKey(id: 7)?.roles == [.service])
    }

    @Test func `Keys are listed by their age, and an unknown role gives nothing`() throws {
        let store = try open()
        for (id, time) in [(1, 30), (2, 10), (3, 20)] as [(UInt64, UInt64)] {
            try store.add(key(id, at: time))
        }
        #expect(try store.apiKeys().map(\.id) == [2, 3, 1])
        try SQLiteConnection(path: files.file("directory.db")).run(
            "UPDATE api_keys SET roles='root service'")
        #expect(try store.apiKey(id: 1)?.roles == [.service])
    }

    @Test func `A core's look-up goes through the message store's reader`() throws {
        try open().add(key(7))
        let rig = try Rig(files)
        guard case .apiKey(let id, let record)? = rig.read(.apiKey(id: 7)) else {
            Issue.record("a key was asked for")
            return
        }
        #expect(id == 7 && record?.tenant == "acme")
        guard case .apiKey(_, let missing)? = rig.read(.apiKey(id: 8)) else { return }
        #expect(missing == nil)
    }
}

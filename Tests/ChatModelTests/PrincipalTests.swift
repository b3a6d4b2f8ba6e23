import Bytes
import Testing

@testable import ChatModel

private func key(_ tenant: UInt16, _ user: String) -> UserKey {
    UserKey(tenant: TenantIndex(tenant), userID: ByteBlock(user))
}

private func shardKey(_ tenant: String, _ user: String) -> UInt16 {
    let (name, id) = (ByteBlock(tenant), ByteBlock(user))
    return UserKey.shardKey(tenantName: name.bytes, userID: id.bytes)
}

@Suite struct UserKeyTests {
    @Test func `Keys of the same tenant and user are equal, whatever block holds the name`() {
        #expect(key(1, "ann") == key(1, "ann"))
        #expect(Set([key(1, "ann"), key(1, "ann")]).count == 1)
        let block = ByteBlock("ann")
        #expect(
            UserKey(tenant: TenantIndex(1), userID: block)
                == UserKey(tenant: TenantIndex(1), userID: block))
    }

    @Test(arguments: ["an", "anna", "Ann", "ann ", "ann\0", "", "bob", "ann\u{301}"])
    func `Another name is another user`(_ other: String) {
        #expect(key(1, "ann") != key(1, other))
    }

    @Test func `The same name in another tenant is another user`() {
        #expect(key(1, "ann") != key(2, "ann"))
        #expect(key(0, "ann") != key(.max, "ann"))
        #expect(Set((UInt16(0)..<100).map { key($0, "ann") }).count == 100)
    }

    @Test func `Names that differ in one byte anywhere are different users`() {
        let name = Array("a-user-id-of-twenty-seven-b".utf8)
        for place in name.indices {
            var other = name
            other[place] ^= 1
            #expect(
                UserKey(tenant: TenantIndex(0), userID: ByteBlock(name))
                    != UserKey(tenant: TenantIndex(0), userID: ByteBlock(other)))
        }
    }

    @Test func `A user's shard key stays the same from process to process`() {
        // Stored identifiers carry it: were it to change, ids would name the wrong owner core.
        #expect(shardKey("acme", "user123") == shardKey("acme", "user123"))
        #expect(shardKey("acme", "user123") == 22277)
        #expect(shardKey("globex", "user123") == 49966)
        #expect(shardKey("acme", "") == 45707)
    }

    @Test func `Shard keys depend on both names and spread evenly over the cores`() {
        #expect(shardKey("a", "b") != shardKey("b", "a"))
        for cores in [2, 3, 8, 64] {
            var counts = [Int](repeating: 0, count: cores)
            for user in 0..<16_000 { counts[Int(shardKey("acme", "user\(user)")) % cores] += 1 }
            let fair = 16_000 / cores
            #expect(
                counts.allSatisfy { $0 > fair / 2 && $0 < fair * 2 }, "\(cores) cores: \(counts)")
        }
    }
}

@Suite struct RoleTests {
    private func principal(_ permissions: Permissions) -> Principal {
        Principal(
            tenant: TenantIndex(0), subject: ByteBlock("x"), permissions: permissions,
            expiresAtSeconds: .max)
    }

    @Test func `An end user may send and read, and is held to its own name`() {
        let user = principal(Role.endUser.permissions)
        #expect(
            user.may(.messageSend) && user.may(.conversationRead) && user.may(.conversationList))
        let forbidden: [Permissions] = [
            .anyUser, .admin, .opsRead, .messageReply, .conversationManage,
        ]
        for permission in forbidden { #expect(!user.may(permission)) }
    }

    @Test func `Operators read numbers and nothing of anybody's conversation`() {
        let ops = principal(Role.ops.permissions)
        #expect(ops.may(.opsRead))
        let forbidden: [Permissions] = [
            .anyUser, .admin, .messageSend, .messageReply, .conversationRead, .conversationList,
            .conversationManage, .sessionRead,
        ]
        for permission in forbidden { #expect(!ops.may(permission)) }
    }

    @Test func `Only an administrator administrates, and only it and operators read numbers`() {
        for role in Role.allCases {
            #expect(role.permissions.contains(.admin) == (role == .admin))
            #expect(role.permissions.contains(.opsRead) == (role == .admin || role == .ops))
            #expect(
                role.permissions.contains(.anyUser)
                    == [.agent, .service, .admin].contains(role))
        }
    }

    @Test func `Several permissions are had only when all of them are`() {
        let user = principal([.messageSend, .conversationRead])
        #expect(user.may([.messageSend, .conversationRead]))
        #expect(!user.may([.messageSend, .admin]))
        #expect(!principal([]).may(.messageSend))
    }

    @Test(arguments: ["", "End_user", "enduser", "end-user", "root", "admin ", "superuser"])
    func `An unknown role name is no role`(_ name: String) {
        #expect(Role(rawValue: name) == nil)
    }
}

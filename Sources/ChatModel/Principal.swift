import Bytes

/// A tenant's place in the directory of this process; stable while it runs.
public struct TenantIndex: Hashable, Sendable, BitwiseCopyable {
    public let value: UInt16
    @inlinable public init(_ value: UInt16) { self.value = value }
}

/// What a principal may do. A set of bits, since it is asked on every request.
public struct Permissions: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let messageSend = Permissions(rawValue: 1 << 0)
    public static let conversationRead = Permissions(rawValue: 1 << 1)
    public static let conversationList = Permissions(rawValue: 1 << 2)
    public static let conversationManage = Permissions(rawValue: 1 << 3)
    public static let messageReply = Permissions(rawValue: 1 << 4)
    public static let sessionRead = Permissions(rawValue: 1 << 5)
    public static let opsRead = Permissions(rawValue: 1 << 6)
    public static let admin = Permissions(rawValue: 1 << 7)
    /// May act for any user of the tenant; without it only for itself.
    public static let anyUser = Permissions(rawValue: 1 << 8)
}

/// The roles that a token's `roles` claim or an API key may name.
public enum Role: String, Sendable, CaseIterable {
    case endUser = "end_user"
    case agent
    case service
    case admin
    case ops

    public var permissions: Permissions {
        switch self {
        case .endUser: [.messageSend, .conversationRead, .conversationList, .sessionRead]
        case .agent:
            [
                .messageSend, .conversationRead, .conversationList, .conversationManage,
                .messageReply, .sessionRead,
                .anyUser,
            ]
        case .service:
            [
                .messageSend, .conversationRead, .conversationList, .messageReply, .sessionRead,
                .anyUser,
            ]
        case .admin:
            [
                .messageSend, .conversationRead, .conversationList, .conversationManage,
                .messageReply, .sessionRead,
                .opsRead, .admin, .anyUser,
            ]
        case .ops: [.opsRead]
        }
    }
}

/// Who makes a request, as its verified credential says.
public final class Principal: Sendable {
    public let tenant: TenantIndex
    public let subject: ByteBlock
    public let permissions: Permissions
    /// Unix seconds; `UInt64.max` when the credential does not expire.
    public let expiresAtSeconds: UInt64
    /// The API key that it shows, which may be revoked; nil for a token.
    public let apiKey: UInt64?

    public init(
        tenant: TenantIndex, subject: ByteBlock, permissions: Permissions, expiresAtSeconds: UInt64,
        apiKey: UInt64? = nil
    ) {
        self.apiKey = apiKey
        self.tenant = tenant
        self.subject = subject
        self.permissions = permissions
        self.expiresAtSeconds = expiresAtSeconds
    }

    /// Who may write internal entries may read them; an end user has neither right.
    public var seesInternal: Bool { may(.messageReply) }

    public func may(_ permission: Permissions) -> Bool { permissions.contains(permission) }
}

/// A user of a tenant; the key of everything that belongs to somebody.
public struct UserKey: Hashable, Sendable {
    public let tenant: TenantIndex
    public let userID: ByteBlock
    private let hashed: UInt64

    public init(tenant: TenantIndex, userID: ByteBlock) {
        self.tenant = tenant
        self.userID = userID
        hashed = userID.bytes.hash(seed: UInt64(tenant.value) &* 0x9E37_79B9 &+ 0x5AFE)
    }

    /// See `Identifier`. The same in every process, so that ids keep their owner core across
    /// restarts with the same number of cores; it depends on the tenant's name, not on its index.
    public static func shardKey(tenantName: RawSpan, userID: RawSpan) -> UInt16 {
        UInt16(truncatingIfNeeded: userID.hash(seed: tenantName.hash(seed: 0)) >> 24)
    }

    public static func shardKey(tenant: ByteBlock, user: ByteBlock) -> UInt16 {
        shardKey(tenantName: tenant.bytes, userID: user.bytes)
    }

    public static func == (a: UserKey, b: UserKey) -> Bool {
        a.hashed == b.hashed && a.tenant == b.tenant
            && a.userID.equals(b.userID)
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(hashed) }
}

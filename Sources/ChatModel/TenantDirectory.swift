import Bytes

/// What happens to a message that arrives while a run is going on (contract section 5).
public enum RunPolicy: UInt8, Sendable {
    /// Answered in turn, one run each.
    case queue = 0
    /// Waiting messages are merged into one run after the current one.
    case burst
    /// The current run is cancelled and its text merged with the new one.
    case restart

    public init?(name: String) {
        switch name {
        case "queue": self = .queue
        case "burst": self = .burst
        case "restart": self = .restart
        default: return nil
        }
    }

    public var name: String {
        switch self {
        case .queue: "queue"
        case .burst: "burst"
        case .restart: "restart"
        }
    }
}

/// A tenant as the serving path needs it.
public struct Tenant: Sendable {
    public let index: TenantIndex
    public let name: ByteBlock
    public let nameText: String
    public let allowsGuests: Bool
    /// Requests a minute and bucket size of the whole tenant, and of one user.
    public let ratePerMinute: Int
    public let burst: Int
    public let userRatePerMinute: Int
    public let userBurst: Int
    public let runPolicy: RunPolicy
    /// Origins that browsers may call from; `*` allows all.
    public let allowedOrigins: [String]
    /// A conversation without an entry for so long is closed; 0: never.
    public let autoCloseSeconds: UInt64

    public init(
        index: TenantIndex, name: String, allowsGuests: Bool, ratePerMinute: Int, burst: Int,
        userRatePerMinute: Int, userBurst: Int, runPolicy: RunPolicy, allowedOrigins: [String],
        autoCloseSeconds: UInt64 = 0
    ) {
        self.autoCloseSeconds = autoCloseSeconds
        self.index = index
        self.name = ByteBlock(name)
        nameText = name
        self.allowsGuests = allowsGuests
        self.ratePerMinute = ratePerMinute
        self.burst = burst
        self.userRatePerMinute = userRatePerMinute
        self.userBurst = userBurst
        self.runPolicy = runPolicy
        self.allowedOrigins = allowedOrigins
    }

    /// Whether a page of this origin, as a browser writes it, may call for this tenant.
    public func allows(origin: String) -> Bool {
        allowedOrigins.contains { $0 == "*" || $0 == origin }
    }
}

/// All tenants, immutable; a reload makes a new one. An index never changes its meaning.
public final class TenantDirectory: Sendable {
    public let tenants: [Tenant]
    private let byHash: [UInt64: Int]
    private let byName: [String: Int]

    public init(_ tenants: [Tenant]) {
        self.tenants = tenants
        byName = Dictionary(uniqueKeysWithValues: tenants.enumerated().map { ($1.nameText, $0) })
        var places: [UInt64: Int] = [:]
        for (place, tenant) in tenants.enumerated() {
            let name = tenant.name
            places[name.bytes.hash(seed: 0)] = place
        }
        byHash = places
    }

    public subscript(index: TenantIndex) -> Tenant { tenants[Int(index.value)] }

    public func find(_ name: RawSpan) -> Tenant? {
        guard let place = byHash[name.hash(seed: 0)] else { return nil }
        let candidate = tenants[place].name
        return candidate.bytes.equals(name) ? tenants[place] : nil
    }

    public func find(named name: String) -> Tenant? { byName[name].map { tenants[$0] } }
}

import Bytes
import Synchronization

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

    func with(index: TenantIndex) -> Tenant {
        Tenant(
            index: index, name: nameText, allowsGuests: allowsGuests, ratePerMinute: ratePerMinute,
            burst: burst, userRatePerMinute: userRatePerMinute, userBurst: userBurst,
            runPolicy: runPolicy, allowedOrigins: allowedOrigins)
    }

    /// Whether a page of this origin, as a browser writes it, may call for this tenant.
    public func allows(origin: String) -> Bool {
        allowedOrigins.contains { $0 == "*" || $0 == origin }
    }
}

/// All tenants as they were at one time, immutable. A reload makes a successor and hangs it behind
/// the one before; whoever holds a directory walks on to the newest when it suits him, which costs
/// one atomic load. A tenant keeps its index for as long as the process lives, even when its row is
/// gone: it is then only found by index, for what is under way.
public final class TenantDirectory: Sendable {
    public let tenants: [Tenant]
    private let byHash: [UInt64: Int]
    private let byName: [String: Int]
    private let next = AtomicLazyReference<TenantDirectory>()

    /// `gone`: places of tenants that are not to be found by name any more.
    public init(_ tenants: [Tenant], gone: Set<Int> = []) {
        self.tenants = tenants
        var names: [String: Int] = [:]
        var places: [UInt64: Int] = [:]
        for (place, tenant) in tenants.enumerated() where !gone.contains(place) {
            precondition(names[tenant.nameText] == nil, "a tenant's name is unique")
            names[tenant.nameText] = place
            let name = tenant.name
            places[name.bytes.hash(seed: 0)] = place
        }
        byName = names
        byHash = places
    }

    /// What follows this directory: `tenants` as they are now, in any order, told by their names.
    /// Known ones keep their index, new ones get the next.
    public func successor(_ tenants: [Tenant]) -> TenantDirectory {
        var now = Dictionary(uniqueKeysWithValues: tenants.map { ($0.nameText, $0) })
        var list = self.tenants
        var gone: Set<Int> = []
        for (place, tenant) in list.enumerated() {
            if let changed = now.removeValue(forKey: tenant.nameText) {
                list[place] = changed.with(index: tenant.index)
            } else {
                gone.insert(place)
            }
        }
        for tenant in tenants where now[tenant.nameText] != nil {
            list.append(tenant.with(index: TenantIndex(UInt16(list.count))))
        }
        return TenantDirectory(list, gone: gone)
    }

    /// Makes `successor` the newest. Only the thread that reloads calls this, on the newest.
    public func publish(_ successor: TenantDirectory) {
        let first = next.storeIfNil(successor)
        precondition(first === successor, "a directory has one successor")
    }

    public var hasSuccessor: Bool { next.load() != nil }

    public var newest: TenantDirectory {
        var directory = self
        while let next = directory.next.load() { directory = next }
        return directory
    }

    public subscript(index: TenantIndex) -> Tenant { tenants[Int(index.value)] }

    public func find(_ name: RawSpan) -> Tenant? {
        guard let place = byHash[name.hash(seed: 0)] else { return nil }
        let candidate = tenants[place].name
        return candidate.bytes.equals(name) ? tenants[place] : nil
    }

    public func find(named name: String) -> Tenant? { byName[name].map { tenants[$0] } }
}

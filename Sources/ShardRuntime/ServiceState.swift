import Bytes
import ChatModel
import Identity
import Logging
import Observability
import Reactor
import Rings
import Search
import Stores
import Synchronization

/// What all cores share, immutable but for a few flags.
public final class ServiceState: Sendable {
    public static let version: StaticString = "0.1.0"

    public let configuration: Configuration
    public let tokenSettings: TokenSettings
    /// nil: plain text.
    let credentials: TLSCredentials?
    let limiter: RateLimiter
    let ledger: ConnectionLedger
    let turnedAwayPerShardMax: Int
    let coreCount: Int
    let backendName: String
    let startedNanoseconds: UInt64
    let startedMilliseconds: UInt64
    let shardMetrics: [ShardMetrics]
    let storeMetrics: StoreMetrics
    let searchMetrics: SearchMetrics
    let logger: Logger
    let entropy: Entropy
    let node: String
    /// Only for who has no directory of his own to follow: a core starts with this one, and the
    /// reload goes on from it.
    private let newest: Mutex<TenantDirectory>
    private let ready = Atomic<Bool>(false)
    private let draining = Atomic<Bool>(false)
    private let listenersClosed = Atomic<Bool>(false)
    private let ending = Atomic<Bool>(false)
    private let drainedCores = Atomic<Int>(0)

    package init(
        configuration: Configuration, directory: TenantDirectory, tokenSettings: TokenSettings,
        coreCount: Int,
        backendName: String, clock: LoopClock, storeMetrics: StoreMetrics,
        searchMetrics: SearchMetrics = SearchMetrics(), logger: Logger,
        entropy: Entropy = .kernel, credentials: TLSCredentials? = nil,
        connectionsMax: Int = Limits.connectionsPerShardMax,
        turnedAwayPerShardMax: Int = Limits.turnedAwayPerShardMax
    ) {
        self.entropy = entropy
        self.configuration = configuration
        newest = Mutex(directory)
        self.tokenSettings = tokenSettings
        self.coreCount = coreCount
        self.backendName = backendName
        self.storeMetrics = storeMetrics
        self.searchMetrics = searchMetrics
        self.logger = logger
        self.credentials = credentials
        limiter = RateLimiter(
            tenantCountMax: Limits.tenantsMax, seed: entropy.seed())
        self.turnedAwayPerShardMax = turnedAwayPerShardMax
        ledger = ConnectionLedger(
            connectionsMax: connectionsMax,
            connectionsPerAddressMax: configuration.bounds.connectionsPerAddressMax
                ?? max(1, connectionsMax / 4 * 3),
            seed: entropy.seed())
        startedNanoseconds = clock.nanoseconds
        startedMilliseconds = clock.milliseconds
        shardMetrics = (0..<coreCount).map { _ in ShardMetrics() }
        let writer = ByteWriter(capacity: 16)
        writer.append(hex: entropy.seed(), digits: 8)
        node = writer.string()
    }

    var newestDirectory: TenantDirectory { newest.withLock { $0 } }

    /// Every holder of an earlier directory finds this one when he looks.
    func publish(_ directory: TenantDirectory) {
        newest.withLock { current in
            current.publish(directory)
            current = directory
        }
    }

    /// The cores accept connections.
    var isReady: Bool { ready.load(ordering: .acquiring) }
    package func setReady() { ready.store(true, ordering: .releasing) }

    /// SIGTERM came: `/readyz` says no.
    var isDraining: Bool { draining.load(ordering: .acquiring) }
    package func setDraining() { draining.store(true, ordering: .releasing) }

    /// The delay is over: listeners close, sockets are told to go.
    var isClosing: Bool { listenersClosed.load(ordering: .acquiring) }
    package func setClosing() { listenersClosed.store(true, ordering: .releasing) }

    /// Every core has finished: the loops may end.
    var isEnding: Bool { ending.load(ordering: .acquiring) }
    func setEnding() { ending.store(true, ordering: .releasing) }

    func coreDidDrain() { drainedCores.wrappingAdd(1, ordering: .acquiringAndReleasing) }
    package var areAllDrained: Bool { drainedCores.load(ordering: .acquiring) >= coreCount }
}

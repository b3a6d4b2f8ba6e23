// The whole process: made, started, drained, ended.

import Bytes
import CLinux
import ChatModel
import Glibc
import Identity
import Logging
import Observability
import Reactor
import Rings
import Search
import Stores

public final class Service {
    let state: ServiceState
    private let store: MessageStore
    /// Of the thread that waits for signals.
    let reload: TenantReload
    let threshold: LogThreshold
    private let search: RunningSearch
    private var threads: [WorkerThread] = []
    let bells: [Doorbell]
    public let port: UInt16
    public let isFirstStart: Bool

    /// Opens the stores and the listeners and starts the cores. Throws what is to be told and the
    /// exit code. `threshold` is the logger's own: a reload moves it.
    public init(
        _ configuration: Configuration, logger: Logger, threshold: LogThreshold
    ) throws(StartupFailure) {
        self.threshold = threshold
        let credentials = try configuration.loadCredentials()
        let data = try DataDirectory(path: configuration.dataDirectory)
        try data.lock()
        let descriptors = Int(cl_raise_descriptor_limit())
        // Made first: what a command writes while the rows are read is seen later.
        reload = try TenantReload(data, configuration)
        let (directory, isNew) = try data.loadTenants(configuration)
        isFirstStart = isNew
        let settings = try data.tokenSettings(configuration)
        let cores =
            configuration.reactorThreads == 0
            ? Int(cl_processor_count()) : configuration.reactorThreads
        let connectionsMax = try configuration.connectionsMax(
            descriptors: descriptors, cores: cores)
        let opened = try Self.openListeners(configuration, count: cores)
        port = opened.port
        bells = (0..<cores).map { _ in Doorbell.make() }
        store = MessageStore()
        let log = logger
        let tell = { @Sendable (notice: StoreNotice) in
            switch notice {
            case .trouble(let text): log.error("\(text)")
            case .relief(let text): log.warning("\(text)")
            }
        }
        let searchable = ConversationSearch(path: data.search)
        let clients: [StoreClient]
        do throws(SQLiteError) {
            clients = try store.start(
                path: data.messages, directoryPath: data.directory, directory: directory,
                coreBells: bells,
                readerCount: 2, search: searchable, log: tell)
            search = searchable.start(try store.follower(path: data.messages), tell: tell)
        } catch {
            throw StartupFailure(
                StartupFailure.unavailable,
                "The message store cannot be opened: \(error.description)")
        }
        let clock = LoopClock()
        state = ServiceState(
            configuration: configuration, directory: directory, tokenSettings: settings,
            coreCount: cores,
            backendName: EpollBackend.name, clock: clock, storeMetrics: store.metrics,
            searchMetrics: searchable.metrics, logger: logger, credentials: credentials,
            connectionsMax: connectionsMax,
            turnedAwayPerShardMax: min(
                Limits.turnedAwayPerShardMax, (descriptors - connectionsMax) / 4 / cores))
        startCores(opened.listeners, clients)
        state.setReady()
    }

    private static func openListeners(
        _ configuration: Configuration, count: Int
    ) throws(StartupFailure) -> (listeners: [Int32], port: UInt16) {
        var listeners: [Int32] = []
        var port = configuration.port
        for _ in 0..<count {
            let descriptor = unsafe cl_listen(configuration.host, port, 4096)
            guard descriptor >= 0 else {
                for open in listeners { Glibc.close(open) }
                // Safety: strerror returns a C string that is read at once.
                let reason = unsafe String(cString: strerror(-descriptor))
                throw StartupFailure(
                    StartupFailure.unavailable,
                    "HOST, PORT: cannot listen on \(configuration.host):\(port): \(reason)")
            }
            listeners.append(descriptor)
            if port == 0 { port = UInt16(cl_local_port(descriptor)) }
        }
        return (listeners, port)
    }

    private func startCores(_ listeners: [Int32], _ clients: [StoreClient]) {
        let cores = listeners.count
        let mesh = Mesh(bells: bells, capacity: Limits.meshRingCapacity)
        let processors = Int(cl_processor_count())
        for index in 0..<cores {
            let parts = ShardParts(
                index: index, bell: bells[index], listener: listeners[index], store: clients[index],
                mesh: mesh)
            let handover = Handover(parts)
            let state = state
            threads.append(
                WorkerThread(name: "core-\(index)", processor: cores <= processors ? index : nil) {
                    Self.runCore(handover.worker, state)
                })
        }
    }

    /// A core's thread: the backend is made on the thread that uses it (io_uring demands it).
    private static func runCore(_ parts: ShardParts, _ state: ServiceState) {
        let clock = LoopClock()
        let operations = OperationQueue()
        let buffers = ReceivePool()
        guard let backend = EpollBackend(pool: buffers) else {
            preconditionFailure("the kernel refused an epoll instance")
        }
        let shard = Shard(
            parts, service: state, clock: clock, operations: operations, buffers: buffers)
        var loop = EventLoop(backend, operations: operations, clock: clock, doorbell: parts.bell)
        loop.run(shard)
    }

    public var scheme: String { state.credentials == nil ? "http" : "https" }

    /// The record that says where the service is, as one line of JSON.
    public func readyLine() -> String {
        let host = state.configuration.host
        let shown = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host
        return """
            {"ts":"\(Self.now())","level":"INFO","logger":"chat-service","msg":"ready",\
            "event":"ready","url":"\(scheme)://\(shown):\(port)","backend":"\(state.backendName)",\
            "threads":\(state.coreCount),"stores":{"messages":"sqlite","shared":"memory","directory":"sqlite"},\
            "version":"\(ServiceState.version)","pid":\(getpid())}
            """
    }

    private static func now() -> String {
        let writer = ByteWriter(capacity: 32)
        writer.append(timestamp: cl_realtime_milliseconds())
        return writer.string()
    }

    public func issueToken(
        tenant: String, subject: String, roles: [Role], seconds: UInt64
    ) -> String {
        let now = cl_realtime_milliseconds() / 1000
        return TokenIssuer(settings: state.tokenSettings).issue(
            tenant: tenant, subject: subject, roles: roles, issuedAtSeconds: now,
            expiresAtSeconds: now + seconds)
    }

    /// SIGTERM: finishes what is open, within DRAIN_TIMEOUT_MS. True when everything was finished.
    public func drain() -> Bool {
        // The end itself takes time too: the store's last batch, threads, files.
        let timeout = state.configuration.drainTimeoutMilliseconds
        let limit = timeout - min(timeout / 4, Self.endingMilliseconds)
        let deadline = cl_monotonic_nanoseconds() + limit * 1_000_000
        state.setDraining()
        Self.pause(milliseconds: min(state.configuration.drainDelayMilliseconds, limit))
        state.setClosing()
        while !state.areAllDrained, cl_monotonic_nanoseconds() < deadline {
            for bell in bells { bell.ringIfAsleep() }
            Self.pause(milliseconds: 10)
        }
        let isClean = state.areAllDrained
        state.setEnding()
        for bell in bells { bell.ringIfAsleep() }
        for thread in threads { thread.join() }
        search.stop()
        store.stop()
        return isClean
    }

    private static let endingMilliseconds: UInt64 = 500

    private static func pause(milliseconds: UInt64) {
        usleep(UInt32(min(milliseconds, 3_600_000) * 1000))
    }
}

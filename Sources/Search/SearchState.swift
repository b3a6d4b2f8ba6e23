// What the indexer, the finders and the metrics share.

import CLinux
import Observability
import Reactor
import Rings
import Stores
import Synchronization

public final class SearchMetrics: Sendable {
    /// Written by the indexer: messages that were indexed since the start, the last row of the log
    /// that is, and how often the index was made anew.
    public let indexed = Counter()
    public let row = Counter()
    public let rebuilds = Counter()
    /// Messages whose document was too long to be searched.
    public let skipped = Counter()
    /// Written by the finder: pages, and those that ended before they were full because they had
    /// looked at enough.
    public let pages = Counter()
    public let pagesCutOff = Counter()
    public init() {}
}

final class SearchState: Sendable {
    let path: String
    let bell = Doorbell.make()
    let metrics = SearchMetrics()
    let isStopping = StopFlag()
    /// Grows whenever another file takes the index's place; 0 while there is none.
    private let generation = Atomic<Int>(0)
    private let damaged = Atomic<Int>(0)
    private let thread = Atomic<Int32>(0)

    init(path: String) { self.path = path }

    var currentGeneration: Int { generation.load(ordering: .acquiring) }

    /// Indexer: there is a file that may be opened.
    func didMakeFile() { generation.wrappingAdd(1, ordering: .releasing) }

    /// A finder met damage in the file of this generation.
    func didFindDamage(in generation: Int) {
        damaged.store(generation, ordering: .releasing)
        wake()
    }

    var isDamaged: Bool {
        let current = currentGeneration
        return current > 0 && damaged.load(ordering: .acquiring) == current
    }

    func didStart(thread id: Int32) { thread.store(id, ordering: .releasing) }

    /// Tells the indexer to end, and lets it run as others do, so that it can.
    func stop() {
        isStopping.set()
        let id = thread.load(ordering: .acquiring)
        if id > 0 { _ = cl_run_usually(id) }
        wake()
    }

    /// The bell is rung even when the indexer has not announced its sleep: it may be pausing.
    func wake() { _ = cl_ring_bell(bell.descriptor) }
}

// The search beside a message store: an index of its own (SearchIndex), a thread that keeps it
// (SearchIndexer), and finders for the store's readers (SearchFinder).

import Reactor
import Rings
import Stores

public final class ConversationSearch: SearchSource {
    private let state: SearchState

    /// Nothing is opened yet. `path` is the index's file.
    public init(path: String) { state = SearchState(path: path) }

    public var metrics: SearchMetrics { state.metrics }
    public var bell: Doorbell { state.bell }

    public func makeFinder(_ log: LogFollower) -> any ConversationFinder {
        SearchFinder(state, log)
    }

    /// Opens the index and starts the thread that follows the log. What does not work is told and
    /// tried again by that thread: the service runs without search meanwhile.
    public func start(
        _ log: LogFollower, tell: @escaping @Sendable (StoreNotice) -> Void
    ) -> RunningSearch {
        let indexer = SearchIndexer(state, log, tell: tell)
        indexer.open()
        let handover = Handover(indexer)
        return RunningSearch(state: state) { handover.worker.run() }
    }
}

/// The thread that follows the log.
public final class RunningSearch: Sendable {
    private let state: SearchState
    private let thread: WorkerThread

    init(state: SearchState, _ body: @escaping @Sendable () -> Void) {
        self.state = state
        thread = WorkerThread(name: "search-index", body)
    }

    /// Ends the thread and waits for it: for a batch at most.
    public func stop() {
        state.stop()
        thread.join()
    }
}

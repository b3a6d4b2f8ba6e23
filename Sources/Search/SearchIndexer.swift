// Owner: the one thread that follows the log and writes the index.
//
// The way of a message does not pay for it. The writer looks at one flag after a commit, and rings
// when this thread sleeps; it sleeps at least pauseMilliseconds after each batch, so that is a few
// rings a second whatever the load. While commits come fast it waits for them to become fewer, ten
// seconds at the most, so that a rush has the processors for itself. The thread runs under
// SCHED_IDLE: it gets what is left of them, and when nothing is left it falls behind
// (chat_search_lag_rows) and catches up later. It keeps nothing but its batch: what it has not read
// yet stands in the log.
//
// A thread of the lowest priority must not hold what others wait for. SQLite takes locks of the
// process when a transaction on messages.db begins and ends, which the writer needs for each
// commit; so the reads of that file run at the usual priority (a copy of some rows, a few
// look-ups), and all that is work runs idle: taking rows apart, finding their texts, writing the
// index.

import Bytes
import CLinux
import ChatModel
import Glibc
import Observability
import Rings
import Stores

final class SearchIndexer {
    static let rowsPerBatchMax = 512
    static let batchBytesMax = 1 << 20
    static let pauseMilliseconds: Int32 = 200
    /// Commits in the time of a pause that make it a rush.
    static let rushRows: Int64 = 32
    /// Pauses that a rush is waited for.
    static let rushPausesMax = 50
    static let ownersCachedMax = 16_384

    private let state: SearchState
    private let log: LogFollower
    private let tell: @Sendable (StoreNotice) -> Void
    private let text = SearchText()
    private let scratch = ByteWriter(capacity: 256)
    private var index: SearchIndex?
    private var owners: [Identifier: OwnerTokens] = [:]
    private var hasTold = false

    init(
        _ state: SearchState, _ log: LogFollower, tell: @escaping @Sendable (StoreNotice) -> Void
    ) {
        self.state = state
        self.log = log
        self.tell = tell
    }

    // MARK: The file

    /// Opens the index, or makes another when it cannot be used; says no when neither can be done
    /// now (a full disk), which is tried again later.
    @discardableResult
    func open() -> Bool {
        for isSecond in [false, true] {
            do throws(SQLiteError) {
                let opened = try SearchIndex(path: state.path)
                if try opened.fits(log) {
                    index = opened
                    state.metrics.row.set(UInt64(opened.row))
                    state.didMakeFile()
                    return true
                }
                if isSecond { return false }
                remove("it is of another log")
            } catch {
                guard error.isCorruption, !isSecond else {
                    trouble(error)
                    return false
                }
                remove(error.message)
            }
        }
        return false
    }

    private func remove(_ reason: String) {
        index = nil
        // Safety: the path is a C string for the length of the call.
        for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(state.path + suffix) }
        state.metrics.rebuilds.add()
        tell(.relief("the search index is made again from the log: \(reason)"))
    }

    private func trouble(_ error: SQLiteError) {
        if !hasTold {
            tell(.trouble("the search index cannot follow the log: \(error.description)"))
        }
        hasTold = true
    }

    // MARK: The thread

    func run() {
        state.didStart(thread: cl_thread_id())
        runIdle()
        var isCatchingUp = false
        while !state.isStopping.isSet {
            guard makeReady() else {
                pause(milliseconds: 1000)
                continue
            }
            do throws(SQLiteError) {
                if !isCatchingUp { try letRushPass() }
                let taken = try step()
                isCatchingUp = taken == .some
                if hasTold { tell(.relief("the search index follows the log again")) }
                hasTold = false
                switch taken {
                case .nothing: try sleep()
                case .all: pause(milliseconds: Self.pauseMilliseconds)
                case .some: break
                }
            } catch {
                didFail(error)
            }
        }
    }

    /// True when there is an index to write to.
    func makeReady() -> Bool {
        if state.isDamaged, index != nil { remove("it is damaged") }
        return index != nil || open()
    }

    /// Damage of the index is mended by making it again. Damage of the log is the store's to tell;
    /// what lies behind it is not indexed.
    private func didFail(_ error: SQLiteError) {
        if let index, error.isCorruption, (try? index.fits(log)) != nil, isLogReadable() {
            remove(error.message)
        } else {
            trouble(error)
            pause(milliseconds: 1000)
        }
    }

    private func isLogReadable() -> Bool {
        guard let index, let row = try? nextRows(limit: 1, after: index.row).first else {
            return false
        }
        return (try? log.entries(of: row)) != nil
    }

    private func pause(milliseconds: Int32) {
        if !state.isStopping.isSet { state.bell.block(milliseconds: milliseconds) }
    }

    /// While many commit, what the index takes is taken from them.
    private func letRushPass() throws(SQLiteError) {
        guard let index else { return }
        var known = index.row
        for _ in 0..<Self.rushPausesMax {
            let newest = try atUsualPriority { () throws(SQLiteError) in try log.newestRow() }
            guard newest - known >= Self.rushRows, !state.isStopping.isSet else { return }
            known = newest
            pause(milliseconds: Self.pauseMilliseconds)
        }
    }

    /// Until a commit rings.
    private func sleep() throws(SQLiteError) {
        state.bell.announceSleep()
        defer { state.bell.announceAwake() }
        guard !state.isStopping.isSet, !state.isDamaged, let index,
            try nextRows(limit: 1, after: index.row).isEmpty
        else { return }
        state.bell.block(milliseconds: -1)
    }

    // MARK: A batch

    /// Which rows of those that were not indexed a step has taken.
    enum Taken { case nothing, some, all }

    /// Indexes the next rows of the log.
    func step() throws(SQLiteError) -> Taken {
        guard let index else { return .nothing }
        let rows = try nextRows(limit: Self.rowsPerBatchMax, after: index.row)
        guard let last = rows.last else { return .nothing }
        var entries: [FollowedEntry] = []
        for row in rows {
            entries += try log.entries(of: row).filter {
                $0.kind == .message || $0.kind == .edit || $0.kind == .redaction
            }
        }
        try atUsualPriority { () throws(SQLiteError) in try lookUpOwners(of: entries) }
        var changes: [IndexChange] = []
        var latest: [Int64: Int64] = [:]
        var indexed: UInt64 = 0
        for entry in entries {
            guard let owner = owners[entry.conversation] else { continue }
            if entry.kind == .message {
                let text = searchable(entry) ?? .empty
                if text.count > 0 { indexed += 1 }
                changes.append(change(.added, entry, text, owner))
            } else if let change = try replacement(entry, owner, &latest) {
                changes.append(change)
            }
        }
        try index.apply(changes, through: last.number, head: last.head)
        state.metrics.indexed.add(indexed)
        state.metrics.row.set(UInt64(last.number))
        let bytes = rows.reduce(0) { $0 + $1.byteCount }
        return rows.count == Self.rowsPerBatchMax || bytes >= Self.batchBytesMax ? .some : .all
    }

    private func nextRows(limit: Int, after row: Int64) throws(SQLiteError) -> [FollowedRow] {
        try atUsualPriority { () throws(SQLiteError) in
            try log.rows(after: row, limit: limit, bytesMax: Self.batchBytesMax)
        }
    }

    private func atUsualPriority<Value>(
        _ body: () throws(SQLiteError) -> Value
    ) throws(SQLiteError) -> Value {
        _ = cl_run_idle(0)
        defer { runIdle() }
        return try body()
    }

    /// Whoever waits for this thread to end does not wait until nothing else wants to run.
    private func runIdle() {
        _ = cl_run_idle(1)
        if state.isStopping.isSet { _ = cl_run_idle(0) }
    }

    private func lookUpOwners(of entries: [FollowedEntry]) throws(SQLiteError) {
        if owners.count > Self.ownersCachedMax { owners.removeAll(keepingCapacity: true) }
        for entry in entries where owners[entry.conversation] == nil {
            guard let found = try log.owner(of: entry.conversation) else { continue }
            owners[entry.conversation] = OwnerTokens(
                tenant: found.tenant.bytes, userID: found.userID.bytes)
        }
    }

    /// nil when the document is too long.
    private func searchable(_ entry: FollowedEntry) -> ByteBlock? {
        guard let found = text.text(of: entry.body) else {
            state.metrics.skipped.add()
            return nil
        }
        return found
    }

    /// What an edit or a deletion does to its message: the text that was indexed goes out, the new
    /// one goes in at the message's own place.
    private func replacement(
        _ entry: FollowedEntry, _ owner: OwnerTokens, _ latest: inout [Int64: Int64]
    ) throws(SQLiteError) -> IndexChange? {
        guard entry.answersSeq > 0, let index else { return nil }
        let target = try atUsualPriority { () throws(SQLiteError) -> FollowedEntry? in
            guard let place = try log.place(of: entry.answersSeq, in: entry.conversation) else {
                return nil
            }
            return try log.entry(at: place)
        }
        guard let target, target.kind == .message, target.place < entry.place else { return nil }
        let place = target.place
        var before = latest[place]
        if before == nil { before = try index.version(of: place) }
        // What was deleted does not come back.
        if before == 0 { return nil }
        var old = target.body
        if let before {
            let edit = try atUsualPriority { () throws(SQLiteError) in try log.entry(at: before) }
            guard let edit else { return nil }
            old = edit.body
        }
        let isDeletion = entry.kind == .redaction
        latest[place] = isDeletion ? 0 : entry.place
        return change(
            .replaced(
                old: text.text(of: old) ?? .empty, latest: isDeletion ? 0 : entry.place),
            target, isDeletion ? .empty : searchable(entry) ?? .empty, owner)
    }

    private func change(
        _ kind: IndexChange.Kind, _ entry: FollowedEntry, _ text: ByteBlock, _ owner: OwnerTokens
    ) -> IndexChange {
        scratch.removeAll()
        owner.write(entry.conversation, isInternal: entry.isInternal, into: scratch)
        return IndexChange(
            kind: kind, place: entry.place, conversation: entry.conversation, seq: entry.seq,
            owner: scratch.block(), text: text)
    }
}

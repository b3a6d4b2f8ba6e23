// Owner: the writer. What waits in the tail, counted: by conversation, to choose what is worth
// folding, and by row of `log`, to know up to where all is folded. It also knows the heads of the
// conversations that were written last, so that a seq is checked without a read. No I/O; everything
// is changed after a COMMIT only, except heads, which a failed batch gives back.
//
// Why fold late: an entry that is put into `entries` alone costs a page of its own, and so do 32
// entries of one conversation.

import ChatModel

/// When entries are folded and how many at once. The bounds are soft for the writer, which works
/// back to them while it commits, and hard at twice their size: then nothing new is taken.
struct FoldRules: Sendable {
    /// A conversation with so many entries in the tail is worth its pages.
    var readyEntries = 64
    /// Bounds of the whole tail.
    var tailEntriesMax = 131_072
    var tailRowsMax = 16_384
    /// One transaction folds this much, or twice what its units bring, whichever is more.
    var foldEntries = 512
    /// A row is closed when it has so many bytes; a unit is never split.
    var rowBytes = 32 << 10
    /// Without units for so long, all that waits is folded.
    var idleMilliseconds: UInt64 = 200
    /// After a fold that failed, the next is tried so much later.
    var pauseMilliseconds: UInt64 = 1000
    /// Heads that are remembered of conversations with nothing in the tail.
    var headsMax = 65_536
}

/// What a transaction folded; it counts once the transaction is committed.
struct Fold {
    var logs: [FoldedLog] = []
    /// What progress.folded_through was set to.
    var progress: Int64?
    /// Entries by row of `log`, a pair for each run of entries with the same row.
    var rows: [(row: Int64, entries: Int)] = []
    var keys: [Digest] = []
    var entries = 0

    var isEmpty: Bool { entries == 0 }

    mutating func count(_ row: Int64) {
        if rows.last?.row == row {
            rows[rows.count - 1].entries += 1
        } else {
            rows.append((row, 1))
        }
    }
}

struct FoldLedger {
    private struct Head {
        var seq: UInt64
        var entries = 0
        var isReady = false
    }

    private struct Row {
        var entries = 0
        var conversations: [Identifier] = []
    }

    let rules: FoldRules
    private var heads: [Identifier: Head] = [:]
    /// Conversations with `isReady`; one that was folded for another reason may still stand here.
    private var ready = Fifo<Identifier>()
    /// Rows in the order of their numbers, without a hole; one without entries is folded already.
    private var rows = Fifo<Row>()
    private var firstRow: Int64 = 1
    private(set) var entries = 0
    private var logsInTail = 0

    init(rules: FoldRules) { self.rules = rules }

    /// Before the first row.
    mutating func begin(behind row: Int64) { firstRow = row + 1 }

    var isEmpty: Bool { entries == 0 }
    /// The number of the row that is written next.
    var nextRow: Int64 { firstRow + Int64(rows.count) }
    /// All rows up to this one have been folded.
    var foldedThrough: Int64 { firstRow - 1 }

    var isOverBound: Bool {
        entries > rules.tailEntriesMax || rows.count > rules.tailRowsMax
    }

    /// Folding does not keep up, because it fails: nothing new is taken.
    var isFull: Bool {
        entries > 2 * rules.tailEntriesMax || rows.count > 2 * rules.tailRowsMax
    }

    // MARK: Heads

    func head(of conversation: Identifier) -> UInt64? { heads[conversation]?.seq }

    /// Entries of the conversation that are in the tail.
    func entries(of conversation: Identifier) -> Int { heads[conversation]?.entries ?? 0 }

    mutating func setHead(of conversation: Identifier, to seq: UInt64) {
        heads[conversation, default: Head(seq: seq)].seq = seq
    }

    /// Between batches only: a batch in hand counts on the heads that it has set.
    mutating func forgetHeadsBeyondBound() {
        guard heads.count - logsInTail > rules.headsMax else { return }
        heads = heads.filter { $0.value.entries > 0 }
    }

    // MARK: What came in

    /// Takes up a row that is durable. Rows come in the order of their numbers, without a hole; one
    /// whose entries were all folded before a restart has no units.
    mutating func didAppend(_ units: ArraySlice<LoggedUnit>, row: Int64) {
        precondition(row == nextRow, "rows of the log are numbered without a hole")
        var made = Row()
        made.conversations.reserveCapacity(units.count)
        for unit in units {
            made.entries += unit.entries.count
            made.conversations.append(unit.conversation)
            didAppend(unit)
        }
        rows.append(made)
        entries += made.entries
        removeFoldedRows()
    }

    private mutating func didAppend(_ unit: LoggedUnit) {
        let conversation = unit.conversation
        guard let last = unit.entries.last else { return }
        var head = heads[conversation] ?? Head(seq: last.seq)
        if head.entries == 0 { logsInTail += 1 }
        head.seq = max(head.seq, last.seq)
        head.entries += unit.entries.count
        if !head.isReady, head.entries >= rules.readyEntries {
            head.isReady = true
            ready.append(conversation)
        }
        heads[conversation] = head
    }

    // MARK: What goes

    /// How much a transaction folds that brings `entries` itself: more than it brings, so that the
    /// tail shrinks to its bounds, and no more than that, so that no commit waits long.
    func foldLimit(entries: Int = 0) -> Int { max(rules.foldEntries, 2 * entries) }

    /// Conversations to fold now, in this order, at most `limit`; some may be named twice. Those
    /// with much in the tail come of themselves; those of the oldest rows when the tail is over its
    /// bounds, and first then, or when `all` is asked for.
    func candidates(limit: Int, all: Bool = false) -> [Identifier] {
        var found: [Identifier] = []
        if all || isOverBound {
            for place in 0..<rows.count where rows[place].entries > 0 {
                for conversation in rows[place].conversations where entries(of: conversation) > 0 {
                    if found.count == limit { return found }
                    found.append(conversation)
                }
            }
        }
        for place in 0..<ready.count {
            if found.count >= limit { break }
            if heads[ready[place]]?.isReady == true { found.append(ready[place]) }
        }
        return found
    }

    mutating func didFold(_ fold: Fold) {
        for log in fold.logs { didFold(log) }
        for (row, count) in fold.rows {
            let place = Int(row - firstRow)
            rows[place].entries -= count
            precondition(rows[place].entries >= 0, "more entries were folded than a row had")
            guard rows[place].entries == 0 else { continue }
            rows[place] = Row()
        }
        entries -= fold.entries
        removeFoldedRows()
        while let first = ready.first, heads[first]?.isReady != true { ready.removeFirst() }
    }

    private mutating func removeFoldedRows() {
        while let first = rows.first, first.entries == 0 {
            rows.removeFirst()
            firstRow += 1
        }
    }

    private mutating func didFold(_ log: FoldedLog) {
        guard var head = heads[log.conversation] else { return }
        head.entries -= log.entries
        precondition(head.entries >= 0, "more entries were folded than a conversation had")
        if head.entries == 0 { logsInTail -= 1 }
        if head.entries < rules.readyEntries { head.isReady = false }
        heads[log.conversation] = head
    }
}

// Moves entries from the tail to `entries`, where they are clustered by conversation.
//
// A fold is part of a transaction: entries go in, and a row of `tail` goes out together with the
// last of its entries. In memory they leave the tail after the COMMIT. A crash in between finds
// either the state before or the state after; what stands both in a row of `tail` and in `entries`,
// because the row has other entries that are still to be folded, is recognised by its seq and id
// when the file is opened.

import CLinux
import ChatModel

extension MessageWriter {
    /// Within an open transaction: folds as much as the budget allows of what is worth it.
    func foldIntoTable(
        _ fold: inout Fold, _ budget: FoldBudget, all: Bool = false
    ) throws(SQLiteError) {
        var seen: Set<Identifier> = []
        var rows: [TableEntry] = []
        for conversation in ledger.candidates(limit: budget.entries, all: all) {
            if fold.entries >= budget.entries || fold.bytes >= budget.bytes { break }
            guard seen.insert(conversation).inserted else { continue }
            foldLog(of: conversation, &fold, budget, into: &rows)
        }
        try statements.insert(rows)
        for row in ledger.emptied(by: fold.rows) { try statements.removeRow(row) }
    }

    /// Folds a conversation from its oldest unit on, so that what is left is the end of its log. A
    /// unit is folded whole, so a budget may be passed by one unit.
    private func foldLog(
        of conversation: Identifier, _ fold: inout Fold, _ budget: FoldBudget,
        into rows: inout [TableEntry]
    ) {
        var log = FoldedLog(conversation: conversation)
        for unit in tail.units(of: conversation) {
            if fold.entries >= budget.entries || fold.bytes >= budget.bytes { break }
            for entry in unit.entries {
                rows.append(TableEntry(conversation: conversation, entry: entry))
                if let key = entry.idempotency { fold.keys.append(key) }
            }
            let bytes = TailCoding.byteCount(of: unit)
            log.units += 1
            log.entries += unit.entries.count
            log.bytes += bytes
            fold.entries += unit.entries.count
            fold.bytes += bytes
            fold.rows[unit.row, default: 0] += unit.entries.count
        }
        fold.logs.append(log)
    }

    /// After the COMMIT of the transaction that folded.
    func didFold(_ fold: Fold) {
        guard !fold.isEmpty else { return }
        tail.remove(fold.logs)
        ledger.didFold(fold)
        for key in fold.keys { keys[key] = nil }
        if isFoldingBroken { log(.relief("the message store folds its tail again")) }
        isFoldingBroken = false
    }

    /// Folding is tried again later. What the table refuses for good means that it does not hold
    /// what was written to it: then nothing more is added to a file that is damaged.
    func foldingFailed(_ error: SQLiteError) {
        metrics.failures.add()
        let pause = ledger.rules.pauseMilliseconds * 1_000_000
        foldNotBeforeNanoseconds = cl_monotonic_nanoseconds() + pause
        if error.isConstraint || error.isCorruption {
            isDamaged = true
            metrics.isWritable.set(0)
            log(
                .trouble(
                    """
                    the message store is damaged: what its tail holds does not fit its table of \
                    entries; nothing is written until it has been restored: \(error)
                    """))
        } else if !isFoldingBroken {
            log(.trouble("the message store cannot fold its tail: \(error)"))
        }
        isFoldingBroken = true
    }

    // MARK: Without units

    /// True when something was folded.
    @discardableResult
    func foldInOwnTransaction(_ budget: FoldBudget, all: Bool = false) -> Bool {
        guard !isDamaged else { return false }
        var fold = Fold()
        do {
            try statements.begin.run()
            try foldIntoTable(&fold, budget, all: all)
            try statements.commit.run()
        } catch {
            rollBack()
            foldingFailed(error)
            return false
        }
        didFold(fold)
        return !fold.isEmpty
    }

    /// True when nobody has written for a while and something can be folded.
    var isIdle: Bool {
        !ledger.isEmpty && !isDamaged && cl_monotonic_nanoseconds() >= idleFromNanoseconds
    }

    private var idleFromNanoseconds: UInt64 {
        let quiet = lastUnitNanoseconds + ledger.rules.idleMilliseconds * 1_000_000
        return max(quiet, foldNotBeforeNanoseconds)
    }

    /// One small transaction, so that a unit that comes meanwhile does not wait long.
    func foldWhileIdle() { foldInOwnTransaction(ledger.budget(), all: true) }

    /// How long to wait for the bell; -1 when there is nothing to fold or to probe.
    func millisecondsToSleep() -> Int32 {
        if isDamaged { return -1 }
        var due = ledger.isEmpty ? UInt64.max : idleFromNanoseconds
        if metrics.isWritable.current == 0 { due = min(due, probeNanoseconds) }
        if due == .max { return -1 }
        let now = cl_monotonic_nanoseconds()
        return due <= now ? 0 : Int32((due - now) / 1_000_000 + 1)
    }

    /// A clean stop leaves nothing in the tail when that can be done; what is left is folded at the
    /// next start.
    func finish() {
        while !ledger.isEmpty, foldInOwnTransaction(ledger.budget(), all: true) {}
    }
}

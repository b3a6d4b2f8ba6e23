// Enters what the tail holds into `entries` and `keys`, many entries of one conversation at a time.
//
// A fold is part of a transaction; in memory the entries leave the tail after its COMMIT. A crash
// in between finds either the state before or the state after. progress.folded_through follows
// later: rows of `log` behind it are read again when the file is opened, and what stands in
// `entries` already is recognised by its place.

import CLinux
import ChatModel

extension MessageWriter {
    /// Rows of `log` that may be read again at the next start although they were folded.
    private static let progressStep: Int64 = 256

    /// Within an open transaction: folds up to `limit` entries of what is worth it.
    func foldIntoTable(_ fold: inout Fold, limit: Int, all: Bool = false) throws(SQLiteError) {
        var seen: Set<Identifier> = []
        var rows: [IndexRow] = []
        for conversation in ledger.candidates(limit: limit, all: all) {
            if fold.entries >= limit { break }
            guard seen.insert(conversation).inserted else { continue }
            foldLog(of: conversation, &fold, limit: limit, into: &rows)
        }
        try statements.insert(rows)
        for row in rows {
            guard let key = row.entry.key else { continue }
            let place = KeyPlace(conversation: row.conversation, seq: row.entry.seq)
            try statements.insert(KeyRow(key: key, place: place))
            fold.keys.append(key)
        }
        try saveProgress(&fold, step: Self.progressStep)
    }

    /// What earlier transactions folded; those of this one are not counted yet.
    private func saveProgress(_ fold: inout Fold, step: Int64) throws(SQLiteError) {
        let through = ledger.foldedThrough
        guard through - progress >= step else { return }
        try statements.setProgress(through)
        fold.progress = through
    }

    /// Folds a conversation from its oldest entry on, so that what is left is the end of its log.
    private func foldLog(
        of conversation: Identifier, _ fold: inout Fold, limit: Int, into rows: inout [IndexRow]
    ) {
        let entries = tail.entries(of: conversation).prefix(limit - fold.entries)
        for entry in entries {
            rows.append(IndexRow(conversation: conversation, entry: entry))
            fold.count(entry.place.row)
        }
        fold.logs.append(FoldedLog(conversation: conversation, entries: entries.count))
        fold.entries += entries.count
    }

    /// After the COMMIT of the transaction that folded.
    func didFold(_ fold: Fold) {
        if let through = fold.progress { progress = through }
        guard !fold.isEmpty || fold.progress != nil else { return }
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
    func foldInOwnTransaction(limit: Int, all: Bool = false) -> Bool {
        guard !isDamaged else { return false }
        var fold = Fold()
        do {
            try statements.begin.run()
            try foldIntoTable(&fold, limit: limit, all: all)
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
        hasIdleWork && !isDamaged && cl_monotonic_nanoseconds() >= idleFromNanoseconds
    }

    private var hasIdleWork: Bool {
        !ledger.isEmpty || progress < ledger.foldedThrough
    }

    private var idleFromNanoseconds: UInt64 {
        let quiet = lastUnitNanoseconds + ledger.rules.idleMilliseconds * 1_000_000
        return max(quiet, foldNotBeforeNanoseconds)
    }

    /// One small transaction, so that a unit that comes meanwhile does not wait long.
    func foldWhileIdle() {
        if ledger.isEmpty {
            saveProgressInOwnTransaction()
        } else {
            foldInOwnTransaction(limit: ledger.foldLimit(), all: true)
        }
    }

    private func saveProgressInOwnTransaction() {
        var fold = Fold()
        do {
            try statements.begin.run()
            try saveProgress(&fold, step: 1)
            try statements.commit.run()
        } catch {
            rollBack()
            return foldingFailed(error)
        }
        didFold(fold)
    }

    /// How long to wait for the bell; -1 when there is nothing to fold or to probe.
    func millisecondsToSleep() -> Int32 {
        if isDamaged { return -1 }
        var due = hasIdleWork ? idleFromNanoseconds : UInt64.max
        if metrics.isWritable.current == 0 { due = min(due, probeNanoseconds) }
        if due == .max { return -1 }
        let now = cl_monotonic_nanoseconds()
        return due <= now ? 0 : Int32((due - now) / 1_000_000 + 1)
    }

    /// A clean stop leaves nothing in the tail when that can be done; what is left is folded at the
    /// next start.
    func finish() {
        while !ledger.isEmpty, foldInOwnTransaction(limit: ledger.foldLimit(), all: true) {}
        if ledger.isEmpty, !isDamaged { saveProgressInOwnTransaction() }
    }
}

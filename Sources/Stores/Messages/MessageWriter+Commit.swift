// One batch, one transaction: what is checked, what is written, and what happens when it fails.

import Bytes
import CLinux
import ChatModel

extension MessageWriter {
    /// Commits `batch` and fills `outcomes`, one for each unit.
    func commit() {
        let start = cl_monotonic_nanoseconds()
        lastUnitNanoseconds = start
        if ledger.isFull { foldInOwnTransaction(limit: ledger.foldLimit()) }
        if isDamaged || ledger.isFull {
            refuse()
        } else {
            commitOrRefuse()
        }
        metrics.batchUnits.record(UInt64(batch.count))
        metrics.commitMicroseconds.record((cl_monotonic_nanoseconds() - start) / 1000)
    }

    private func commitOrRefuse() {
        do {
            do {
                try transact(isFolding: lastUnitNanoseconds >= foldNotBeforeNanoseconds)
            } catch .folding(let error) {
                // Folding can wait and the units cannot. On a full disk the tail may fit all the
                // same.
                foldingFailed(error)
                if isDamaged { return refuse() }
                try transact(isFolding: false)
            }
            metrics.isWritable.set(1)
        } catch {
            if metrics.isWritable.current == 1 {
                log(.trouble("the message store cannot write: \(error.reason)"))
            }
            refuse()
        }
    }

    private func refuse() {
        metrics.isWritable.set(0)
        metrics.failures.add()
        delayProbe()
        outcomes.removeAll(keepingCapacity: true)
        outcomes.append(contentsOf: repeatElement(.unavailable, count: batch.count))
    }

    /// What made a transaction fail: with folding, the same batch may succeed without it.
    enum TransactionError: Error {
        case units(SQLiteError)
        case folding(SQLiteError)

        var reason: SQLiteError {
            switch self {
            case .units(let error), .folding(let error): error
            }
        }
    }

    private func transact(isFolding: Bool) throws(TransactionError) {
        outcomes.removeAll(keepingCapacity: true)
        staged.removeAll(keepingCapacity: true)
        var fold = Fold()
        var isFoldAtFault = false
        do {
            try statements.begin.run()
            for item in batch { outcomes.append(try apply(item.unit)) }
            let rows = try writeRows()
            if isFolding {
                isFoldAtFault = true
                let entries = staged.reduce(0) { $0 + $1.entries.count }
                try foldIntoTable(&fold, limit: ledger.foldLimit(entries: entries))
                isFoldAtFault = !fold.isEmpty
            }
            try statements.commit.run()
            publish(rows, fold)
        } catch {
            rollBack()
            giveBackStaged()
            throw isFoldAtFault ? .folding(error) : .units(error)
        }
    }

    // MARK: Coming back

    /// While nothing can be written the service is not ready, so nobody sends what would show that
    /// it can be again: the writer tries by itself.
    var isProbeDue: Bool {
        metrics.isWritable.current == 0 && !isDamaged
            && cl_monotonic_nanoseconds() >= probeNanoseconds
    }

    private func delayProbe() {
        let pause = ledger.rules.pauseMilliseconds * 1_000_000
        probeNanoseconds = cl_monotonic_nanoseconds() + pause
    }

    /// A transaction that writes as units do, and leaves nothing.
    func probe() {
        do {
            rowWriter.removeAll()
            rowWriter.append(0)
            try statements.begin.run()
            try statements.insertRow(ledger.nextRow, rowWriter)
            try statements.removeRow(ledger.nextRow)
            try statements.commit.run()
            metrics.isWritable.set(1)
            log(.relief("the message store can write again"))
        } catch {
            rollBack()
            delayProbe()
        }
    }

    func rollBack() {
        // Some errors have ended the transaction already.
        if connection.isInTransaction { try? statements.rollback.run() }
    }

    private func giveBackStaged() {
        for unit in staged.reversed() {
            ledger.setHead(of: unit.conversation, to: unit.entries[0].seq - 1)
            for entry in unit.entries {
                if let key = entry.idempotency { keys[key] = nil }
            }
        }
        staged.removeAll(keepingCapacity: true)
    }

    // MARK: Units

    private func apply(_ unit: CommitUnit) throws(SQLiteError) -> CommitOutcome {
        for (index, entry) in unit.entries.enumerated() {
            guard let key = entry.idempotency else { continue }
            if let found = try stored(under: key) { return .duplicate(index: index, found) }
        }
        let conversation = unit.conversation.id
        for change in unit.cursors { try statements.change(change, of: conversation) }
        if unit.entries.isEmpty { return .committed }
        let head = try knownHead(of: conversation)
        guard isNext(unit.entries, after: head) else { return .conflict(lastSeq: head) }
        do {
            switch unit.rowChange {
            case .insert: try statements.insert(unit.conversation, tenant: tenantName(of: unit))
            case .update: try statements.update(unit.conversation)
            case .none: break
            }
        } catch {
            // Another writer made the conversation. The statement has taken back what it did.
            guard error.isConstraint else { throw error }
            return .conflict(lastSeq: head)
        }
        stage(unit)
        return .committed
    }

    private func tenantName(of unit: CommitUnit) -> ByteBlock {
        if directory.hasSuccessor { directory = directory.newest }
        return directory[unit.conversation.tenant].name
    }

    func knownHead(of conversation: Identifier) throws(SQLiteError) -> UInt64 {
        if let head = ledger.head(of: conversation) { return head }
        // Nothing of it is in the tail: the ledger knows the heads of all that is.
        let head = try statements.head(of: conversation)
        ledger.setHead(of: conversation, to: head)
        return head
    }

    /// Whether the entries go on from the head without a hole, and no key comes twice among them.
    /// The table's unique indexes would refuse such entries, but only later, when they are folded.
    private func isNext(_ entries: [StoredEntry], after head: UInt64) -> Bool {
        var keyed = 0
        for (index, entry) in entries.enumerated() {
            guard entry.seq == head + 1 + UInt64(index) else { return false }
            if entry.idempotency != nil { keyed += 1 }
        }
        return keyed < 2 || Set(entries.compactMap(\.idempotency)).count == keyed
    }

    private func stage(_ unit: CommitUnit) {
        guard let last = unit.entries.last else { return }
        let conversation = unit.conversation.id
        ledger.setHead(of: conversation, to: last.seq)
        for entry in unit.entries {
            guard let key = entry.idempotency else { continue }
            keys[key] = KeyPlace(conversation: conversation, seq: entry.seq)
        }
        staged.append(
            LoggedUnit(conversation: conversation, entries: unit.entries, bodies: unit.bodies))
    }

    // MARK: Rows of the log

    private struct WrittenRow {
        let number: Int64
        let units: Range<Int>
    }

    /// Writes what is staged: one row, or more when it is much, since whoever reads one entry reads
    /// its row.
    private func writeRows() throws(SQLiteError) -> [WrittenRow] {
        var rows: [WrittenRow] = []
        var next = 0
        while next < staged.count {
            let number = ledger.nextRow + Int64(rows.count)
            let start = next
            var bytes = LogCoding.headBytes
            while next < staged.count, bytes < ledger.rules.rowBytes {
                staged[next].row = number
                staged[next].offset = bytes
                bytes += LogCoding.byteCount(of: staged[next].entries)
                next += 1
            }
            LogCoding.write(staged[start..<next], into: rowWriter)
            try statements.insertRow(number, rowWriter)
            rows.append(WrittenRow(number: number, units: start..<next))
        }
        return rows
    }

    /// After the COMMIT, and before any outcome is told.
    private func publish(_ rows: [WrittenRow], _ fold: Fold) {
        tail.append(staged)
        for row in rows {
            ledger.didAppend(staged[row.units], row: row.number)
        }
        metrics.lastRow.set(UInt64(ledger.nextRow - 1))
        metrics.entries.add(UInt64(staged.reduce(0) { $0 + $1.entries.count }))
        didFold(fold)
        staged.removeAll(keepingCapacity: true)
        ledger.forgetHeadsBeyondBound()
    }
}

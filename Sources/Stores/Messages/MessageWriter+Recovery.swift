// What a crash left in the tail is taken up before the service starts.

import Bytes
import ChatModel

extension MessageWriter {
    /// Reads the rows of `log` that may not have been folded into memory, and folds what is new in
    /// them, in bounded transactions. When that cannot be done now (a full disk), the service
    /// starts with it in memory, as it would have gone on. Throws when a row is damaged or does not
    /// fit what `entries` holds: then nothing is served, and nothing is thrown away.
    func recover() throws(SQLiteError) {
        progress = try foldedThrough()
        ledger.begin(behind: progress)
        let select = try connection.prepare(
            "SELECT number, entries FROM log WHERE number > ? ORDER BY number")
        select.bind(1, progress)
        while try select.step() {
            let number = select.integer(0)
            guard number == ledger.nextRow else {
                throw damaged("row \(ledger.nextRow) is missing")
            }
            guard let entries = LogCoding.read(select.bytes(1), scratch) else {
                throw damaged("row \(number) cannot be read")
            }
            try takeUp(entries, row: number)
        }
        select.reset()
        metrics.lastRow.set(UInt64(ledger.nextRow - 1))
        guard !ledger.isEmpty else { return }
        let count = ledger.entries
        while !ledger.isEmpty, foldInOwnTransaction(limit: ledger.foldLimit(), all: true) {}
        if isDamaged { throw damaged("its entries cannot be folded") }
        log(
            .relief(
                """
                the message store was not closed cleanly; \(count) entries were taken up from the \
                end of its log
                """))
    }

    private func foldedThrough() throws(SQLiteError) -> Int64 {
        let select = try connection.prepare("SELECT folded_through FROM progress")
        defer { select.reset() }
        guard try select.step() else { throw damaged("it does not say what was folded") }
        return select.integer(0)
    }

    private func takeUp(_ logged: [LoggedEntry], row: Int64) throws(SQLiteError) {
        var units: [LoggedUnit] = []
        for item in logged {
            let head = try knownHead(of: item.conversation)
            if item.entry.seq <= head {
                let place = LogPlace(
                    row: row, offset: UInt32(item.offset), bytes: UInt32(item.bytes))
                guard try statements.place(of: item.entry.seq, in: item.conversation) == place
                else { throw damaged("row \(row) differs from the table") }
                continue
            }
            guard item.entry.seq == head + 1 else { throw damaged("row \(row) leaves a hole") }
            ledger.setHead(of: item.conversation, to: item.entry.seq)
            if let key = item.entry.idempotency {
                keys[key] = KeyPlace(conversation: item.conversation, seq: item.entry.seq)
            }
            units.append(
                LoggedUnit(
                    conversation: item.conversation, entries: [item.entry], bodies: item.bodies,
                    row: row, offset: item.offset))
        }
        tail.append(units)
        ledger.didAppend(units[...], row: row)
    }

    private func damaged(_ what: String) -> SQLiteError {
        SQLiteError(
            code: SQLiteError.corruption, message: "the message store's log is damaged: \(what)")
    }
}

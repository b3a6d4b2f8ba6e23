// What a crash left in `tail` is taken up before the service starts.

import Bytes
import ChatModel

extension MessageWriter {
    /// Reads the rows of `tail` into memory and folds them, in bounded transactions. When they
    /// cannot be folded now (a full disk), the service starts with them in memory, as it would have
    /// gone on. Throws when a row is damaged or does not fit what `entries` holds: then nothing is
    /// served, and nothing is thrown away.
    func recover() throws(SQLiteError) {
        let select = try connection.prepare("SELECT batch, units FROM tail ORDER BY batch")
        var numbers: [Int64] = []
        while try select.step() {
            let number = select.integer(0)
            guard let decoded = TailCoding.read(select.bytes(1)),
                isPlausible(number, after: numbers.last)
            else { throw damaged("row \(number) cannot be read") }
            try takeUp(decoded, row: number, bytes: select.bytes(1).byteCount)
            numbers.append(number)
        }
        select.reset()
        guard !numbers.isEmpty else { return }
        let count = ledger.entries
        while !ledger.isEmpty, foldInOwnTransaction(ledger.budget(), all: true) {}
        if isDamaged { throw damaged("its entries cannot be folded") }
        log(
            .relief(
                """
                the message store was not closed cleanly; \(count) entries were taken up from its \
                tail
                """))
    }

    private func takeUp(
        _ decoded: [TailCoding.Decoded], row: Int64, bytes: Int
    ) throws(SQLiteError) {
        var units: [TailUnit] = []
        for item in decoded {
            let head = try knownHead(of: item.conversation)
            if item.entry.seq <= head {
                let id = try statements.id(of: item.entry.seq, in: item.conversation)
                guard id == item.entry.id else {
                    throw damaged("row \(row) differs from the table")
                }
                continue
            }
            guard item.entry.seq == head + 1 else { throw damaged("row \(row) leaves a hole") }
            ledger.setHead(of: item.conversation, to: item.entry.seq)
            if let key = item.entry.idempotency {
                keys[key] = KeyPlace(conversation: item.conversation, seq: item.entry.seq)
            }
            let unit = TailUnit(conversation: item.conversation, entries: [item.entry], row: row)
            units.append(unit)
        }
        // The last entry of a row and the row itself go in one transaction.
        guard !units.isEmpty else { throw damaged("row \(row) has been folded and is still there") }
        tail.append(units)
        ledger.didAppend(units[...], row: row, bytes: bytes)
    }

    /// Rows between two that are left were deleted. There cannot be more than were ever kept at
    /// once.
    private func isPlausible(_ number: Int64, after last: Int64?) -> Bool {
        guard let last else { return number > 0 }
        return number - last <= Int64(4 * ledger.rules.tailRowsMax)
    }

    private func damaged(_ what: String) -> SQLiteError {
        SQLiteError(
            code: SQLiteError.corruption, message: "the message store's tail is damaged: \(what)")
    }
}

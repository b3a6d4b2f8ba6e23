// Conversations in which nothing was said for long. Ids sort by time, so what is younger than that
// is not looked at; a page visits a bounded number of rows, whatever it finds.

import ChatModel

extension MessageReader {
    func inactive(_ query: InactiveQuery) throws(SQLiteError) -> InactivePage {
        var visited: [(id: Identifier, mayBe: Bool)] = []
        let statement = olderThan
        defer { statement.reset() }
        statement.bind(1, text: query.tenantName)
        statement.bind(2, query.after)
        statement.bind(3, Identifier(high: (query.cutoffMilliseconds + 1) << 16, low: 0))
        while try statement.step() {
            let status = ConversationStatus(
                rawValue: UInt8(truncatingIfNeeded: statement.integer(1)))
            let isWaitedFor = status == .open || status == .pending
            visited.append(
                (
                    statement.identifier(0),
                    isWaitedFor && statement.unsigned(2) <= query.cutoffMilliseconds
                ))
        }
        // The logs are read next, each in two parts; see conversation(_:).
        statement.reset()
        var found: [Identifier] = []
        for row in visited where row.mayBe {
            let activity = try logs.activity(of: logs.tail(of: row.id), in: row.id)
            guard activity.lastMilliseconds <= query.cutoffMilliseconds else { continue }
            found.append(row.id)
            if found.count == Limits.inactiveClosedMax {
                return InactivePage(found: found, last: row.id)
            }
        }
        let isFull = visited.count == Limits.inactiveVisitedMax
        return InactivePage(found: found, last: isFull ? visited.last?.id : nil)
    }
}

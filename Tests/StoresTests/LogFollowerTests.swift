import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct LogFollowerTests {
    private func filled(_ desk: Desk) -> [Log] {
        let logs = [Log(), Log(user: "bob"), Log(tenant: 1)]
        for seq in 1...7 as ClosedRange<UInt64> {
            let units = logs.map { log in
                log.unit(
                    [log.entry(seq, answers: seq / 2, isInternal: seq == 3, text: "text \(seq)")],
                    seq == 1 ? .insert : .none)
            }
            #expect(desk.commit(units).areCommitted)
        }
        return logs
    }

    @Test(arguments: [0, 8, 21])
    func `Rows come in order, and an entry is found again at its place`(_ folded: Int) throws {
        let desk = try Desk()
        let logs = filled(desk)
        if folded > 0 { desk.fold(folded) }
        let follower = try LogFollower(path: desk.files.file("messages.db"), tail: desk.tail)
        var number: Int64 = 0
        var entries: [FollowedEntry] = []
        while case let rows = try follower.rows(after: number, limit: 2, bytesMax: 1 << 20),
            let last = rows.last
        {
            #expect(rows.count <= 2 && rows[0].number == number + 1)
            for row in rows {
                entries += try follower.entries(of: row)
                let head = try follower.head(ofRow: row.number)
                #expect(areSame(head, row.head))
            }
            number = last.number
        }
        #expect(
            entries.count == 21
                && zip(entries, entries.dropFirst()).allSatisfy { $0.place < $1.place })
        for entry in entries {
            let again = try #require(try follower.entry(at: entry.place))
            #expect(again.id == entry.id && again.seq == entry.seq && again.kind == .message)
            #expect(again.isInternal == (entry.seq == 3) && again.answersSeq == entry.seq / 2)
            #expect(again.body.text == entry.body.text)
            #expect(entry.body.text.contains("\"text \(entry.seq)\""))
            #expect(try follower.place(of: entry.seq, in: entry.conversation) == entry.place)
        }
        #expect(try follower.place(of: 8, in: logs[0].row.id) == nil)
        #expect(try follower.place(of: 1, in: Log.id()) == nil)
        #expect(try follower.entry(at: LogFollower.firstPlace(inRow: 99)) == nil)
        let owner = try #require(try follower.owner(of: logs[2].row.id))
        #expect(owner.tenant.text == "globex" && owner.userID.text == "ann")
        #expect(try follower.owner(of: Log.id()) == nil)
    }

    @Test func `A part of the log is read up to the bytes that were asked for`() throws {
        let desk = try Desk()
        _ = filled(desk)
        let follower = try LogFollower(path: desk.files.file("messages.db"), tail: desk.tail)
        #expect(try follower.rows(after: 0, limit: 100, bytesMax: 1).count == 1)
        #expect(try follower.rows(after: 0, limit: 100, bytesMax: 0).isEmpty)
        #expect(try follower.rows(after: 7, limit: 100, bytesMax: 1 << 20).isEmpty)
    }

    @Test func `A row that is damaged or missing is told, and not passed over`() throws {
        let desk = try Desk()
        _ = filled(desk)
        let follower = try LogFollower(path: desk.files.file("messages.db"), tail: desk.tail)
        try desk.connection.run("UPDATE log SET entries = x'0102' WHERE number = 2")
        let rows = try follower.rows(after: 1, limit: 1, bytesMax: 1 << 20)
        #expect(throws: SQLiteError.self) { try follower.entries(of: rows[0]) }
        try desk.connection.run("DELETE FROM log WHERE number = 4")
        #expect(throws: SQLiteError.self) {
            try follower.rows(after: 3, limit: 5, bytesMax: 1 << 20)
        }
    }
}

import Bytes
import ChatModel
import Testing

@testable import Stores

private func cursors(_ log: Log, _ changes: [CursorChange]) -> CommitUnit {
    CommitUnit(
        conversation: log.row, rowChange: .none, entries: [], bodies: ByteBlock(""),
        cursors: changes, submittedNanoseconds: 0)
}

private func at(_ user: String, _ read: UInt64, _ delivered: UInt64 = 0) -> CursorChange {
    .advance(ReadCursor(userID: ByteBlock(user), readSeq: read, deliveredSeq: delivered))
}

extension Desk {
    fileprivate func taken(_ id: Identifier) -> StoredConversation? {
        guard
            case .ownerRead(.conversation(_, let found)) = reader.perform(.owner(.conversation(id)))
        else { return nil }
        return found
    }
}

@Suite struct ReadCursorTests {
    /// Inbound 1, outbound 2 and 3, a note 4, outbound 5, a note 6; so many of them are folded.
    private func filled(_ folded: Int) throws -> (Desk, Log) {
        let desk = try Desk()
        let log = Log()
        let entries = (1...6 as ClosedRange<UInt64>).map {
            log.entry($0, isInbound: $0 == 1, isInternal: $0 == 4 || $0 == 6)
        }
        #expect(desk.commit(log.unit(entries, .insert)).isCommitted)
        if folded > 0 { desk.fold(folded) }
        return (desk, log)
    }

    @Test(arguments: 0...6)
    func `What is read is no longer unread, and each message says how far it came`(
        _ folded: Int
    ) throws {
        let (desk, log) = try filled(folded)
        let list = ListQuery(
            origin: origin, scope: scope(), filter: ListFilter(), order: .descending,
            direction: .forward, after: nil, before: nil, limit: 5)
        for (read, delivered, unread, statuses) in [
            (0, 0, 3, ["sent", "sent", "sent"]), (0, 3, 3, ["delivered", "delivered", "sent"]),
            (2, 3, 2, ["read", "delivered", "sent"]), (5, 5, 0, ["read", "read", "read"]),
        ] as [(UInt64, UInt64, Int, [String])] {
            #expect(desk.commit(cursors(log, [at("ann", read, delivered)])).isCommitted)
            for job in [history(log.row.id), .list(list)] {
                #expect(desk.page(job)?.text.contains("\"unread\":\(unread),") == true)
            }
            let text = desk.page(history(log.row.id))?.text ?? ""
            let shown = text.split(separator: "\"status\":\"").dropFirst(2).map {
                String($0.prefix { $0 != "\"" })
            }
            #expect(shown == ["accepted"] + statuses)
            let query = ReplayQuery(
                origin: origin, conversation: log.row.id, afterSeq: 0, throughSeq: 6)
            guard case .replayed(let page) = desk.reader.perform(.replay(query)) else { return }
            let replayed = (page.frames ?? []).dropFirst().map { frame in
                statuses.first { frame.text.contains("\"status\":\"\($0)\"") } ?? ""
            }
            #expect(replayed == statuses)
        }
    }

    @Test(arguments: 0...6)
    func `An owner takes a conversation up with its last public entry and its cursors`(
        _ folded: Int
    ) throws {
        let (desk, log) = try filled(folded)
        #expect(desk.taken(log.row.id)?.lastPublicSeq == 5)
        #expect(desk.taken(log.row.id)?.cursors.isEmpty == true)
        let unit = cursors(log, [at("ann", 2, 5), at("kim", 3)])
        #expect(desk.commit(unit).isCommitted)
        let found = desk.taken(log.row.id)
        #expect(found?.cursors.map(\.userID.text) == ["ann", "kim"])
        #expect(found?.cursors.map(\.readSeq) == [2, 3])
        #expect(found?.cursors.map(\.deliveredSeq) == [5, 3])
        #expect(found?.row.lastSeq == 6)
    }

    @Test func `A cursor never goes back, and is forgotten when that is said`() throws {
        let (desk, log) = try filled(0)
        #expect(desk.commit(cursors(log, [at("ann", 3, 5)])).isCommitted)
        #expect(desk.commit(cursors(log, [at("ann", 2, 4)])).isCommitted)
        #expect(desk.taken(log.row.id)?.cursors.map(\.readSeq) == [3])
        #expect(desk.taken(log.row.id)?.cursors.map(\.deliveredSeq) == [5])
        let unit = cursors(log, [.forget(userID: ByteBlock("ann")), at("kim", 1)])
        #expect(desk.commit(unit).isCommitted)
        #expect(desk.taken(log.row.id)?.cursors.map(\.userID.text) == ["kim"])
    }

    @Test func `A unit of cursors leaves no row in the log and takes no seq`() throws {
        let (desk, log) = try filled(0)
        let rows = desk.count("log")
        #expect(desk.commit(cursors(log, [at("ann", 3)])).isCommitted)
        #expect(desk.count("log") == rows)
        #expect(desk.commit(log.unit([log.entry(7)])).isCommitted)
    }

    @Test func `Another's cursor changes neither what is unread nor a status`() throws {
        let (desk, log) = try filled(0)
        #expect(desk.commit(cursors(log, [at("kim", 5)])).isCommitted)
        let text = desk.page(history(log.row.id))?.text ?? ""
        #expect(text.contains("\"unread\":3,") && !text.contains("\"status\":\"read\""))
    }
}

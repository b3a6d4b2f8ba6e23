import Bytes
import ChatModel
import Testing

@testable import Stores

private func endUser() -> Scope {
    Scope(tenant: TenantIndex(0), tenantName: ByteBlock("acme"), userID: ByteBlock("ann"))
}

private func agents() -> Scope {
    Scope(
        tenant: TenantIndex(0), tenantName: ByteBlock("acme"), userID: nil, showsInternal: true)
}

@Suite struct InternalEntryTests {
    /// Eight entries, of which 3, 4, 6 and 8 are internal; so many of them are folded.
    private func filled(_ folded: Int) throws -> (Desk, Log) {
        let desk = try Desk()
        let log = Log()
        let entries = (1...8 as ClosedRange<UInt64>).map {
            log.entry($0, isInbound: $0 == 1, isInternal: [3, 4, 6, 8].contains($0))
        }
        #expect(desk.commit(log.unit(entries, .insert)).isCommitted)
        if folded > 0 { desk.fold(folded) }
        return (desk, log)
    }

    @Test(arguments: 0...8)
    func `An end user's pages leave out what is internal wherever the log is split`(
        _ folded: Int
    ) throws {
        let (desk, log) = try filled(folded)
        for order in [PageOrder.ascending, .descending] {
            let all = desk.page(history(log.row.id, agents(), order: order))
            #expect(all?.seqs.count == 8)
            let page = desk.page(history(log.row.id, endUser(), order: order))
            let wanted: [UInt64] = [1, 2, 5, 7]
            #expect(page?.seqs == (order == .ascending ? wanted : wanted.reversed()))
            #expect(page?.text.contains("internal") == false)
            #expect(page?.text.contains("\"last_seq\":8,\"unread\":3,") == true)
            let first = desk.page(history(log.row.id, endUser(), order: order, limit: 2))
            #expect(first?.seqs.count == 2 && first?.hasMore == true && first?.previous == nil)
        }
    }

    @Test(arguments: 0...8)
    func `A replay for an end user leaves it out too, and is empty where nothing else is`(
        _ folded: Int
    ) throws {
        let (desk, log) = try filled(folded)
        for (after, shown) in [(0, [1, 2, 5, 7]), (2, [5, 7]), (5, [7]), (7, [])]
            as [(UInt64, [UInt64])]
        {
            let query = ReplayQuery(
                origin: origin, conversation: log.row.id, afterSeq: after, throughSeq: 8)
            guard case .replayed(let page) = desk.reader.perform(.replay(query)) else { return }
            #expect(page.frames?.count == shown.count)
            #expect(page.lastSeq == shown.last ?? after)
        }
    }

    @Test func `A changed row is read back with all its details`() throws {
        let desk = try Desk()
        var log = Log()
        #expect(desk.commit(log.first()).isCommitted)
        #expect(desk.conversation(log.row.id)?.hasDetails == false)
        var details = ConversationDetails()
        details.assignee = ByteBlock("kim")
        details.handlerID = ByteBlock("bot-2")
        details.labels = ByteBlock(#"["a"]"#)
        details.priority = .urgent
        details.attributes = ByteBlock(#"{"a":1}"#)
        log.row.details = details
        log.row.status = .closed
        log.row.version = 2
        #expect(desk.commit(log.unit([log.entry(2, kind: .label)], .update)).isCommitted)
        let found = desk.conversation(log.row.id)
        #expect(found?.details.assignee?.text == "kim" && found?.details.handlerID?.text == "bot-2")
        #expect(found?.details.labels?.text == #"["a"]"# && found?.details.priority == .urgent)
        #expect(found?.details.attributes?.text == #"{"a":1}"#)
        #expect(found?.status == .closed && found?.version == 2)
        let query = ConversationQuery(
            origin: origin, scope: agents(), conversation: log.row.id)
        guard case .answer(let answer) = desk.reader.perform(.conversation(query)) else { return }
        #expect(answer.version == 2)
    }
}

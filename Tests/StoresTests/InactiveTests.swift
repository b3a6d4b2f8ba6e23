import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct InactiveTests {
    private func look(
        _ desk: Desk, _ cutoff: UInt64, after: Identifier = .none, tenant: String = "acme"
    ) -> InactivePage? {
        let query = InactiveQuery(
            tenantName: ByteBlock(tenant), cutoffMilliseconds: cutoff, after: after)
        guard case .inactive(let page) = desk.reader.perform(.inactive(query)) else { return nil }
        return page
    }

    /// The time of the ids that `Log` makes, with room for those that step on; entries have times
    /// near the epoch.
    private let made: UInt64 = 1_700_000_100_000

    @Test func `Found is what is open or pending, of the tenant, and without a later entry`() throws
    {
        let desk = try Desk()
        var wanted: [Identifier] = []
        for status in ConversationStatus.allCases {
            let log = Log(status: status)
            #expect(desk.commit(log.first()).isCommitted)
            if status == .open || status == .pending { wanted.append(log.row.id) }
        }
        let foreign = Log(tenant: 1)
        #expect(desk.commit(foreign.first()).isCommitted)
        let page = look(desk, made)
        #expect(page?.found == wanted && page?.last == nil && page?.isReadable == true)
        #expect(look(desk, made - 200_000)?.found == [], "they are younger than that")
        #expect(look(desk, made, tenant: "globex")?.found == [foreign.row.id])
        #expect(look(desk, made, after: wanted[0])?.found == [wanted[1]])
    }

    @Test func `An entry that is late enough keeps a conversation, folded or not`() throws {
        let desk = try Desk()
        let log = Log()
        var late = log.entry(2)
        late.createdAtMilliseconds = made + 20
        #expect(desk.commit(log.unit([log.entry(1), late], .insert)).isCommitted)
        for _ in 0..<2 {
            #expect(look(desk, made + 19)?.found == [])
            #expect(look(desk, made + 20)?.found == [log.row.id])
            desk.fold(2)
        }
    }

    @Test func `A page visits a bounded number, and the next goes on behind it`() throws {
        let desk = try Desk()
        var ids: [Identifier] = []
        for number in 0..<Limits.inactiveVisitedMax + 3 {
            // Snoozed ones are visited and not found.
            let log = Log(status: number < Limits.inactiveVisitedMax - 1 ? .snoozed : .open)
            #expect(desk.commit(log.first()).isCommitted)
            ids.append(log.row.id)
        }
        let first = look(desk, made)
        #expect(first?.found == [ids[Limits.inactiveVisitedMax - 1]])
        #expect(first?.last == ids[Limits.inactiveVisitedMax - 1])
        let rest = look(desk, made, after: first?.last ?? .none)
        #expect(rest?.found == Array(ids.suffix(3)) && rest?.last == nil)
    }
}

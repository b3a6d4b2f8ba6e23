import Bytes
import ChatModel
import Stores
import Testing
import Wire

@testable import API

private func read(_ query: String) -> Reading<PageQuery> {
    // The query stands in the middle of the request's bytes.
    let block = ByteBlock("GET /x?" + query + " HTTP/1.1&limit=1")
    let scratch = ByteWriter(capacity: 16)
    do throws(Problem) {
        return .read(
            try PageQuery(block.bytes, ByteRange(7, 7 + query.utf8.count), scratch: scratch))
    } catch {
        return .refused(error)
    }
}

private let id = Identifier(high: 0x0192_A3B4_C5D6_7E8F, low: 0x9A0B_1C2D_3E4F_5061)
private let scope = Scope(tenant: TenantIndex(0), tenantName: ByteBlock("acme"), userID: nil)

private func history(_ query: String) -> HistoryQuery? {
    try? read(query).value?.history(id, scope, origin(isSocket: false))
}

private func list(_ query: String) -> ListQuery? {
    try? read(query).value?.list(scope, origin(isSocket: false))
}

private func cursor(_ seq: UInt64, _ order: PageOrder, _ direction: PageDirection) -> String {
    let writer = ByteWriter(capacity: 64)
    Cursor.write(seq: seq, order, direction, into: writer)
    return writer.string()
}

private func cursor(_ id: Identifier, _ order: PageOrder, _ direction: PageDirection) -> String {
    let writer = ByteWriter(capacity: 64)
    Cursor.write(id: id, order, direction, into: writer)
    return writer.string()
}

@Suite struct PageQueryTests {
    @Test func `Without parameters there are the defaults`() {
        for query in ["", "&", "&&&", "x=1", "Limit=7", "limits=7", "x"] {
            let found = read(query).value
            #expect(found?.limit == 50 && found?.order == nil && found?.cursor == nil)
            #expect(found?.afterSeq == nil && found?.beforeSeq == nil && found?.userID == nil)
            #expect(found?.filter.status == nil && found?.filter.channel == nil)
        }
    }

    @Test func `Each parameter is read, percent-decoded`() {
        let found = read(
            "limit=200&order=desc&cursor=h%30x&after_seq=0&before_seq=9223372036854775807&user_id=a%20b+c%C3%A9"
                + "&status=sn%6Fozed&channel=slack"
        ).value
        #expect(found?.limit == 200 && found?.order == .descending && found?.cursor?.text == "h0x")
        #expect(found?.afterSeq == 0 && found?.beforeSeq == UInt64(Int64.max))
        #expect(
            found?.userID?.text == "a b cé" && found?.filter.status == .snoozed
                && found?.filter.channel == .slack)
        #expect(read("limit=1").value?.limit == 1)
        #expect(read("order=asc").value?.order == .ascending)
    }

    @Test(arguments: [
        ("limit=0", "/limit range"), ("limit=201", "/limit range"), ("limit=-1", "/limit range"),
        ("limit=", "/limit range"), ("limit", "/limit range"), ("limit=1.0", "/limit range"),
        ("limit=%2B5", "/limit range"), ("limit=+5", "/limit range"), ("limit=5+", "/limit range"),
        ("limit=0x10", "/limit range"), ("limit=1e2", "/limit range"),
        ("limit=five", "/limit range"),
        ("limit=18446744073709551617", "/limit range"), ("limit=%D9%A1", "/limit range"),
        ("order=", "/order format"), ("order=ASC", "/order format"), ("order=up", "/order format"),
        ("order=asc,desc", "/order format"), ("after_seq=-1", "/after_seq format"),
        ("after_seq=", "/after_seq format"), ("after_seq=x", "/after_seq format"),
        ("after_seq=9223372036854775808", "/after_seq format"),
        ("before_seq=1.5", "/before_seq format"),
        ("before_seq=18446744073709551616", "/before_seq format"), ("user_id=", "/user_id format"),
        ("user_id=a%00b", "/user_id format"), ("user_id=%0A", "/user_id format"),
        ("status=", "/status format"), ("status=Open", "/status format"),
        ("status=done", "/status format"),
        ("channel=", "/channel format"), ("channel=fax", "/channel format"),
        ("channel=WEB", "/channel format"),
        ("user_id=%", " format"), ("user_id=%4", " format"), ("user_id=%zz", " format"),
        ("user_id=%FF", " format"), ("x=%C0%80", " format"),
        ("assignee=%01", "/assignee format"), ("assignee=a%00", "/assignee format"),
        ("label=", "/label format"), ("label", "/label format"), ("label=%7F", "/label format"),
        ("handler=", "/handler format"), ("handler=Human", "/handler format"),
        ("handler=bot,human", "/handler format"), ("q=", "/q format"), ("q", "/q format"),
        ("q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q", "/q too_many"),
    ])
    func `A value that is not allowed is refused at its parameter`(_ query: String, _ fault: String)
    {
        let found = read(query)
        #expect(found.problem?.status == 422)
        #expect(found.faults == [fault])
    }

    @Test func `Agents filter by who has a conversation, its label and its handler`() {
        let found = list("assignee=kim%20lee&label=f%C3%BCr+sp%C3%A4ter&handler=human")?.filter
        guard case .somebody(let name)? = found?.assignee else {
            Issue.record("an assignee was named")
            return
        }
        #expect(name.text == "kim lee" && found?.label?.text == "für später")
        #expect(found?.handler == .human && list("handler=bot")?.filter.handler == .bot)
        for query in ["assignee=", "assignee"] {
            guard case .nobody? = list(query)?.filter.assignee else {
                Issue.record("\(query) asks for what is assigned to nobody")
                continue
            }
        }
        #expect(list("")?.filter.assignee == nil && list("")?.filter.label == nil)
        #expect(read("assignee=" + text(129)).faults == ["/assignee format"])
        #expect(read("label=" + text(64)).value?.filter.label?.count == 64)
        #expect(read("label=" + text(65)).faults == ["/label format"])
    }

    @Test func `Words are read, and bounded`() {
        #expect(read("q=two+%22words%22").value?.words?.expression.text == "\"two\" \"words\"")
        #expect(read("q=%22").value?.words?.expression.text == "")
        #expect(read("q=" + text(256)).value?.words != nil && read("").value?.words == nil)
        #expect(read("q=" + text(257)).faults == ["/q format"])
    }

    @Test func `A user id above the limit is refused, and all faults are told together`() {
        #expect(read("user_id=" + text(128)).value?.userID?.count == 128)
        #expect(read("user_id=" + text(129)).faults == ["/user_id format"])
        #expect(
            read("limit=x&order=x&after_seq=x&status=x&channel=x").faults == [
                "/limit range", "/order format", "/after_seq format", "/status format",
                "/channel format",
            ])
    }
}

@Suite struct PageCursorTests {
    @Test func `A history is oldest first and a list newest first`() {
        #expect(history("")?.order == .ascending && history("")?.direction == .forward)
        #expect(list("")?.order == .descending && list("")?.direction == .forward)
        #expect(
            history("order=desc")?.order == .descending && list("order=asc")?.order == .ascending)
        #expect(history("limit=7")?.limit == 7 && list("limit=8")?.limit == 8)
    }

    @Test func `Bounds and filters are passed on`() {
        let page = history("after_seq=3&before_seq=9")
        #expect(page?.afterSeq == 3 && page?.beforeSeq == 9 && page?.conversation == id)
        let found = list("status=closed&channel=web")
        #expect(
            found?.filter.status == .closed && found?.filter.channel == .web && found?.after == nil
                && found?.before == nil)
    }

    @Test func `A cursor says order, direction and bound`() {
        for (order, direction, isAfter) in [
            (PageOrder.ascending, PageDirection.forward, true), (.ascending, .backward, false),
            (.descending, .forward, false), (.descending, .backward, true),
        ] {
            let page = history("order=asc&cursor=" + cursor(7, order, direction))
            #expect(page?.order == order && page?.direction == direction)
            #expect(page?.afterSeq == (isAfter ? 7 : nil) && page?.beforeSeq == (isAfter ? nil : 7))
            let found = list("cursor=" + cursor(id, order, direction))
            #expect(found?.order == order && found?.direction == direction)
            #expect(found?.after == (isAfter ? id : nil) && found?.before == (isAfter ? nil : id))
        }
    }

    @Test(arguments: [
        "", "x", "null", "h", "l0", "h0000000000000000", "h00000000000000007x",
        "h0ffffffffffffffff",
        "h50000000000000007",
        // A position has one spelling.
        "h0000000000000000A", "l00190163D8F2C7ABC8123456789ABCDEF",
    ])
    func `A cursor that was made up is refused`(_ text: String) {
        let query = read("cursor=" + text).value
        #expect(throws: Problem.self) { try query?.history(id, scope, origin(isSocket: false)) }
        #expect(throws: Problem.self) { try query?.list(scope, origin(isSocket: false)) }
        #expect(history("cursor=" + text) == nil && list("cursor=" + text) == nil)
    }

    @Test func `A search has cursors of its own, and one order`() throws {
        let found = try #require(list("q=a&status=open&limit=7"))
        #expect(found.terms?.expression.text == "\"a\"" && found.terms?.position == nil)
        #expect(found.filter.status == .open && found.limit == 7 && found.direction == .forward)
        for (direction, place) in [(PageDirection.forward, 7), (.backward, Int64.max - 1)] {
            let writer = ByteWriter(capacity: 64)
            let position = SearchPosition(newest: 9, place: place)
            Cursor.write(position, direction, into: writer)
            let next = try #require(list("q=a&cursor=" + writer.string()))
            #expect(next.terms?.position == position && next.direction == direction)
            #expect(list("cursor=" + writer.string()) == nil, "no list takes it without words")
            #expect(history("cursor=" + writer.string()) == nil)
        }
        #expect(list("q=a&cursor=" + cursor(id, .descending, .forward)) == nil)
        #expect(list("q=a&order=asc") == nil && list("q=a&order=desc") != nil)
        for made in ["s1", "s0" + text(32), "s1" + String(repeating: "f", count: 32)] {
            #expect(list("q=a&cursor=" + made) == nil)
        }
    }

    @Test func `A cursor of a history is none of a list, and the other way round`() {
        #expect(list("cursor=" + cursor(7, .ascending, .forward)) == nil)
        #expect(history("cursor=" + cursor(id, .ascending, .forward)) == nil)
    }
}

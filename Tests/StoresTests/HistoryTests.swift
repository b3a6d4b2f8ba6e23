import Bytes
import ChatModel
import Testing

@testable import Stores

@Suite struct HistoryTests {
    private func job(_ id: Identifier, _ cursor: String, _ limit: Int) throws -> ReadJob {
        let block = ByteBlock(cursor)
        let found = Cursor.seq(block.bytes)
        let position = try #require(found.map { ($0.order, $0.direction, $0.seq) })
        let isAfter = (position.0 == .ascending) == (position.1 == .forward)
        return history(
            id, order: position.0, direction: position.1, after: isAfter ? position.2 : nil,
            before: isAfter ? nil : position.2, limit: limit)
    }

    @Test(arguments: [1, 2, 3, 7, 9, 10, 11, 200])
    func `Paging by cursor is complete and without repeats, both orders and both ways`(
        _ limit: Int
    ) throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(10))
        let all = Array(1...10 as ClosedRange<UInt64>)
        for order in [PageOrder.ascending, .descending] {
            var pages = [try #require(rig.page(history(log.row.id, order: order, limit: limit)))]
            #expect(pages[0].previous == nil)
            while let next = pages[pages.count - 1].next {
                pages.append(try #require(rig.page(try job(log.row.id, next, limit))))
                #expect(pages.count <= 10, "paging ends")
            }
            let shown = order == .ascending ? all : all.reversed()
            #expect(pages.flatMap(\.seqs) == shown)
            #expect(pages.allSatisfy { $0.seqs.count <= limit && !$0.seqs.isEmpty })
            #expect(pages.map(\.hasMore) == pages.indices.map { $0 < pages.count - 1 })
            // Back again: each page before is the page that was seen, in the same order.
            var back = [pages[pages.count - 1]]
            while let previous = back[0].previous {
                back.insert(try #require(rig.page(try job(log.row.id, previous, limit))), at: 0)
                #expect(back.count <= pages.count, "paging back ends")
            }
            #expect(back.flatMap(\.seqs) == shown)
        }
    }

    @Test func `Bounds are exclusive and may be given together`() throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(10))
        let id = log.row.id
        #expect(rig.page(history(id, after: 7))?.seqs == [8, 9, 10])
        #expect(rig.page(history(id, before: 3))?.seqs == [1, 2])
        #expect(rig.page(history(id, after: 3, before: 6))?.seqs == [4, 5])
        #expect(rig.page(history(id, order: .descending, after: 3, before: 6))?.seqs == [5, 4])
        #expect(rig.page(history(id, after: 3, before: 4))?.seqs == [])
        #expect(rig.page(history(id, after: 10))?.seqs == [])
        #expect(rig.page(history(id, before: 0))?.seqs == [])
        #expect(rig.page(history(id, before: 1))?.seqs == [])
        #expect(rig.page(history(id, before: .max))?.seqs.count == 10)
        #expect(rig.page(history(id, after: UInt64(Int64.max)))?.seqs == [])
    }

    @Test func `An empty page has no cursors and no more`() throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(3))
        let page = rig.page(history(log.row.id, after: 3))
        #expect(
            page?.seqs == [] && page?.next == nil && page?.previous == nil && page?.hasMore == false
        )
    }

    @Test func `A page of exactly the limit at the log's end has no next`() throws {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(4))
        let page = rig.page(history(log.row.id, limit: 4))
        #expect(page?.seqs.count == 4 && page?.next == nil && page?.hasMore == false)
    }

    @Test
    func `A conversation is shown to its tenant and, where the scope says so, its user alone`()
        throws
    {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first())
        let id = log.row.id
        for allowed in [scope(), scope(user: "ann")] {
            #expect(rig.page(history(id, allowed))?.seqs == [1])
        }
        let refused = [
            scope(1, "globex"), scope(1, "globex", user: "ann"), scope(user: "bob"),
            scope(user: "Ann"),
            scope(user: ""), scope(1, "acme"),
        ]
        for scope in refused {
            #expect(rig.page(history(id, scope))?.problem?.code == .notFound)
        }
        #expect(rig.page(history(Identifier(high: 3, low: 3)))?.problem?.code == .notFound)
    }

    @Test func `Unread counts what came after the user's own last message`() throws {
        let rig = try Rig()
        let log = Log()
        let entries = [
            log.entry(1), log.entry(2, isInbound: false), log.entry(3),
            log.entry(4, isInbound: false),
            log.entry(5, isInbound: false),
        ]
        _ = rig.commit(log.unit(entries, .insert))
        #expect(
            rig.page(history(log.row.id))?.text.contains("\"last_seq\":5,\"unread\":2,") == true)
        _ = rig.commit(log.unit([log.entry(6)]))
        #expect(
            rig.page(history(log.row.id))?.text.contains("\"last_seq\":6,\"unread\":0,") == true)
    }
}

@Suite struct ListTests {
    private func list(
        _ scope: Scope = scope(), status: ConversationStatus? = nil, channel: Channel? = nil,
        order: PageOrder = .descending, cursor: String? = nil, limit: Int = 50
    ) throws -> ReadJob {
        var filter = ListFilter()
        filter.status = status
        filter.channel = channel
        var (order, direction, after, before) = (
            order, PageDirection.forward, Identifier?.none, Identifier?.none
        )
        if let cursor {
            let block = ByteBlock(cursor)
            let found = Cursor.id(block.bytes)
            let position = try #require(found.map { ($0.order, $0.direction, $0.id) })
            (order, direction) = (position.0, position.1)
            if (order == .ascending) == (direction == .forward) {
                after = position.2
            } else {
                before = position.2
            }
        }
        return .list(
            ListQuery(
                origin: origin, scope: scope, filter: filter, order: order,
                direction: direction, after: after, before: before, limit: limit))
    }

    private func filled() throws -> (rig: Rig, logs: [Log]) {
        let rig = try Rig()
        var logs: [Log] = []
        for number in 0..<12 {
            logs.append(
                Log(
                    user: number % 3 == 0 ? "ann" : "bob", channel: number % 2 == 0 ? .web : .sms,
                    status: number % 4 == 0 ? .closed : .open))
        }
        logs.append(Log(tenant: 1))
        _ = rig.commit(logs.map { $0.first() })
        return (rig, logs)
    }

    private func ids(_ logs: [Log]) -> [String] { logs.map { $0.row.id.text(.conversation) } }

    @Test func `Lists are newest first unless told otherwise, and of one tenant`() throws {
        let (rig, logs) = try filled()
        #expect(rig.page(try list())?.ids == ids(logs.dropLast().reversed()))
        #expect(rig.page(try list(order: .ascending))?.ids == ids(Array(logs.dropLast())))
        #expect(rig.page(try list(scope(1, "globex")))?.ids == ids([logs[12]]))
        #expect(rig.page(try list(scope(1, "nobody")))?.ids == [])
    }

    @Test func `Each filter holds, alone and with the others`() throws {
        let (rig, logs) = try filled()
        for user in [nil, "ann", "bob", "cy"] as [String?] {
            for status in [nil, .open, .closed, .snoozed] as [ConversationStatus?] {
                for channel in [nil, .web, .sms, .voice] as [Channel?] {
                    let wanted = logs.dropLast().filter {
                        (user == nil || $0.row.userID.text == user)
                            && (status == nil || $0.row.status == status)
                            && (channel == nil || $0.row.channel == channel)
                    }
                    let page = rig.page(
                        try list(scope(user: user), status: status, channel: channel))
                    #expect(page?.ids == ids(wanted.reversed()))
                }
            }
        }
    }

    @Test(arguments: [1, 3, 5, 11, 12, 13])
    func `Paging by cursor is complete and without repeats, both ways`(_ limit: Int) throws {
        let (rig, logs) = try filled()
        for order in [PageOrder.ascending, .descending] {
            var pages = [try #require(rig.page(try list(order: order, limit: limit)))]
            #expect(pages[0].previous == nil)
            while let next = pages[pages.count - 1].next {
                pages.append(try #require(rig.page(try list(cursor: next, limit: limit))))
                #expect(pages.count <= 12, "paging ends")
            }
            let shown = ids(
                order == .ascending ? Array(logs.dropLast()) : logs.dropLast().reversed())
            #expect(pages.flatMap(\.ids) == shown)
            #expect(pages.map(\.hasMore) == pages.indices.map { $0 < pages.count - 1 })
            var back = [pages[pages.count - 1]]
            while let previous = back[0].previous {
                back.insert(try #require(rig.page(try list(cursor: previous, limit: limit))), at: 0)
                #expect(back.count <= pages.count, "paging back ends")
            }
            #expect(back.flatMap(\.ids) == shown)
        }
    }

    @Test func `A listed conversation shows its head, what is unread and when it last changed`()
        throws
    {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.unit([log.entry(1), log.entry(2, isInbound: false)], .insert))
        let text = rig.page(try list())?.text
        #expect(text?.contains("\"last_seq\":2,\"unread\":1,") == true)
        #expect(text?.contains("\"updated_at\":\"1970-01-01T00:00:02.002Z\"") == true)
    }
}

@Suite struct CursorTests {
    private func text(seq: UInt64, _ order: PageOrder, _ direction: PageDirection) -> String {
        let writer = ByteWriter(capacity: 64)
        Cursor.write(seq: seq, order, direction, into: writer)
        return writer.string()
    }

    private func text(id: Identifier, _ order: PageOrder, _ direction: PageDirection) -> String {
        let writer = ByteWriter(capacity: 64)
        Cursor.write(id: id, order, direction, into: writer)
        return writer.string()
    }

    private func seq(_ text: String) -> (order: PageOrder, direction: PageDirection, seq: UInt64)? {
        let block = ByteBlock(text)
        return Cursor.seq(block.bytes)
    }

    private func id(_ text: String) -> (order: PageOrder, direction: PageDirection, id: Identifier)?
    {
        let block = ByteBlock(text)
        return Cursor.id(block.bytes)
    }

    @Test func `A cursor comes back with all that it holds, and is none of the other kind`() {
        let wanted = Identifier(high: 0x0123_4567_89AB_CDEF, low: .max)
        for order in [PageOrder.ascending, .descending] {
            for direction in [PageDirection.forward, .backward] {
                for value in [0, 1, 255, UInt64(Int64.max)] {
                    let cursor = text(seq: value, order, direction)
                    let found = seq(cursor)
                    #expect(
                        found?.order == order && found?.direction == direction
                            && found?.seq == value)
                    #expect(id(cursor) == nil)
                }
                let cursor = text(id: wanted, order, direction)
                let found = id(cursor)
                #expect(
                    found?.order == order && found?.direction == direction && found?.id == wanted)
                #expect(seq(cursor) == nil)
            }
        }
    }

    @Test(arguments: [
        "", "h", "l", "h0", "x00000000000000000", "H00000000000000001", "h40000000000000001",
        "h90000000000000001", "h/0000000000000001", "ha0000000000000001", "h0000000000000000",
        "h000000000000000011", "h0000000000000000g", "h0 000000000000001", "h0-000000000000001",
        "h08000000000000000", "h0ffffffffffffffff", "null", "1", "12",
        "l00123456789abcdef0123456789abcde", "l00123456789abcdef0123456789abcdeg",
        "l00123456789abcdef0123456789abcdef0", "l40123456789abcdef0123456789abcdef", "%00",
        "h0é0000000000000", "0h0000000000000001",
    ])
    func `Anything else is no cursor`(_ text: String) {
        #expect(seq(text) == nil && id(text) == nil)
    }
}

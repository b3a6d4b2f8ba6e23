// Lists with every combination of filters, against a plain scan of what was committed.

import Bytes
import ChatModel
import Synchronization
import Testing

@testable import Stores

private struct Made {
    var log: Log
    var labels: Set<String> = []
    var assignee: String?
}

/// Conversations whose fields are a number's digits, so that every combination is there.
private func filled(_ desk: Desk) -> [Made] {
    var made: [Made] = []
    for number in 0..<96 {
        var log = Log(
            user: number % 5 == 0 ? "ann" : "bob", tenant: number % 8 == 7 ? 1 : 0,
            channel: number % 3 == 0 ? .sms : .web)
        #expect(desk.commit(log.first()).isCommitted)
        var item = Made(log: log)
        log.row.status = ConversationStatus(rawValue: UInt8(number % 4)) ?? .open
        if number % 2 == 1 { log.row.hand(to: .human, id: nil) }
        if number % 7 < 3 { item.assignee = ["kim", "lee", "kim"][number % 7] }
        if number % 6 < 4 { item.labels = number % 6 == 3 ? ["a", "b\"c\u{e9}"] : ["a"] }
        var details = log.row.details
        details.assignee = item.assignee.map { ByteBlock($0) }
        details.labels = labels(item.labels)
        log.row.details = details
        #expect(desk.commit(log.unit([log.entry(2, kind: .status)], .update)).isCommitted)
        item.log = log
        made.append(item)
    }
    return made
}

private func labels(_ names: Set<String>) -> ByteBlock? {
    if names.isEmpty { return nil }
    let writer = ByteWriter(capacity: 64)
    for name in names.sorted() {
        writer.append(writer.count == 0 ? "[" : ",")
        writer.append(json: name)
    }
    writer.append("]")
    return writer.block()
}

private struct Case: CustomTestStringConvertible {
    var user: String?
    var status: ConversationStatus?
    var channel: Channel?
    var assignee: String?
    var label: String?
    var handler: HandlerType?

    var testDescription: String {
        "\(user ?? "-") \(String(describing: status)) \(String(describing: channel)) "
            + "\(assignee ?? "-") \(label ?? "-") \(String(describing: handler))"
    }

    static let all: [Case] = {
        var all: [Case] = []
        for user in [nil, "ann"] as [String?] {
            for status in [nil, .open, .closed] as [ConversationStatus?] {
                for channel in [nil, .sms] as [Channel?] {
                    for assignee in [nil, "", "kim", "who"] as [String?] {
                        for label in [nil, "a", "b\"c\u{e9}"] as [String?] {
                            for handler in [nil, .bot, .human] as [HandlerType?] {
                                all.append(
                                    Case(
                                        user: user, status: status, channel: channel,
                                        assignee: assignee, label: label, handler: handler))
                            }
                        }
                    }
                }
            }
        }
        return all
    }()

    var filter: ListFilter {
        var filter = ListFilter()
        filter.status = status
        filter.channel = channel
        filter.handler = handler
        filter.label = label.map { ByteBlock($0) }
        filter.assignee = assignee.map { $0.isEmpty ? .nobody : .somebody(ByteBlock($0)) }
        return filter
    }

    func fits(_ made: Made) -> Bool {
        let row = made.log.row
        return row.tenant.value == 0 && (user.map { $0 == row.userID.text } ?? true)
            && (status.map { $0 == row.status } ?? true)
            && (channel.map { $0 == row.channel } ?? true)
            && (assignee.map { $0 == made.assignee ?? "" } ?? true)
            && (label.map { made.labels.contains($0) } ?? true)
            && (handler.map { $0 == row.handler.type } ?? true)
    }
}

private func job(
    _ item: Case, _ order: PageOrder, cursor: String? = nil, limit: Int
) -> ReadJob {
    var (order, direction, after, before) = (
        order, PageDirection.forward, Identifier?.none, Identifier?.none
    )
    if let cursor {
        let block = ByteBlock(cursor)
        if let found = Cursor.id(block.bytes) {
            (order, direction) = (found.order, found.direction)
            if (order == .ascending) == (direction == .forward) {
                after = found.id
            } else {
                before = found.id
            }
        } else {
            Issue.record("\(cursor) is no cursor")
        }
    }
    return .list(
        ListQuery(
            origin: origin, scope: scope(user: item.user), filter: item.filter, order: order,
            direction: direction, after: after, before: before, limit: limit))
}

@Suite struct ListFilterTests {
    /// All pages there, then all pages back; each must show the same.
    private func walk(_ desk: Desk, _ item: Case, _ order: PageOrder, limit: Int) -> [String] {
        var there: [String] = []
        var cursor: String?
        var pages = 0
        var last: Page?
        repeat {
            last = desk.page(job(item, order, cursor: cursor, limit: limit))
            there += last?.ids ?? []
            cursor = last?.next
            #expect(last?.hasMore == (cursor != nil))
            pages += 1
        } while cursor != nil && pages < 200
        var back = last?.ids ?? []
        cursor = last?.previous
        while let place = cursor, pages < 400 {
            let page = desk.page(job(item, order, cursor: place, limit: limit))
            back = (page?.ids ?? []) + back
            cursor = page?.previous
            pages += 1
        }
        #expect(back == there)
        return there
    }

    @Test func `Every combination finds what a scan finds, page by page, both ways`() throws {
        let desk = try Desk()
        let made = filled(desk)
        for item in Case.all {
            let wanted = made.filter(item.fits).map { $0.log.row.id.text(.conversation) }
            #expect(walk(desk, item, .ascending, limit: 7) == wanted, "\(item)")
            #expect(walk(desk, item, .descending, limit: 5) == wanted.reversed(), "\(item)")
        }
        #expect(desk.metrics.listsCutOff.load(ordering: .relaxed) == 0)
    }

    @Test func `A row is admitted by itself where the index lists it`() throws {
        let desk = try Desk()
        let made = filled(desk)
        for item in Case.all {
            guard case .list(let query) = job(item, .ascending, limit: 5) else { continue }
            for one in made {
                #expect(query.admits(one.log.row) == item.fits(one), "\(item) \(one)")
            }
        }
    }

    @Test(arguments: [
        ("[\"a\"]", "a", true), ("[\"a\",\"bc\"]", "bc", true), ("[\"a\",\"bc\"]", "b", false),
        ("[\"a\",\"bc\"]", "c", false), ("[\"a\\\"\",\"b\"]", "b", true),
        ("[\"a\\\\\",\"b\"]", "a\\", true),
        ("[\"a,b\"]", "b", false), ("[\"a\\\",\\\"b\"]", "b", false),
        ("[\"\u{e9}\"]", "\u{e9}", true),
        ("[]", "a", false), ("[\"ab\"]", "abc", false),
    ])
    func `A label is found in the JSON of labels`(_ text: String, _ label: String, _ isThere: Bool)
    {
        var details = ConversationDetails()
        details.labels = ByteBlock(text)
        #expect(details.hasLabel(ByteBlock(label)) == isThere)
        #expect(!ConversationDetails().hasLabel(ByteBlock(label)))
    }

    @Test(arguments: [1, 2, 3, 10, 50])
    func `A page that has looked at enough is short, and the next goes on`(_ bound: Int) throws {
        let desk = try Desk()
        let made = filled(desk)
        desk.reader.listScannedMax = bound
        for item in Case.all where item.user == nil {
            let wanted = made.filter(item.fits).map { $0.log.row.id.text(.conversation) }
            #expect(walk(desk, item, .ascending, limit: 7) == wanted, "\(item)")
        }
        #expect(desk.metrics.listsCutOff.load(ordering: .relaxed) > 0)
    }

    @Test func `Labels follow their conversation as they change`() throws {
        let desk = try Desk()
        var log = Log()
        #expect(desk.commit(log.first()).isCommitted)
        var seq: UInt64 = 2
        for names in [["a", "b"], ["b"], [], ["c", "b"]] as [Set<String>] {
            log.row.details.labels = labels(names)
            let unit = log.unit([log.entry(seq, kind: .label)], .update)
            #expect(desk.commit(unit).isCommitted)
            seq += 1
            for name in ["a", "b", "c"] {
                let found = desk.page(job(Case(label: name), .ascending, limit: 5))?.ids.count
                #expect(found == (names.contains(name) ? 1 : 0), "\(names) \(name)")
            }
            #expect(desk.count("labels") == names.count)
        }
    }

    @Test func `A store from before the labels' table gets its rows`() throws {
        let files = TemporaryDirectory()
        do {
            let desk = try Desk(files)
            var log = Log()
            #expect(desk.commit(log.first()).isCommitted)
            log.row.details.labels = labels(["old", "b"])
            #expect(
                desk.commit(log.unit([log.entry(2, kind: .label)], .update)).isCommitted)
            desk.fold()
            try desk.connection.run("DROP TRIGGER labels_follow; DROP TABLE labels")
        }
        let desk = try Desk(files)
        #expect(desk.count("labels") == 2)
        #expect(desk.page(job(Case(label: "old"), .ascending, limit: 5))?.ids.count == 1)
    }

    @Test func `Each list walks one index in its order and sorts nothing`() throws {
        let desk = try Desk()
        for item in Case.all {
            for order in [PageOrder.ascending, .descending] {
                guard case .list(let query) = job(item, order, limit: 5) else { continue }
                let plan = try desk.connection.prepare(
                    "EXPLAIN QUERY PLAN \(MessageReader.sql(query))")
                while try plan.step() {
                    let step = plan.text(3)
                    #expect(!step.contains("TEMP B-TREE") && !step.contains("SCAN"), "\(step)")
                }
            }
        }
    }
}

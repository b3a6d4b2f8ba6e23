// Query parameters of the reading routes.

import Bytes
import ChatModel
import Search
import Stores
import Wire

/// The parameters of a request's query, decoded one by one.
public struct PageQuery {
    public var limit = Limits.pageDefault
    public var order: PageOrder?
    public var cursor: ByteBlock?
    public var afterSeq: UInt64?
    public var beforeSeq: UInt64?
    public var userID: ByteBlock?
    public var filter = ListFilter()
    public var words: SearchWords?

    /// Unknown parameters are ignored; a known one with a value that is not allowed is a fault.
    public init(_ bytes: RawSpan, _ query: ByteRange, scratch: ByteWriter) throws(Problem) {
        var faults = FaultList()
        var scanner = HTTPQueryScanner(query)
        while let pair = scanner.next(bytes) {
            scratch.removeAll()
            guard percentDecode(bytes.part(pair.value), into: scratch, plus: .isSpace) else {
                faults.add("", "format", "The query holds a malformed percent-encoding.")
                continue
            }
            read(bytes.part(pair.name), scratch.bytes, &faults)
        }
        guard faults.isEmpty else { throw faults.problem }
    }

    private mutating func read(_ name: RawSpan, _ value: RawSpan, _ faults: inout FaultList) {
        if name.equals("limit") {
            if let number = value.decimal(), number >= 1, number <= UInt64(Limits.pageMax) {
                limit = Int(number)
            } else {
                faults.add(
                    "/limit", "range", "limit must be a whole number from 1 to \(Limits.pageMax).")
            }
        } else if name.equals("order") {
            if value.equals("asc") {
                order = .ascending
            } else if value.equals("desc") {
                order = .descending
            } else {
                faults.add("/order", "format", "order must be asc or desc.")
            }
        } else if name.equals("cursor") {
            cursor = ByteBlock(copying: value)
        } else if name.equals("after_seq") {
            afterSeq = seq(value, "/after_seq", &faults)
        } else if name.equals("before_seq") {
            beforeSeq = seq(value, "/before_seq", &faults)
        } else if name.equals("user_id") {
            if MessageRequestReader.isName(value, Limits.userIDBytesMax) {
                userID = ByteBlock(copying: value)
            } else {
                faults.add(
                    "/user_id", "format", "user_id must have 1 to \(Limits.userIDBytesMax) bytes.")
            }
        } else if name.equals("status") {
            filter.status = ConversationStatus(value)
            if filter.status == nil {
                faults.add("/status", "format", "status must be open, pending, snoozed or closed.")
            }
        } else if name.equals("channel") {
            filter.channel = Channel(value)
            if filter.channel == nil {
                faults.add("/channel", "format", "This channel is not known.")
            }
        } else {
            readAgentsFilter(name, value, &faults)
        }
    }

    /// What agents keep their queues apart by.
    private mutating func readAgentsFilter(
        _ name: RawSpan, _ value: RawSpan, _ faults: inout FaultList
    ) {
        if name.equals("assignee") {
            if value.byteCount == 0 {
                filter.assignee = .nobody
            } else if MessageRequestReader.isName(value, Limits.userIDBytesMax) {
                filter.assignee = .somebody(ByteBlock(copying: value))
            } else {
                faults.add(
                    "/assignee", "format",
                    """
                    assignee must have at most \(Limits.userIDBytesMax) bytes; empty, it finds \
                    what is assigned to nobody.
                    """)
            }
        } else if name.equals("label") {
            if MessageRequestReader.isName(value, Limits.labelBytesMax) {
                filter.label = ByteBlock(copying: value)
            } else {
                faults.add(
                    "/label", "format", "label must have 1 to \(Limits.labelBytesMax) bytes.")
            }
        } else if name.equals("handler") {
            if value.equals("bot") {
                filter.handler = .bot
            } else if value.equals("human") {
                filter.handler = .human
            } else {
                faults.add("/handler", "format", "handler must be bot or human.")
            }
        } else if name.equals("q") {
            readWords(value, &faults)
        }
    }

    private mutating func readWords(_ value: RawSpan, _ faults: inout FaultList) {
        do throws(SearchWords.Fault) {
            words = try SearchWords(value)
        } catch {
            switch error {
            case .length:
                faults.add("/q", "format", "q must have 1 to \(Limits.searchBytesMax) bytes.")
            case .tooManyWords:
                faults.add(
                    "/q", "too_many", "q may have at most \(Limits.searchWordsMax) words.")
            }
        }
    }

    private func seq(_ value: RawSpan, _ pointer: String, _ faults: inout FaultList) -> UInt64? {
        if let number = value.decimal(), number <= UInt64(Int64.max) { return number }
        faults.add(pointer, "format", "A seq is a whole number that is not negative.")
        return nil
    }

    static let badCursor = Problem.invalid("/cursor", "format", "This cursor is not valid here.")

    /// A cursor takes the place of `order`, `after_seq` and `before_seq`.
    public func history(
        _ conversation: Identifier, _ scope: Scope, _ origin: Origin
    ) throws(Problem) -> HistoryQuery {
        var order = order ?? .ascending
        var direction = PageDirection.forward
        var after = afterSeq
        var before = beforeSeq
        if let cursor {
            guard let position = Cursor.seq(cursor.bytes) else { throw Self.badCursor }
            order = position.order
            direction = position.direction
            if (order == .ascending) == (direction == .forward) {
                after = max(after ?? 0, position.seq)
            } else {
                before = min(before ?? .max, position.seq)
            }
        }
        return HistoryQuery(
            origin: origin, scope: scope, conversation: conversation, order: order,
            direction: direction,
            afterSeq: after, beforeSeq: before, limit: limit)
    }

    /// Newest first unless told otherwise.
    public func list(_ scope: Scope, _ origin: Origin) throws(Problem) -> ListQuery {
        if let words { return try search(words, scope, origin) }
        var order = order ?? .descending
        var direction = PageDirection.forward
        var after: Identifier?
        var before: Identifier?
        if let cursor {
            guard let position = Cursor.id(cursor.bytes) else { throw Self.badCursor }
            order = position.order
            direction = position.direction
            if (order == .ascending) == (direction == .forward) {
                after = position.id
            } else {
                before = position.id
            }
        }
        return ListQuery(
            origin: origin, scope: scope, filter: filter, order: order, direction: direction,
            after: after, before: before, limit: limit)
    }

    /// In the order of the newest matches, whatever `order` says but `asc`.
    private func search(
        _ words: SearchWords, _ scope: Scope, _ origin: Origin
    ) throws(Problem) -> ListQuery {
        if order == .ascending {
            throw .invalid("/order", "unsupported", "With q the newest match comes first.")
        }
        var direction = PageDirection.forward
        var position: SearchPosition?
        if let cursor {
            guard let found = Cursor.search(cursor.bytes) else { throw Self.badCursor }
            direction = found.direction
            position = found.position
        }
        return ListQuery(
            origin: origin, scope: scope, filter: filter, order: .descending,
            direction: direction, after: nil, before: nil, limit: limit,
            terms: SearchTerms(expression: words.expression, position: position))
    }
}

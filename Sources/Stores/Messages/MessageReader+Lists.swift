// Pages of conversations.
//
// A list walks one index in the order of id: that of its rarest filter (ListSource). What the other
// filters leave out is walked over, and a page ends after Limits.listScannedMax rows at the latest:
// it may be short, or empty, and still have a cursor to go on from.

import Bytes
import ChatModel
import Synchronization

extension MessageReader {
    func list(_ query: ListQuery) throws(SQLiteError) -> Answer {
        let walk = try walk(query)
        var rows = walk.rows
        let hasMore = rows.count > query.limit || walk.wasCutOff
        var edge = walk.wasCutOff ? walk.last : nil
        if rows.count > query.limit {
            rows.removeLast()
            edge = rows.last?.id
        }
        let isForward = query.direction == .forward
        let near = rows.first?.id ?? query.boundIncluded
        if !isForward { rows.reverse() }
        writer.removeAll()
        writer.append("{\"data\":[")
        for (index, row) in rows.enumerated() {
            if index > 0 { writer.append(0x2C) }
            let readSeq = try progress(of: row.id).readSeq
            let activity = try logs.activity(
                of: logs.tail(of: row.id), in: row.id, readSeq: readSeq)
            var shown = row
            shown.show(activity)
            shown.write(into: writer, unread: activity.unread)
        }
        writer.append("],\"page\":{\"next_cursor\":")
        appendCursor(isForward ? edge : near, query.order, .forward)
        writer.append(",\"prev_cursor\":")
        let cameFromCursor = query.boundIncluded != nil
        appendCursor(isForward ? (cameFromCursor ? near : nil) : edge, query.order, .backward)
        writer.append(hasMore || !isForward ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        return answer(query.origin, writer.block())
    }

    private func appendCursor(_ id: Identifier?, _ order: PageOrder, _ direction: PageDirection) {
        guard let id else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(id: id, order, direction, into: writer)
        writer.append(0x22)
    }

    /// What a walk found, in its own order: at most one row more than the page has room for.
    private struct Walk {
        var rows: [Conversation] = []
        var last: Identifier?
        var wasCutOff = false
    }

    private func walk(_ query: ListQuery) throws(SQLiteError) -> Walk {
        let statement = try listStatement(query)
        // The logs are read next, each in two parts; see conversation(_:).
        defer { statement.reset() }
        bind(query, to: statement)
        var found = Walk()
        var scanned = 0
        while found.rows.count <= query.limit, try statement.step() {
            scanned += 1
            found.last = statement.identifier(0)
            guard statement.integer(Self.fitsColumn) == 1, let next = row(statement) else {
                continue
            }
            found.rows.append(next)
        }
        found.wasCutOff = scanned == listScannedMax && found.rows.count <= query.limit
        if found.wasCutOff { metrics.listsCutOff.wrappingAdd(1, ordering: .relaxed) }
        return found
    }

    // MARK: SQL

    private static let fitsColumn: Int32 = 15

    private func listStatement(_ query: ListQuery) throws(SQLiteError) -> SQLiteStatement {
        let sql = Self.sql(query)
        if let known = lists[sql] { return known }
        let made = try connection.prepare(sql)
        lists[sql] = made
        return made
    }

    static func sql(_ query: ListQuery) -> String {
        let source = ListSource(query)
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        let way = "\(readOrder == .ascending ? "" : " DESC") LIMIT ?8"
        var select = """
            SELECT \(Self.columns), \(fits(query)) AS fits FROM \(source.table) WHERE \
            \(source.condition)
            """
        if query.after != nil { select += " AND \(source.id)>?6" }
        if query.before != nil { select += " AND \(source.id)<?7" }
        guard source.isByStatus else { return "\(select) ORDER BY \(source.id)\(way)" }
        // Within one status the index has the order of id. SQLite merges the parts as it walks.
        let statuses = query.filter.status.map { [$0] } ?? ConversationStatus.allCases
        let parts = statuses.map { "\(select) AND status=\($0.rawValue)" }
        return parts.joined(separator: " UNION ALL ") + " ORDER BY id\(way)"
    }

    /// SQL that is 1 where every filter fits.
    private static func fits(_ query: ListQuery) -> String {
        let filter = query.filter
        var terms = ["1"]
        if let status = filter.status { terms.append("status=\(status.rawValue)") }
        if let channel = filter.channel { terms.append("channel=\(channel.rawValue)") }
        if let handler = filter.handler { terms.append("handler_type=\(handler.rawValue)") }
        switch filter.assignee {
        case .somebody: terms.append("assignee IS ?3")
        case .nobody: terms.append("assignee IS NULL")
        case nil: break
        }
        if filter.label != nil {
            terms.append(
                """
                EXISTS(SELECT 1 FROM labels WHERE labels.tenant_id=?1 AND labels.label=?4 \
                AND labels.conversation=conversations.id)
                """)
        }
        return terms.joined(separator: " AND ")
    }

    private func bind(_ query: ListQuery, to statement: SQLiteStatement) {
        statement.bind(1, text: query.scope.tenantName)
        if let userID = query.scope.userID { statement.bind(2, text: userID) }
        if case .somebody(let name) = query.filter.assignee { statement.bind(3, text: name) }
        if let label = query.filter.label { statement.bind(4, text: label) }
        if let after = query.after { statement.bind(6, after) }
        if let before = query.before { statement.bind(7, before) }
        statement.bind(8, UInt64(listScannedMax))
    }
}

extension ListQuery {
    /// Where the other direction begins when nothing is shown: just beyond the bound, so that what
    /// stands at it is shown.
    fileprivate var boundIncluded: Identifier? {
        if let before { return before.neighbourBefore }
        return after?.neighbourBehind
    }
}

extension Identifier {
    /// Its neighbours in the order of ids.
    fileprivate var neighbourBefore: Identifier {
        Identifier(high: low == 0 ? high &- 1 : high, low: low &- 1)
    }
    fileprivate var neighbourBehind: Identifier {
        Identifier(high: low == .max ? high &+ 1 : high, low: low &+ 1)
    }
}

/// The index that a list walks, in SQL.
private struct ListSource {
    var table = "conversations INDEXED BY "
    var condition = "conversations.tenant=?1"
    /// The column of the index that has the id.
    var id = "id"
    /// The index has status before id.
    var isByStatus = false

    init(_ query: ListQuery) {
        if query.scope.userID != nil {
            table += "conversations_user"
            condition += " AND user_id=?2"
        } else if case .somebody = query.filter.assignee {
            table += "conversations_assignee"
            condition += " AND assignee=?3"
        } else if query.filter.label != nil {
            table = "labels CROSS JOIN conversations ON conversations.id=labels.conversation"
            condition = "labels.tenant_id=?1 AND labels.label=?4"
            id = "labels.conversation"
        } else if query.filter.handler == .human {
            table += "conversations_human"
            condition += " AND handler_type=1"
            isByStatus = true
        } else {
            table += "conversations_status"
            isByStatus = true
        }
    }
}

// Pages of conversations.

import Bytes
import ChatModel

extension MessageReader {
    func list(_ query: ListQuery) throws(SQLiteError) -> Answer {
        let statement = try listStatement(query)
        defer { statement.reset() }
        bind(query, to: statement)
        var rows: [Conversation] = []
        while rows.count <= query.limit, try statement.step() {
            if let next = row(statement) { rows.append(next) }
        }
        // The logs are read next, each in two parts; see conversation(_:).
        statement.reset()
        let hasMore = rows.count > query.limit
        if hasMore { rows.removeLast() }
        if query.direction == .backward { rows.reverse() }
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
        let isForward = query.direction == .forward
        writer.append("],\"page\":{\"next_cursor\":")
        appendCursor(hasMore || !isForward ? rows.last?.id : nil, query.order, .forward)
        writer.append(",\"prev_cursor\":")
        let cameFromCursor = query.after != nil || query.before != nil
        let hasEarlier = isForward ? cameFromCursor : hasMore
        appendCursor(hasEarlier ? rows.first?.id : nil, query.order, .backward)
        writer.append(hasMore || !isForward ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        return answer(query.origin, writer.block())
    }

    private func appendCursor(_ id: Identifier?, _ order: PageOrder, _ direction: PageDirection) {
        guard let id else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(id: id, order, direction, into: writer)
        writer.append(0x22)
    }

    private func listStatement(_ query: ListQuery) throws(SQLiteError) -> SQLiteStatement {
        var sql = "SELECT \(Self.columns) FROM conversations WHERE tenant=?1"
        if query.scope.userID != nil { sql += " AND user_id=?2" }
        if query.status != nil { sql += " AND status=?3" }
        if query.channel != nil { sql += " AND channel=?4" }
        if query.after != nil { sql += " AND id>?5" }
        if query.before != nil { sql += " AND id<?6" }
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        sql += readOrder == .ascending ? " ORDER BY id" : " ORDER BY id DESC"
        sql += " LIMIT ?7"
        if let known = lists[sql] { return known }
        let made = try connection.prepare(sql)
        lists[sql] = made
        return made
    }

    private func bind(_ query: ListQuery, to statement: SQLiteStatement) {
        statement.bind(1, text: query.scope.tenantName)
        if let userID = query.scope.userID { statement.bind(2, text: userID) }
        if let status = query.status { statement.bind(3, UInt64(status.rawValue)) }
        if let channel = query.channel { statement.bind(4, UInt64(channel.rawValue)) }
        if let after = query.after { statement.bind(5, after) }
        if let before = query.before { statement.bind(6, before) }
        statement.bind(7, UInt64(query.limit + 1))
    }
}

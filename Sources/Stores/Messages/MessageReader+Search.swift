// Pages of conversations that have certain words in their messages.

import Bytes
import ChatModel

extension MessageReader {
    static let noIndex = Problem(
        .temporarilyUnavailable, "The search index is being made. Try again.",
        retryAfterSeconds: 1)

    func search(_ query: ListQuery, _ terms: SearchTerms) throws(SQLiteError) -> Answer {
        var rows: [Identifier: Conversation] = [:]
        var fault: SQLiteError?
        let page = finder?.find(
            SearchQuery(
                scope: query.scope, expression: terms.expression, position: terms.position,
                direction: query.direction, limit: query.limit)
        ) { id in
            guard fault == nil else { return false }
            do throws(SQLiteError) {
                guard let row = try plainRow(id), query.admits(row) else { return false }
                rows[id] = row
                return true
            } catch {
                fault = error
                return false
            }
        }
        if let fault { throw fault }
        guard let page else {
            return Answer(origin: query.origin, frameID: nil, result: .failure(Self.noIndex))
        }
        return try write(page, rows, query)
    }

    private func write(
        _ page: FoundPage, _ rows: [Identifier: Conversation], _ query: ListQuery
    ) throws(SQLiteError) -> Answer {
        writer.removeAll()
        writer.append("{\"data\":[")
        var isFirst = true
        for item in page.found {
            guard var shown = rows[item.conversation] else { continue }
            if !isFirst { writer.append(0x2C) }
            isFirst = false
            let activity = try logs.activity(of: logs.tail(of: shown.id), in: shown.id)
            shown.show(activity)
            shown.write(into: writer, unread: activity.unread)
            // One field more, before the object's brace.
            writer.truncate(to: writer.count - 1)
            writer.append(",\"match\":{\"seq\":")
            writer.append(decimal: item.seq)
            writer.append(",\"message_id\":\"")
            item.message.write(.message, into: writer)
            writer.append("\",\"snippet\":")
            writer.append(json: item.snippet)
            writer.append("}}")
        }
        writer.append("],\"page\":{\"next_cursor\":")
        append(page.next, .forward)
        writer.append(",\"prev_cursor\":")
        append(page.previous, .backward)
        let hasMore = page.next != nil || query.direction == .backward
        writer.append(hasMore ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        return answer(query.origin, writer.block())
    }

    private func append(_ position: SearchPosition?, _ direction: PageDirection) {
        guard let position else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(position, direction, into: writer)
        writer.append(0x22)
    }
}

extension ListQuery {
    /// Whether a row is the scope's and fits every filter. The index says so too; what decides is
    /// the row.
    func admits(_ row: Conversation) -> Bool {
        guard row.tenant == scope.tenant, scope.userID.map({ $0.equals(row.userID) }) ?? true,
            filter.status.map({ $0 == row.status }) ?? true,
            filter.channel.map({ $0 == row.channel }) ?? true,
            filter.handler.map({ $0 == row.handler.type }) ?? true
        else { return false }
        switch filter.assignee {
        case .nobody: if row.details.assignee != nil { return false }
        case .somebody(let name): if !areSame(name, row.details.assignee) { return false }
        case nil: break
        }
        guard let label = filter.label else { return true }
        return row.details.hasLabel(label)
    }
}

extension ConversationDetails {
    /// Labels are stored as JSON, written by one writer: equal labels have equal text.
    func hasLabel(_ label: ByteBlock) -> Bool {
        guard let labels else { return false }
        let wanted = ByteWriter(capacity: 80)
        wanted.append(json: label)
        let needle = wanted.bytes
        let text = labels.bytes
        var start = 1
        while start + needle.byteCount < text.byteCount {
            let end = start + needle.byteCount
            let mark = text.byte(at: end)
            if text.extracting(start..<end).equals(needle), mark == 0x2C || mark == 0x5D {
                return true
            }
            start = Self.endOfString(text, from: start) + 1
        }
        return false
    }

    /// The offset behind the JSON string that begins at `start`.
    private static func endOfString(_ text: RawSpan, from start: Int) -> Int {
        var offset = start + 1
        while offset < text.byteCount, text.byte(at: offset) != 0x22 {
            offset += text.byte(at: offset) == 0x5C ? 2 : 1
        }
        return offset + 1
    }
}

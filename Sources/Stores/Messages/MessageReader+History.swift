// Pages of one conversation's log, and what a socket that catches up is sent.

import Bytes
import ChatModel

extension MessageReader {
    func conversation(
        _ id: Identifier, in scope: Scope
    ) throws(SQLiteError) -> Conversation? {
        guard let found = try conversation(id), found.tenant == scope.tenant,
            scope.userID.map({ $0.equals(found.userID) }) ?? true
        else { return nil }
        return found
    }

    static func unknown(_ origin: Origin) -> Answer {
        Answer(
            origin: origin, frameID: nil,
            result: .failure(TargetQuery.unknownConversation))
    }

    func show(_ query: ConversationQuery) throws(SQLiteError) -> Answer {
        guard var found = try conversation(query.conversation, in: query.scope) else {
            return Self.unknown(query.origin)
        }
        let activity = try logs.activity(
            of: logs.tail(of: query.conversation), in: query.conversation,
            readSeq: try progress(of: query.conversation).readSeq)
        found.show(activity)
        writer.removeAll()
        found.write(into: writer, unread: activity.unread)
        var answer = answer(query.origin, writer.block())
        answer.version = found.version
        return answer
    }

    func history(_ query: HistoryQuery) throws(SQLiteError) -> Answer {
        guard var found = try conversation(query.conversation, in: query.scope) else {
            return Self.unknown(query.origin)
        }
        let progress = try progress(of: query.conversation)
        let tail = logs.tail(of: query.conversation)
        let activity = try logs.activity(
            of: tail, in: query.conversation, readSeq: progress.readSeq)
        found.show(activity)
        let page = try entries(query, tail, progress)
        writer.removeAll()
        writer.append("{\"conversation\":")
        found.write(into: writer, unread: activity.unread)
        writer.append(",\"data\":[")
        for (index, entry) in page.rows.enumerated() {
            if index > 0 { writer.append(0x2C) }
            writer.append(entry.body)
        }
        writer.append("],\"page\":{\"next_cursor\":")
        let isForward = query.direction == .forward
        appendCursor(
            seq: page.hasMore || !isForward ? page.rows.last?.seq : nil, query.order, .forward)
        writer.append(",\"prev_cursor\":")
        let first = page.rows.first?.seq
        let hasEarlier =
            isForward
            ? first.map {
                // What stands before the first page may be hidden as a whole.
                query.order == .ascending
                    ? $0 > 1
                    : $0 < found.lastSeq
                        && (query.scope.showsInternal || query.beforeSeq != nil)
            } ?? false
            : page.hasMore
        appendCursor(seq: hasEarlier ? first : nil, query.order, .backward)
        writer.append(page.hasMore || !isForward ? ",\"has_more\":true}}" : ",\"has_more\":false}}")
        var answer = answer(query.origin, writer.block())
        answer.version = found.version
        return answer
    }

    /// The rows of a page in the order in which they are shown, and whether more lie behind the
    /// last read.
    private func entries(
        _ query: HistoryQuery, _ tail: [IndexedEntry], _ progress: LogProgress
    ) throws(SQLiteError) -> (rows: [LogRow], hasMore: Bool) {
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        let bounds = LogBounds(
            after: query.afterSeq ?? 0, before: query.beforeSeq ?? .max,
            showsInternal: query.scope.showsInternal)
        var rows = try logs.rows(
            of: query.conversation, tail, bounds, readOrder, limit: query.limit + 1, progress)
        let hasMore = rows.count > query.limit
        if hasMore { rows.removeLast() }
        if query.direction == .backward { rows.reverse() }
        return (rows, hasMore)
    }

    private func appendCursor(seq: UInt64?, _ order: PageOrder, _ direction: PageDirection) {
        guard let seq else { return writer.append("null") }
        writer.append(0x22)
        Cursor.write(seq: seq, order, direction, into: writer)
        writer.append(0x22)
    }

    func replay(_ query: ReplayQuery) throws(SQLiteError) -> ReplayPage {
        let bounds = LogBounds(
            after: query.afterSeq, before: query.throughSeq + 1,
            showsInternal: query.showsInternal)
        let progress = try progress(of: query.conversation)
        let rows = try logs.rows(
            of: query.conversation, logs.tail(of: query.conversation), bounds, .ascending,
            limit: Limits.replayBatch, progress)
        var frames: [ByteBlock] = []
        var bytes = 0
        for row in rows where bytes < Limits.replayPageBytes {
            writer.removeAll()
            writer.append("{\"type\":\"message\",\"conversation_id\":\"")
            query.conversation.write(.conversation, into: writer)
            writer.append("\",\"message\":")
            writer.append(row.body)
            writer.append(0x7D)
            bytes += writer.count
            frames.append(writer.block())
        }
        return ReplayPage(
            origin: query.origin, conversation: query.conversation, frames: frames,
            lastSeq: frames.isEmpty ? query.afterSeq : rows[frames.count - 1].seq)
    }
}

extension Conversation {
    /// What its log says of it.
    mutating func show(_ activity: LogActivity) {
        lastSeq = activity.lastSeq
        updatedAtMilliseconds = max(updatedAtMilliseconds, activity.lastMilliseconds)
    }
}

// What a change of a message is decided on, and the message as it is after that.

import Bytes
import ChatModel

extension MessageReader {
    func message(_ query: MessageQuery) throws(SQLiteError) -> Answer {
        guard try conversation(query.conversation, in: query.scope) != nil else {
            return Self.unknown(query.origin)
        }
        let bounds = LogBounds(
            after: query.seq - 1, before: query.seq + 1, showsInternal: query.scope.showsInternal)
        let rows = try logs.rows(
            of: query.conversation, logs.tail(of: query.conversation), bounds, .ascending, limit: 1)
        guard let row = rows.first else {
            return refusal(query.origin, TargetQuery.unknownMessage)
        }
        return Answer(
            origin: query.origin, frameID: nil,
            result: .success(status: 200, body: row.body, isReplay: query.isReplay, follow: nil))
    }

    private func refusal(_ origin: Origin, _ problem: Problem) -> Answer {
        Answer(origin: origin, frameID: nil, result: .failure(problem))
    }

    func target(_ query: TargetQuery) throws(SQLiteError) -> StoreEvent {
        let id = query.conversation
        guard try conversation(id, in: query.scope) != nil else {
            return .answer(Self.unknown(query.origin))
        }
        let tail = logs.tail(of: id)
        guard let found = try logs.entry(named: query.change.message, in: id, tail),
            found.entry.kind == .message, query.scope.showsInternal || !found.entry.isInternal
        else { return .answer(refusal(query.origin, TargetQuery.unknownMessage)) }
        let body = found.body
        guard
            let sender = EntryView.sender(
                of: body.bytes, is: query.principal.subject, logs.scratch)
        else { throw LogReader.damaged }
        let change = try logs.change(of: found.entry.seq, id, tail)
        var isRedacted = false
        if case .redacted? = change { isRedacted = true }
        return .target(
            query,
            ChangeTarget(
                seq: found.entry.seq, senderType: sender.type, isFromSubject: sender.isSubject,
                isInternal: found.entry.isInternal, isRedacted: isRedacted,
                known: try known(query, found, change, tail),
                headSeq: try logs.head(of: id, tail)))
    }

    private func known(
        _ query: TargetQuery, _ message: LoggedEntry, _ change: LogChange?, _ tail: [IndexedEntry]
    ) throws(SQLiteError) -> ChangeTarget.Known? {
        switch query.change.deed {
        case .redaction: return nil
        case .edit:
            var last = message
            if case .edited(let edit)? = change { last = try logs.entry(at: edit.place) }
            guard says(last, query.change.content) else { return nil }
            return ChangeTarget.Known(entry: nil, isReplay: isSame(last, query.change))
        case .reaction, .reactionTakenBack:
            let subject = query.principal.subject
            let type: SenderType = query.principal.may(.messageReply) ? .agent : .user
            let scratch = logs.scratch
            let last = try logs.lastReaction(
                to: message.entry.seq, in: query.conversation, tail
            ) {
                let body = $0.body
                // An agent and a user may have one name.
                guard let sender = EntryView.sender(of: body.bytes, is: subject, scratch) else {
                    return false
                }
                return sender.isSubject && sender.type == type
            }
            guard let last else {
                return query.change.deed == .reactionTakenBack
                    ? ChangeTarget.Known(entry: nil, isReplay: false) : nil
            }
            guard says(last, query.change.content) else { return nil }
            return ChangeTarget.Known(entry: last.body, isReplay: isSame(last, query.change))
        }
    }

    private func says(_ entry: LoggedEntry, _ content: ByteBlock) -> Bool {
        let body = entry.body
        guard let place = EntryView.content(of: body.bytes) else { return false }
        return body.bytes.part(place).equals(content.bytes)
    }

    private func isSame(_ entry: LoggedEntry, _ change: MessageChange) -> Bool {
        change.idempotency != nil && change.idempotency == entry.entry.idempotency
    }
}

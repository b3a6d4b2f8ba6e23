// Messages as they are at some moment, and what became of them.

import Bytes
import ChatModel
import Stores

extension Archive {
    /// Entries about a message that change how it is shown.
    func isRedacted(_ id: Identifier, _ seq: UInt64, through head: UInt64 = .max) -> Bool {
        (changes[id]?[seq] ?? []).contains {
            $0 <= head && entry(id, $0)?.kind == .redaction
        }
    }

    /// The body of an entry as it was shown when the log ended with `head`.
    func shown(_ id: Identifier, _ entry: KeptEntry, through head: UInt64 = .max) -> ByteBlock {
        let body = entry.body
        let original = ByteBlock(copying: body.bytes)
        guard entry.kind == .message || entry.kind == .edit else { return original }
        let seq = entry.kind == .edit ? entry.answersSeq : entry.seq
        let writer = ByteWriter(capacity: body.count + 128)
        if isRedacted(id, seq, through: head) {
            return EntryView.writeRedacted(body.bytes, into: writer) ? writer.block() : original
        }
        guard entry.kind == .message,
            let last = (changes[id]?[seq] ?? []).last(where: { $0 <= head }),
            let edit = self.entry(id, last)
        else { return original }
        let source = edit.body
        guard let content = EntryView.content(of: source.bytes),
            EntryView.write(
                body.bytes, editedTo: source.bytes.part(content),
                atMilliseconds: edit.createdAtMilliseconds, into: writer)
        else { return original }
        return writer.block()
    }

    /// As it may be shown by who began to read when the log ended with `head`, or later.
    func views(_ id: Identifier, _ entry: KeptEntry, since head: UInt64) -> [ByteBlock] {
        let seq = entry.kind == .edit ? entry.answersSeq : entry.seq
        let later = (changes[id]?[seq] ?? []).filter { $0 > head }
        return ([head] + later).map { shown(id, entry, through: $0) }
    }

    func current(_ id: Identifier, _ entry: KeptEntry) -> ByteBlock {
        plant == .showsRedacted ? shown(id, entry, through: 0) : shown(id, entry)
    }

    // MARK: Reading

    func message(_ query: MessageQuery) -> Answer {
        guard let row = row(query.conversation), isVisible(row, in: query.scope),
            let entry = entry(query.conversation, query.seq)
        else { return Self.refusal(query.origin, TargetQuery.unknownMessage) }
        return Answer(
            origin: query.origin, frameID: nil,
            result: .success(
                status: 200, body: ByteSlice(current(query.conversation, entry)),
                isReplay: query.isReplay, follow: nil))
    }

    static func refusal(_ origin: Origin, _ problem: Problem) -> Answer {
        Answer(origin: origin, frameID: nil, result: .failure(problem))
    }

    func target(_ query: TargetQuery) -> StoreEvent {
        let id = query.conversation
        guard let row = row(id), isVisible(row, in: query.scope) else {
            return .answer(Self.refusal(query.origin, TargetQuery.unknownConversation))
        }
        let scratch = ByteWriter(capacity: 128)
        guard let entry = logs[id]?.first(where: { $0.id == query.change.message }),
            entry.kind == .message, query.scope.showsInternal || !entry.isInternal
        else { return .answer(Self.refusal(query.origin, TargetQuery.unknownMessage)) }
        let body = entry.body
        guard
            let sender = EntryView.sender(of: body.bytes, is: query.principal.subject, scratch)
        else { preconditionFailure("a message has a sender") }
        return .target(
            query,
            ChangeTarget(
                seq: entry.seq, senderType: sender.type, isFromSubject: sender.isSubject,
                isInternal: entry.isInternal, isRedacted: isRedacted(id, entry.seq),
                headSeq: head(of: id)))
    }
}

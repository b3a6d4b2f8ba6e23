// Messages are edited, deleted and reacted to.
//
// The message is found before its conversation's owner is asked, by a reader of the store: what
// the change is decided on stands in the log, and an owner holds no log.

import API
import Bytes
import ChatModel
import Ingest
import Stores
import Wire

extension Shard {
    func changeMessage(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationRead)
        let id = try conversationID(assembler, bytes, match)
        let path = bytes.part(assembler.head.path)
        guard let message = Identifier(path.part(match.second), kind: .message) else {
            throw TargetQuery.unknownMessage
        }
        let change: MessageChange
        if assembler.head.method == .delete {
            change = .redaction(of: message)
        } else {
            try parseBody(assembler, bytes, body)
            let key = try idempotencyKey(assembler, bytes)
            let tenant = directory[principal.tenant]
            change =
                match.route == .entry
                ? try messageReader.readEdit(of: message, principal, tenant, key: key)
                : try messageReader.readReaction(to: message, principal, tenant, key: key)
        }
        let query = TargetQuery(
            origin: origin, scope: try scope(principal, userID: nil), principal: principal,
            conversation: id, change: change)
        expect(origin.token, origin.ordinal, context)
        store.read(.target(query))
    }

    /// The store has found the message.
    func didFind(_ target: ChangeTarget, _ query: TargetQuery) {
        switch query.change.decision(on: target, by: query.principal) {
        case .refuse(let problem):
            deliver(Answer(origin: query.origin, frameID: nil, result: .failure(problem)))
        case .unchanged(let known): deliver(unchanged(known, target, query))
        case .proceed:
            ask(
                .command(
                    Command(
                        origin: query.origin, principal: query.principal,
                        conversation: query.conversation, act: .change(query.change, of: target))),
                shardKey: query.conversation.shardKey)
        }
    }

    /// It is so already.
    private func unchanged(
        _ known: ChangeTarget.Known, _ target: ChangeTarget, _ query: TargetQuery
    ) -> Answer {
        let isEdit = query.change.deed == .edit
        // The log has the entry that the same request made, which is its answer.
        let status = known.entry == nil ? (isEdit ? 200 : 204) : known.isReplay ? 201 : 200
        var answer = Answer(
            origin: query.origin, frameID: nil,
            result: .success(
                status: status, body: known.entry ?? ByteSlice(Self.noBody),
                isReplay: known.isReplay, follow: nil))
        if isEdit {
            answer.shows = query.conversation
            answer.showsSeq = target.seq
        }
        return answer
    }
}

// Routes that change a conversation or add to it: what agents do.

import API
import Bytes
import ChatModel
import Ingest
import Reactor
import Stores
import Wire

extension Shard {
    /// The document that the body holds, ready in the parser.
    func parseBody(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody
    ) throws(Problem) {
        try requireJSON(assembler, bytes)
        let decoded = assembler.body
        let isJSON: Bool
        switch body {
        case .inPlace(let range): isJSON = parser.parse(bytes.part(range))
        case .decoded: isJSON = parser.parse(decoded.bytes)
        }
        guard isJSON else { throw Problem(.malformedJSON, "The body is not valid JSON in UTF-8.") }
    }

    /// The conversation that the path names.
    func conversationID(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ match: RouteMatch
    ) throws(Problem) -> Identifier {
        let path = bytes.part(assembler.head.path)
        guard let id = Identifier(path.part(match.variable), kind: .conversation) else {
            throw Problem(.notFound, "There is no such conversation.")
        }
        return id
    }

    func idempotencyKey(
        _ assembler: RequestAssembler, _ bytes: RawSpan
    ) throws(Problem) -> ByteBlock? {
        guard let range = assembler.head.value(.idempotencyKey) else { return nil }
        guard MessageRequestReader.isName(bytes.part(range), Limits.clientMessageIDBytesMax) else {
            throw .invalid(
                "", "format",
                "Idempotency-Key must have 1 to \(Limits.clientMessageIDBytesMax) bytes.")
        }
        return ByteBlock(copying: bytes.part(range))
    }

    func postAgentMessage(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .messageReply)
        let id = try conversationID(assembler, bytes, match)
        try parseBody(assembler, bytes, body)
        let message = try messageReader.readAgentMessage(
            principal, directory[principal.tenant],
            key: try idempotencyKey(assembler, bytes))
        let command = Command(
            origin: origin, principal: principal, conversation: id, act: .message(message))
        expect(origin.token, origin.ordinal, context)
        ask(.command(command), shardKey: id.shardKey)
    }

    func patchConversation(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationManage)
        let id = try conversationID(assembler, bytes, match)
        try parseBody(assembler, bytes, body)
        var condition = VersionCondition.none
        if let range = assembler.head.value(.ifMatch) {
            condition = VersionCondition(ifMatch: bytes.part(range))
        }
        let patch = try patchReader.read(condition)
        expect(origin.token, origin.ordinal, context)
        ask(
            .command(
                Command(
                    origin: origin, principal: principal, conversation: id, act: .patch(patch))),
            shardKey: id.shardKey)
    }

    /// The answer to a command is the conversation, or one of its messages: the store is asked for
    /// it, and the request goes on waiting.
    func show(_ conversation: Identifier, _ answer: Answer, _ context: RequestContext) {
        guard let tenant = context.tenant else {
            preconditionFailure("a command's credential is known")
        }
        // Whoever may change it may see it.
        let scope = Scope(
            tenant: tenant, tenantName: directory[tenant].name, userID: nil,
            showsInternal: true)
        guard answer.showsSeq > 0, case .success(_, _, let isReplay, _) = answer.result else {
            return store.read(
                .conversation(
                    ConversationQuery(
                        origin: answer.origin, scope: scope, conversation: conversation)))
        }
        store.read(
            .message(
                MessageQuery(
                    origin: answer.origin, scope: scope, conversation: conversation,
                    seq: answer.showsSeq, isReplay: isReplay)))
    }
}

// Read cursors and typing: what people tell each other beside the log.

import API
import Bytes
import ChatModel
import Ingest
import Reactor
import Wire

extension Shard {
    // MARK: Over HTTP

    func markRead(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationRead)
        let id = try conversationID(assembler, bytes, match)
        try parseBody(assembler, bytes, body)
        let seq = try readSeq()
        expect(origin.token, origin.ordinal, context)
        ask(
            .read(
                ReadMark(
                    origin: origin, frameID: nil, principal: principal, conversation: id, seq: seq)
            ), shardKey: id.shardKey)
    }

    /// `{"state":"start"|"stop"}`; without a body, or without `state`, it is a start.
    func postTyping(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ body: RequestBody, _ match: RouteMatch,
        _ principal: Principal, _ origin: Origin, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationRead)
        let id = try conversationID(assembler, bytes, match)
        var isStart = true
        if body.count(assembler) > 0 {
            try parseBody(assembler, bytes, body)
            isStart = try typingState() ?? true
        }
        expect(origin.token, origin.ordinal, context)
        ask(
            .typing(origin, frameID: nil, principal, id, isStart: isStart), shardKey: id.shardKey)
    }

    // MARK: Over a socket

    func readFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
        let mark = ReadMark(
            origin: origin(token), frameID: id, principal: principal, conversation: conversation,
            seq: try readSeq())
        ask(.read(mark), shardKey: conversation.shardKey)
    }

    // MARK: Fields

    private func readSeq() throws(Problem) -> UInt64 {
        let parser = parser
        guard parser.kind(JSONParser.root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        guard let node = parser.field(JSONParser.root, "seq") else {
            throw .invalid("/seq", "required", "seq is needed.")
        }
        guard let seq = parser.unsigned(node), seq <= UInt64(Int64.max) else {
            throw .invalid("/seq", "format", "seq must be a whole number that is not negative.")
        }
        return seq
    }

    /// True for `start`; nil when there is none.
    func typingState() throws(Problem) -> Bool? {
        let parser = parser
        guard parser.kind(JSONParser.root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        guard let node = parser.field(JSONParser.root, "state") else { return nil }
        if parser.kind(node) == .string {
            if parser.string(node).equals("start") { return true }
            if parser.string(node).equals("stop") { return false }
        }
        throw .invalid("/state", "format", "state must be start or stop.")
    }

    // MARK: Who comes later

    /// The replay is over: the owner says what stands in no entry.
    func introduce(_ token: Token, _ session: SocketSession, _ id: Identifier) {
        guard let principal = session.principal, let subscription = session.subscriptions[id] else {
            return
        }
        ask(
            .introduce(origin(token), principal, id, seq: subscription.cursor),
            shardKey: id.shardKey)
    }

    /// A frame for this subscriber alone. One that has left meanwhile, or has asked again, is told
    /// nothing now: owners answer in order.
    func show(_ answer: Answer, _ token: Token, _ session: SocketSession) {
        guard case .success(_, let body, _, _) = answer.result, let id = answer.about,
            let subscription = session.subscriptions[id], subscription.state != .muted,
            subscription.state != .asked
        else { return }
        sendText(body.bytes, token, session)
    }

    // MARK: Typing that nobody ends

    func noteTyping(
        _ token: Token, _ session: SocketSession, _ conversation: Identifier, isStart: Bool
    ) {
        session.typing.removeAll { $0 == conversation }
        guard isStart else { return }
        session.typing.append(conversation)
        guard session.typing.count > Limits.typingPerSocketMax else { return }
        stopTyping(token, session, session.typing.removeFirst())
    }

    /// The socket goes away: whoever was shown that somebody types is told that it is over.
    func stopTyping(_ token: Token, _ session: SocketSession) {
        let conversations = session.typing
        session.typing = []
        for id in conversations { stopTyping(token, session, id) }
    }

    private func stopTyping(_ token: Token, _ session: SocketSession, _ id: Identifier) {
        guard let principal = session.principal else { return }
        ask(
            .typing(origin(token), frameID: nil, principal, id, isStart: false),
            shardKey: id.shardKey)
    }
}

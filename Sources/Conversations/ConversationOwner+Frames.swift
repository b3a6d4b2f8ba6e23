// What owners say to clients: answers, acknowledgements, entries, runs, typing.

import Bytes
import ChatModel

extension ConversationOwner {
    /// The cores with sockets that follow the conversation or belong to its user.
    func audience(of state: ConversationState) -> UInt64 {
        state.followers | (users[state.user]?.devices ?? 0)
    }

    // MARK: Answers

    func answer(
        _ waiter: Waiter, reply: ByteSlice?, status: StaticString, isReplay: Bool = false
    ) {
        let submission = waiter.submission
        if submission.origin.isSocket {
            return acknowledge(submission, waiter, isDuplicate: isReplay)
        }
        encoder.removeAll()
        AnswerCoding.begin(status, into: encoder)
        encoder.append(waiter.message)
        if let reply {
            AnswerCoding.reply(into: encoder)
            encoder.append(reply)
        }
        AnswerCoding.end(waiter.conversation, waiter.session, into: encoder)
        succeed(
            submission.origin, status: reply == nil ? 202 : 200, ByteSlice(encoder.block()),
            isReplay: isReplay)
    }

    func succeed(
        _ origin: Origin, _ frameID: ByteBlock? = nil, status: Int, _ body: ByteSlice,
        isReplay: Bool = false, follow: Answer.Follow? = nil
    ) {
        actions.append(
            .answer(
                Answer(
                    origin: origin, frameID: frameID,
                    result: .success(
                        status: status, body: body, isReplay: isReplay, follow: follow))))
    }

    /// `submission` is the waiter's own, or a later one with the same key.
    func acknowledge(_ submission: Submission, _ waiter: Waiter, isDuplicate: Bool) {
        let id = waiter.conversation
        encoder.removeAll()
        encoder.append("{\"type\":\"ack\",\"id\":")
        if let frameID = submission.frameID {
            encoder.append(json: frameID)
        } else {
            encoder.append("null")
        }
        encoder.append(",\"message_id\":\"")
        waiter.messageID.write(.message, into: encoder)
        encoder.append("\",\"conversation_id\":\"")
        id.write(.conversation, into: encoder)
        encoder.append("\",\"seq\":")
        encoder.append(decimal: waiter.seq)
        encoder.append(isDuplicate ? ",\"duplicate\":true}" : ",\"duplicate\":false}")
        // The sender follows the conversation from here on; a duplicate finds the log's head
        // instead.
        let head = isDuplicate ? (conversations[id]?.storedSeq ?? waiter.seq) : waiter.seq - 1
        if let state = conversations[id] { follow(state, submission.origin.core) }
        let follow = conversations[id].map { _ in Answer.Follow(conversation: id, seq: head) }
        succeed(
            submission.origin, submission.frameID, status: 200, ByteSlice(encoder.block()),
            isReplay: isDuplicate, follow: follow)
    }

    // MARK: Frames

    func announce(
        _ unit: CommitUnit, _ entries: Range<Int>, _ state: ConversationState, _ cores: UInt64
    ) {
        guard cores != 0 else { return }
        for index in entries {
            let entry = unit.entries[index]
            encoder.removeAll()
            encoder.append("{\"type\":\"message\",\"conversation_id\":\"")
            state.row.id.write(.conversation, into: encoder)
            encoder.append("\",\"message\":")
            encoder.append(unit.body(of: entry))
            encoder.append(0x7D)
            deliver(
                encoder.block(), seq: entry.seq, isInternal: entry.isInternal, state, cores,
                except: nil)
        }
    }

    func deliver(
        _ payload: ByteBlock, seq: UInt64, isInternal: Bool = false, _ state: ConversationState,
        _ cores: UInt64, except: Origin?, unlessSubject: ByteBlock? = nil
    ) {
        guard cores != 0 else { return }
        actions.append(
            .deliver(
                Delivery(
                    conversation: state.row.id, user: state.user, seq: seq, payload: payload,
                    isInternal: isInternal, except: except, unlessSubject: unlessSubject),
                cores: cores))
    }

    /// `{"type":"run",…}`; `text` for a delta, `reason` for the end.
    func runFrame(
        _ run: Identifier, _ state: ConversationState, _ name: StaticString, index: UInt64? = nil,
        text: ByteBlock? = nil, range: Range<Int>? = nil, reason: StaticString? = nil
    ) -> ByteBlock {
        encoder.removeAll()
        encoder.append("{\"type\":\"run\",\"conversation_id\":\"")
        state.row.id.write(.conversation, into: encoder)
        encoder.append("\",\"run_id\":\"")
        run.write(.run, into: encoder)
        encoder.append("\",\"state\":\"")
        encoder.append(name)
        encoder.append(0x22)
        if let index {
            encoder.append(",\"index\":")
            encoder.append(decimal: index)
        }
        if let text, let range {
            encoder.append(",\"text\":")
            encoder.append(json: text.bytes.extracting(range))
        }
        if let reason {
            encoder.append(",\"reason\":\"")
            encoder.append(reason)
            encoder.append(0x22)
        }
        encoder.append(0x7D)
        return encoder.block()
    }

    // MARK: Following and typing

    func connect(_ origin: Origin, _ key: UserKey, _ shardKey: UInt16) {
        attach(origin.core, userState(key))
        encoder.removeAll()
        session(of: key, shardKey: shardKey).write(.session, into: encoder)
        succeed(origin, status: 200, ByteSlice(encoder.block()))
    }

    func subscribe(
        _ state: ConversationState, _ origin: Origin, _ frameID: ByteBlock?, _ principal: Principal
    ) {
        guard mayAccess(principal, state) else {
            return refuseSubscription(origin, frameID, state.row.id, Self.unknownConversation)
        }
        follow(state, origin.core)
        succeed(
            origin, frameID, status: 200, Self.nothing,
            follow: Answer.Follow(
                conversation: state.row.id, seq: state.storedSeq, newestSeq: state.row.lastSeq))
    }

    static let nothing = ByteSlice(ByteBlock(""))

    func typing(
        _ state: ConversationState, _ origin: Origin, _ frameID: ByteBlock?, _ principal: Principal,
        isStart: Bool
    ) {
        guard mayAccess(principal, state) else {
            return origin.isSocket
                ? complain(origin, frameID, Self.unknownConversation)
                : fail(origin, nil, Self.unknownConversation)
        }
        let isAgent = !principal.subject.equals(state.row.userID)
        encoder.removeAll()
        encoder.append("{\"type\":\"typing\",\"conversation_id\":\"")
        state.row.id.write(.conversation, into: encoder)
        encoder.append(
            isAgent
                ? "\",\"sender\":{\"type\":\"agent\",\"id\":"
                : "\",\"sender\":{\"type\":\"user\",\"id\":")
        encoder.append(json: principal.subject)
        encoder.append(isStart ? "},\"state\":\"start\"}" : "},\"state\":\"stop\"}")
        deliver(
            encoder.block(), seq: 0, state, audience(of: state), except: origin,
            unlessSubject: principal.subject)
        if !origin.isSocket { succeed(origin, status: 204, Self.nothing) }
    }
}

/// The answer to a message over HTTP (contract section 3), written around the bodies of its
/// entries.
enum AnswerCoding {
    /// The message's body follows.
    static func begin(_ status: StaticString, into writer: ByteWriter) {
        writer.append("{\"status\":\"")
        writer.append(status)
        writer.append("\",\"message\":")
    }

    /// The reply's body follows.
    static func reply(into writer: ByteWriter) { writer.append(",\"reply\":") }

    static func end(_ conversation: Identifier, _ session: Identifier, into writer: ByteWriter) {
        writer.append(",\"conversation_id\":\"")
        conversation.write(.conversation, into: writer)
        writer.append("\",\"session_id\":\"")
        session.write(.session, into: writer)
        writer.append("\"}")
    }
}

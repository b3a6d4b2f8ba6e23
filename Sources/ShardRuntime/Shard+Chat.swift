// The chat protocol on a socket (contract section 4).

import API
import Bytes
import ChatModel
import Identity
import Reactor
import Stores
import Wire

extension Shard {
    static let refusalsBeforeClose = 50

    // MARK: Frames in

    func chatFrame(_ token: Token, _ session: SocketSession, _ payload: RawSpan) {
        let parser = parser
        guard parser.parse(payload), parser.kind(JSONParser.root) == .object else {
            guard session.state == .open else {
                return closeSocket(token, session, 4401, "The first frame must be connect.")
            }
            guard isWithinFrames(token, session) else { return }
            return sendProblem(
                Problem(.malformedJSON, "The frame is not a JSON object."), nil, token, session)
        }
        let root = JSONParser.root
        guard let typeNode = parser.field(root, "type"), parser.kind(typeNode) == .string else {
            guard session.state == .open else {
                return closeSocket(token, session, 4401, "The first frame must be connect.")
            }
            guard isWithinFrames(token, session) else { return }
            return sendProblem(
                .invalid("/type", "required", "type must be a string."), frameID(), token, session)
        }
        let type = parser.string(typeNode)
        // Messages have the limits of their user.
        guard type.equals("message") || isWithinFrames(token, session) else { return }
        if type.equals("connect") { return connectFrame(token, session) }
        guard session.state == .open, let principal = session.principal else {
            return closeSocket(token, session, 4401, "The first frame must be connect.")
        }
        guard principal.expiresAtSeconds > clock.milliseconds / 1000 else {
            return closeSocket(token, session, 4401, "The token has expired.")
        }
        let id = frameID()
        do throws(Problem) {
            if type.equals("message") {
                try messageFrame(token, session, principal, id)
            } else if type.equals("subscribe") {
                try subscribeFrame(token, session, principal, id)
            } else if type.equals("unsubscribe") {
                try unsubscribeFrame(token, session, id)
            } else if type.equals("typing") {
                try typingFrame(token, session, principal, id)
            } else if type.equals("read") {
                try readFrame(token, session, principal, id)
            } else if type.equals("cancel") {
                try cancelFrame(token, session, principal, id)
            } else if type.equals("ping") {
                sendText(Self.pong.bytes, token, session)
            } else {
                throw .invalid("/type", "unknown_type", "This type of frame is not known.")
            }
        } catch {
            sendProblem(error, id, token, session)
        }
    }

    static let pong = ByteBlock("{\"type\":\"pong\"}")

    /// The client's `id`, if it is a usable string.
    private func frameID() -> ByteBlock? {
        let parser = parser
        guard let node = parser.field(JSONParser.root, "id"), parser.kind(node) == .string,
            MessageRequestReader.isName(parser.string(node), Limits.clientMessageIDBytesMax)
        else { return nil }
        return ByteBlock(copying: parser.string(node))
    }

    func conversationID() throws(Problem) -> Identifier {
        let parser = parser
        guard let node = parser.field(JSONParser.root, "conversation_id") else {
            throw .invalid("/conversation_id", "required", "conversation_id is needed.")
        }
        guard parser.kind(node) == .string,
            let id = Identifier(parser.string(node), kind: .conversation)
        else {
            throw .invalid(
                "/conversation_id", "format",
                "conversation_id must be an id that starts with conv_.")
        }
        return id
    }

    // MARK: connect

    private func connectFrame(_ token: Token, _ session: SocketSession) {
        guard session.state == .anonymous else {
            return sendProblem(
                Problem(.conflict, "This socket is connected already."), frameID(), token, session)
        }
        let parser = parser
        guard let node = parser.field(JSONParser.root, "token"), parser.kind(node) == .string else {
            return closeSocket(token, session, 4401, "connect needs a token.")
        }
        var deviceID: ByteBlock?
        if let device = parser.field(JSONParser.root, "device_id"), parser.kind(device) == .string,
            MessageRequestReader.isName(parser.string(device), Limits.deviceIDBytesMax)
        {
            deviceID = ByteBlock(copying: parser.string(device))
        }
        do throws(CredentialFault) {
            let principal = try verifier.verify(
                parser.string(node), nowSeconds: clock.milliseconds / 1000)
            connect(token, session, principal, deviceID: deviceID)
        } catch {
            guard let seconds = countBadCredential(token, error) else {
                return closeSocket(token, session, 4401, error.detail)
            }
            closeSocket(token, session, 4429, Self.tooManyBadCredentials(seconds))
        }
    }

    /// The credential is good: the user's owner is asked for the session.
    func connect(
        _ token: Token, _ session: SocketSession, _ principal: Principal, deviceID: ByteBlock?
    ) {
        guard principal.may(.conversationRead) else {
            return closeSocket(token, session, 4403, "The credential's roles do not allow this.")
        }
        let user = UserKey(tenant: principal.tenant, userID: principal.subject)
        let tenantName = directory[principal.tenant].name
        session.state = .connecting
        session.principal = principal
        session.user = user
        session.deviceID = deviceID
        session.shardKey = UserKey.shardKey(tenant: tenantName, user: principal.subject)
        sockets.add(token, of: user)
        setDeadline(token, Limits.heartbeatMilliseconds)
        expectAnswer(session)
        ask(.connect(origin(token), user, shardKey: session.shardKey), shardKey: session.shardKey)
        if let deviceID, session.user != nil {
            ask(.deviceCame(user, deviceID), shardKey: session.shardKey)
        }
    }

    private func didConnect(_ token: Token, _ session: SocketSession, _ sessionID: ByteSlice) {
        guard let principal = session.principal else {
            preconditionFailure("who connects has a principal")
        }
        session.state = .open
        scratch.removeAll()
        scratch.append("{\"type\":\"connected\",\"session_id\":\"")
        scratch.append(sessionID)
        scratch.append("\",\"user_id\":")
        scratch.append(json: principal.subject)
        scratch.append(",\"tenant_id\":")
        scratch.append(json: directory[principal.tenant].name)
        scratch.append(",\"heartbeat_ms\":")
        scratch.append(decimal: Limits.heartbeatMilliseconds)
        scratch.append(",\"limits\":{\"message_bytes\":")
        scratch.append(decimal: configuration.messageBytesMax)
        scratch.append(",\"text_characters\":")
        scratch.append(decimal: Limits.textCharactersMax)
        scratch.append(",\"subscriptions\":")
        scratch.append(decimal: Limits.subscriptionsPerSocketMax)
        scratch.append(",\"outbox_bytes\":")
        scratch.append(decimal: Limits.outboxBytesMax)
        scratch.append(",\"replay_entries\":")
        scratch.append(decimal: Limits.replayEntriesMax)
        scratch.append("}}")
        let scratch = scratch
        sendText(scratch.bytes, token, session)
    }

    func origin(_ token: Token) -> Origin {
        Origin(core: UInt8(index), isSocket: true, token: token, ordinal: 0)
    }

    /// The origin of a question whose answer must find the subscription that it was asked for, and
    /// no later one.
    func nextQuestion(_ token: Token, _ session: SocketSession) -> Origin {
        session.questionCount &+= 1
        var origin = origin(token)
        origin.ordinal = session.questionCount
        return origin
    }

    func expectAnswer(_ session: SocketSession) {
        session.inFlight += 1
        inFlight += 1
    }

    // MARK: message, typing, cancel

    private func messageFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        try require(principal, .messageSend)
        if let problem = limit(principal).problem {
            session.refusedInARow += 1
            if session.refusedInARow >= Self.refusalsBeforeClose {
                return closeSocket(
                    token, session, 4429, "Too many messages; wait before you reconnect.")
            }
            throw problem
        }
        session.refusedInARow = 0
        guard let id else {
            throw .invalid(
                "/id", "required",
                "id must be a string of 1 to \(Limits.clientMessageIDBytesMax) bytes.")
        }
        let submission = try messageReader.read(
            MessageRequestReader.Context(
                origin: origin(token), frameID: id, principal: principal,
                tenant: directory[principal.tenant],
                key: id, waitsForReply: false, nowNanoseconds: clock.nanoseconds))
        metrics.messagesIn.add()
        expectAnswer(session)
        ask(.submit(submission), shardKey: submission.shardKey)
    }

    private func typingFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
        guard let isStart = try typingState() else {
            throw .invalid("/state", "format", "state must be start or stop.")
        }
        noteTyping(token, session, conversation, isStart: isStart)
        ask(
            .typing(origin(token), frameID: id, principal, conversation, isStart: isStart),
            shardKey: conversation.shardKey)
    }

    private func cancelFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        let parser = parser
        guard let node = parser.field(JSONParser.root, "run_id"), parser.kind(node) == .string,
            let run = Identifier(parser.string(node), kind: .run)
        else { throw .invalid("/run_id", "format", "run_id must be an id that starts with run_.") }
        ask(.cancel(origin(token), frameID: id, principal, run: run), shardKey: run.shardKey)
    }

    // MARK: subscribe, unsubscribe

    private func subscribeFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
        var after: UInt64 = 0
        if let node = parser.field(JSONParser.root, "after_seq"), parser.kind(node) != .null {
            guard let value = parser.unsigned(node), value <= UInt64(Int64.max) else {
                throw .invalid(
                    "/after_seq", "format", "after_seq must be a whole number that is not negative."
                )
            }
            after = value
        }
        var wasFollower = false
        if let known = session.subscriptions[conversation] {
            // What catches up by itself may be asked for: the client does not know of it.
            let isQuietReplay = known.state == .replaying && known.frameID == nil
            guard known.state == .live || known.state == .muted || isQuietReplay else {
                throw Problem(.conflict, "This conversation is being subscribed already.")
            }
            wasFollower = known.isFollower
        } else if session.subscriptions.count >= Limits.subscriptionsPerSocketMax {
            throw Problem(
                .conflict,
                "A socket may follow at most \(Limits.subscriptionsPerSocketMax) conversations.")
        }
        let asked = nextQuestion(token, session)
        session.subscriptions[conversation] = Subscription(
            state: .asked, cursor: after, headSeq: after, frameID: id, isFollower: wasFollower,
            question: asked.ordinal)
        expectAnswer(session)
        ask(
            .subscribe(asked, frameID: id, principal, conversation),
            shardKey: conversation.shardKey)
    }

    private func unsubscribeFrame(
        _ token: Token, _ session: SocketSession, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
        if let asked = session.subscriptions[conversation]?.frameID {
            sendProblem(
                Problem(.conflict, "The conversation was unsubscribed before its replay was over."),
                asked, token, session)
        }
        stopFollowing(token, session, conversation)
        // Kept as muted, so that the user's own conversation does not come back by itself.
        session.subscriptions[conversation] = Subscription(
            state: .muted, cursor: 0, headSeq: 0, frameID: nil, isFollower: false)
        scratch.removeAll()
        scratch.append("{\"type\":\"unsubscribed\"")
        appendID(id)
        scratch.append(",\"conversation_id\":\"")
        conversation.write(.conversation, into: scratch)
        scratch.append("\"}")
        let scratch = scratch
        sendText(scratch.bytes, token, session)
    }

    func stopFollowing(_ token: Token, _ session: SocketSession, _ conversation: Identifier) {
        guard let known = session.subscriptions.removeValue(forKey: conversation), known.isFollower
        else { return }
        if sockets.unfollow(conversation, token) { forgetIfUnfollowed(conversation) }
    }

    /// Gives the owner back what told this core to follow, when nobody here does.
    func forgetIfUnfollowed(_ id: Identifier) {
        guard sockets.followers(of: id).isEmpty else { return }
        let answers = sockets.takeAnswers(id)
        if answers == 0 { return }
        ask(.forget(core: UInt8(index), id, answers: answers), shardKey: id.shardKey)
    }

    func appendID(_ id: ByteBlock?) {
        guard let id else { return }
        scratch.append(",\"id\":")
        scratch.append(json: id)
    }

    // MARK: Answers

    func deliverToSocket(_ answer: Answer) {
        let token = answer.origin.token
        var followed: Identifier?
        if case .success(_, _, _, let follow?) = answer.result {
            followed = follow.conversation
            sockets.didAnswer(follow.conversation)
        }
        if connections.contains(token), let session = connections[token.slot].session {
            deliver(answer, token, session)
        } else {
            metrics.staleCompletions.add()
        }
        // The socket may be gone, or not have wanted it any more.
        if let followed { forgetIfUnfollowed(followed) }
    }

    private func deliver(_ answer: Answer, _ token: Token, _ session: SocketSession) {
        guard session.state != .closing else { return }
        if session.inFlight > 0, answer.isCounted {
            session.inFlight -= 1
            inFlight -= 1
        }
        if answer.isFrame { return show(answer, token, session) }
        if let stream = session.stream { return didAnswer(answer, token, session, stream) }
        if let poll = session.poll { return didAnswer(answer, token, session, poll) }
        switch answer.result {
        case .failure(let problem):
            if let id = answer.about {
                // A subscription that was taken back has had its answer.
                guard isAwaited(answer.origin, session.subscriptions[id]) else { return }
                stopFollowing(token, session, id)
            }
            sendProblem(problem, answer.frameID, token, session)
        case .success(_, let body, _, let follow):
            if session.state == .connecting { return didConnect(token, session, body) }
            if body.count > 0 { sendText(body.bytes, token, session) }
            guard let follow, session.state == .open else { return }
            if body.count == 0 {
                guard isAwaited(answer.origin, session.subscriptions[follow.conversation]) else {
                    return
                }
                startReplay(token, session, follow)
            } else {
                followFromHere(token, session, follow)
            }
        }
    }

    private func isAwaited(_ origin: Origin, _ subscription: Subscription?) -> Bool {
        guard let subscription else { return false }
        return subscription.state == .asked && subscription.question == origin.ordinal
    }

    /// `conversation` is named when it is no longer followed, which nobody may have asked for.
    func sendProblem(
        _ problem: Problem, _ id: ByteBlock?, _ token: Token, _ session: SocketSession,
        about conversation: Identifier? = nil
    ) {
        // The reader resumes behind the last entry that it has.
        if let stream = session.stream { return endStream(token, session, stream, "ended") }
        scratch.removeAll()
        scratch.append("{\"type\":\"error\"")
        appendID(id)
        if let conversation {
            scratch.append(",\"conversation_id\":\"")
            conversation.write(.conversation, into: scratch)
            scratch.append(0x22)
        }
        scratch.append(",\"problem\":")
        problem.write(into: scratch, requestID: session.requestID)
        if let seconds = problem.retryAfterSeconds {
            scratch.truncate(to: scratch.count - 1)
            scratch.append(",\"retry_after_ms\":")
            scratch.append(decimal: seconds * 1000)
            scratch.append(0x7D)
        }
        scratch.append(0x7D)
        let scratch = scratch
        sendText(scratch.bytes, token, session)
    }

    /// The sender of a message follows its conversation from there on.
    private func followFromHere(_ token: Token, _ session: SocketSession, _ follow: Answer.Follow) {
        if var known = session.subscriptions[follow.conversation] {
            guard !known.isFollower else { return }
            if known.state == .muted {
                known.state = .live
                known.cursor = follow.seq
            }
            known.isFollower = true
            session.subscriptions[follow.conversation] = known
        } else {
            guard session.subscriptions.count < Limits.subscriptionsPerSocketMax else { return }
            session.subscriptions[follow.conversation] = Subscription(
                state: .live, cursor: follow.seq, headSeq: follow.seq, frameID: nil,
                isFollower: true)
        }
        sockets.follow(follow.conversation, token)
    }
}

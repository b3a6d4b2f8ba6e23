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
            return sendProblem(Problem(.malformedJSON, "The frame is not a JSON object."), nil, token, session)
        }
        let root = JSONParser.root
        guard let typeNode = parser.field(root, "type"), parser.kind(typeNode) == .string else {
            guard session.state == .open else {
                return closeSocket(token, session, 4401, "The first frame must be connect.")
            }
            return sendProblem(
                .invalid("/type", "required", "type must be a string."), frameID(), token, session)
        }
        let type = parser.string(typeNode)
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

    private func conversationID() throws(Problem) -> Identifier {
        let parser = parser
        guard let node = parser.field(JSONParser.root, "conversation_id") else {
            throw .invalid("/conversation_id", "required", "conversation_id is needed.")
        }
        guard parser.kind(node) == .string, let id = Identifier(parser.string(node), kind: .conversation) else {
            throw .invalid("/conversation_id", "format", "conversation_id must be an id that starts with conv_.")
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
            let principal = try verifier.verify(parser.string(node), nowSeconds: clock.milliseconds / 1000)
            connect(token, session, principal, deviceID: deviceID)
        } catch {
            closeSocket(token, session, 4401, error.detail)
        }
    }

    /// The credential is good: the user's owner is asked for the session.
    func connect(_ token: Token, _ session: SocketSession, _ principal: Principal, deviceID: ByteBlock?) {
        guard principal.may(.conversationRead) else {
            return closeSocket(token, session, 4403, "The credential's roles do not allow this.")
        }
        let user = UserKey(tenant: principal.tenant, userID: principal.subject)
        let tenantName = service.directory[principal.tenant].name
        session.state = .connecting
        session.principal = principal
        session.user = user
        session.deviceID = deviceID
        session.shardKey = UserKey.shardKey(tenant: tenantName, user: principal.subject)
        sockets.add(token, of: user)
        setDeadline(token, Limits.heartbeatMilliseconds)
        expectAnswer(session)
        ask(.connect(origin(token), user, shardKey: session.shardKey), shardKey: session.shardKey)
    }

    private func didConnect(_ token: Token, _ session: SocketSession, _ sessionID: ByteBlock) {
        guard let principal = session.principal else { preconditionFailure("who connects has a principal") }
        session.state = .open
        scratch.removeAll()
        scratch.append("{\"type\":\"connected\",\"session_id\":\"")
        scratch.append(sessionID)
        scratch.append("\",\"user_id\":")
        scratch.append(json: principal.subject)
        scratch.append(",\"tenant_id\":")
        scratch.append(json: service.directory[principal.tenant].name)
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

    private func origin(_ token: Token) -> Origin {
        Origin(core: UInt8(index), isSocket: true, token: token, ordinal: 0)
    }

    private func expectAnswer(_ session: SocketSession) {
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
                return closeSocket(token, session, 4429, "Too many messages; wait before you reconnect.")
            }
            throw problem
        }
        session.refusedInARow = 0
        guard let id else {
            throw .invalid(
                "/id", "required", "id must be a string of 1 to \(Limits.clientMessageIDBytesMax) bytes.")
        }
        let submission = try messageReader.read(
            MessageRequestReader.Context(
                origin: origin(token), frameID: id, principal: principal, tenant: service.directory[principal.tenant],
                key: id, waitsForReply: false, nowNanoseconds: clock.nanoseconds))
        metrics.messagesIn.add()
        expectAnswer(session)
        ask(.submit(submission), shardKey: submission.shardKey)
    }

    private func typingFrame(
        _ token: Token, _ session: SocketSession, _ principal: Principal, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
        let parser = parser
        guard let node = parser.field(JSONParser.root, "state"), parser.kind(node) == .string,
            parser.string(node).equals("start") || parser.string(node).equals("stop")
        else { throw .invalid("/state", "format", "state must be start or stop.") }
        ask(
            .typing(
                origin(token), frameID: id, principal, conversation, isStart: parser.string(node).equals("start")),
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
                throw .invalid("/after_seq", "format", "after_seq must be a whole number that is not negative.")
            }
            after = value
        }
        var wasFollower = false
        if let known = session.subscriptions[conversation] {
            guard known.state == .live || known.state == .muted else {
                throw Problem(.conflict, "This conversation is being subscribed already.")
            }
            wasFollower = known.isFollower
        } else if session.subscriptions.count >= Limits.subscriptionsPerSocketMax {
            throw Problem(
                .conflict, "A socket may follow at most \(Limits.subscriptionsPerSocketMax) conversations.")
        }
        session.subscriptions[conversation] = Subscription(
            state: .asked, cursor: after, headSeq: after, frameID: id, isFollower: wasFollower)
        expectAnswer(session)
        ask(.subscribe(origin(token), frameID: id, principal, conversation), shardKey: conversation.shardKey)
    }

    private func unsubscribeFrame(
        _ token: Token, _ session: SocketSession, _ id: ByteBlock?
    ) throws(Problem) {
        let conversation = try conversationID()
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

    private func stopFollowing(_ token: Token, _ session: SocketSession, _ conversation: Identifier) {
        guard let known = session.subscriptions.removeValue(forKey: conversation), known.isFollower else { return }
        if sockets.unfollow(conversation, token) {
            ask(.forget(core: UInt8(index), conversation), shardKey: conversation.shardKey)
        }
    }

    private func appendID(_ id: ByteBlock?) {
        guard let id else { return }
        scratch.append(",\"id\":")
        scratch.append(json: id)
    }

    // MARK: Answers

    func deliver(_ answer: Answer, _ token: Token, _ session: SocketSession) {
        guard session.state != .closing else { return }
        if session.inFlight > 0, answer.isCounted {
            session.inFlight -= 1
            inFlight -= 1
        }
        switch answer.result {
        case .failure(let problem):
            if let id = answer.about, session.subscriptions[id]?.state == .asked {
                stopFollowing(token, session, id)
            }
            sendProblem(problem, answer.frameID, token, session)
        case .success(_, let body, _, let follow):
            if session.state == .connecting { return didConnect(token, session, body) }
            if body.count > 0 { sendText(body.bytes, token, session) }
            guard let follow, session.state == .open else { return }
            if body.count == 0 { startReplay(token, session, follow) } else { followFromHere(token, session, follow) }
        }
    }

    func sendProblem(_ problem: Problem, _ id: ByteBlock?, _ token: Token, _ session: SocketSession) {
        scratch.removeAll()
        scratch.append("{\"type\":\"error\"")
        appendID(id)
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
                state: .live, cursor: follow.seq, headSeq: follow.seq, frameID: nil, isFollower: true)
        }
        sockets.follow(follow.conversation, token)
    }

    // MARK: Replay

    private func startReplay(_ token: Token, _ session: SocketSession, _ follow: Answer.Follow) {
        let id = follow.conversation
        guard var subscription = session.subscriptions[id], subscription.state == .asked else { return }
        guard subscription.cursor <= follow.seq else {
            stopFollowing(token, session, id)
            return sendProblem(
                .invalid("/after_seq", "range", "after_seq is beyond the last entry, \(follow.seq)."),
                subscription.frameID, token, session)
        }
        if !subscription.isFollower {
            subscription.isFollower = true
            sockets.follow(id, token)
        }
        let missing = follow.seq - subscription.cursor
        if missing > UInt64(Limits.replayEntriesMax) {
            let to = follow.seq - UInt64(Limits.replayEntriesMax)
            sendGap(token, session, id, from: subscription.cursor + 1, to: to)
            subscription.cursor = to
        }
        subscription.headSeq = follow.seq
        subscription.state = .replaying
        session.subscriptions[id] = subscription
        readOn(token, session, id)
    }

    private func sendGap(_ token: Token, _ session: SocketSession, _ id: Identifier, from: UInt64, to: UInt64) {
        scratch.removeAll()
        scratch.append("{\"type\":\"gap\",\"conversation_id\":\"")
        id.write(.conversation, into: scratch)
        scratch.append("\",\"from\":")
        scratch.append(decimal: from)
        scratch.append(",\"to\":")
        scratch.append(decimal: to)
        scratch.append(0x7D)
        let scratch = scratch
        sendText(scratch.bytes, token, session)
    }

    /// Reads the next page of a replay, or ends it when the head is reached.
    func readOn(_ token: Token, _ session: SocketSession, _ id: Identifier) {
        guard session.state == .open, var subscription = session.subscriptions[id],
            subscription.state == .replaying, !subscription.isReading
        else { return }
        if subscription.cursor >= subscription.headSeq {
            let frameID = subscription.frameID
            let wasAsked = subscription.frameID != nil || !subscription.isCatchingUp
            subscription.state = .live
            subscription.frameID = nil
            subscription.isCatchingUp = false
            session.subscriptions[id] = subscription
            if wasAsked { sendSubscribed(token, session, id, frameID, subscription.cursor) }
            return
        }
        // A full outbox is not filled further: `outboxDidDrain` comes back here.
        if connections[token.slot].queue.byteCount > Limits.outboxBytesMax / 4 { return }
        subscription.isReading = true
        session.subscriptions[id] = subscription
        store.read(
            .replay(
                ReplayQuery(
                    origin: origin(token), conversation: id, afterSeq: subscription.cursor,
                    throughSeq: subscription.headSeq)))
    }

    private func sendSubscribed(
        _ token: Token, _ session: SocketSession, _ id: Identifier, _ frameID: ByteBlock?, _ lastSeq: UInt64
    ) {
        scratch.removeAll()
        scratch.append("{\"type\":\"subscribed\"")
        appendID(frameID)
        scratch.append(",\"conversation_id\":\"")
        id.write(.conversation, into: scratch)
        scratch.append("\",\"last_seq\":")
        scratch.append(decimal: lastSeq)
        scratch.append(0x7D)
        let scratch = scratch
        sendText(scratch.bytes, token, session)
    }

    func didReplay(_ page: ReplayPage) {
        let token = page.origin.token
        guard connections.contains(token), let session = connections[token.slot].session,
            var subscription = session.subscriptions[page.conversation], subscription.state == .replaying,
            subscription.isReading
        else { return metrics.staleCompletions.add() }
        subscription.isReading = false
        guard let frames = page.frames else {
            let frameID = subscription.frameID
            session.subscriptions[page.conversation] = subscription
            stopFollowing(token, session, page.conversation)
            return sendProblem(
                Problem(
                    .temporarilyUnavailable, "The history cannot be read now: subscribe again.", retryAfterSeconds: 2),
                frameID, token, session)
        }
        // An empty page below the head would be asked for for ever: the log has no more.
        subscription.cursor = frames.isEmpty ? subscription.headSeq : page.lastSeq
        session.subscriptions[page.conversation] = subscription
        for payload in frames { sendText(payload.bytes, token, session) }
        readOn(token, session, page.conversation)
    }

    // MARK: Live frames

    /// Encoded once for all plain sockets of this core, and once for all compressing ones.
    func deliver(_ delivery: Delivery) {
        let encoding = DeliveryEncoding(delivery.payload)
        for token in sockets.followers(of: delivery.conversation) {
            guard let session = connections[token.slot].session else { continue }
            pass(delivery, encoding, token, session)
        }
        for token in sockets.sockets(of: delivery.user) {
            guard let session = connections[token.slot].session, session.state == .open else { continue }
            if let known = session.subscriptions[delivery.conversation] {
                if known.isFollower || known.state == .muted { continue }
            } else if delivery.seq > 0, session.subscriptions.count < Limits.subscriptionsPerSocketMax {
                session.subscriptions[delivery.conversation] = Subscription(
                    state: .live, cursor: delivery.seq - 1, headSeq: delivery.seq - 1, frameID: nil,
                    isFollower: false)
            }
            pass(delivery, encoding, token, session)
        }
    }

    private func pass(_ delivery: Delivery, _ encoding: DeliveryEncoding, _ token: Token, _ session: SocketSession) {
        if let except = delivery.except, except.token == token, Int(except.core) == index { return }
        guard delivery.seq > 0 else { return send(encoding, token, session) }
        guard var subscription = session.subscriptions[delivery.conversation] else { return }
        switch subscription.state {
        case .live where delivery.seq == subscription.cursor + 1:
            session.subscriptions[delivery.conversation]?.cursor = delivery.seq
            send(encoding, token, session)
        case .live where delivery.seq > subscription.cursor + 1:
            // Something was missed: catch up from the log, which has it all.
            subscription.headSeq = delivery.seq
            subscription.state = .replaying
            subscription.isCatchingUp = true
            session.subscriptions[delivery.conversation] = subscription
            readOn(token, session, delivery.conversation)
        case .replaying:
            session.subscriptions[delivery.conversation]?.headSeq = max(subscription.headSeq, delivery.seq)
        case .asked, .live, .muted: break
        }
    }

    private func send(_ encoding: DeliveryEncoding, _ token: Token, _ session: SocketSession) {
        let compresses = session.deflate != nil && encoding.payload.count > Self.deflateBytesMin
        let bits = compresses ? session.deflate?.serverWindowBits ?? 0 : 0
        if let known = encoding.frames[bits] { return send(known, token, session) }
        frame.removeAll()
        let payload = encoding.payload
        write(.text, payload.bytes, deflate: compresses ? session.deflate : nil, into: frame)
        let block = frame.block()
        encoding.frames[bits] = block
        send(block, token, session)
    }
}

/// The frames of one delivery by window bits; 0: not compressed.
final class DeliveryEncoding {
    let payload: ByteBlock
    var frames: [UInt8: ByteBlock] = [:]

    init(_ payload: ByteBlock) { self.payload = payload }
}

// Event streams: Server-Sent Events of one conversation's log.
//
// A stream is a subscriber like a socket is: replay, the seam to what is live, catching up and the
// bound of the outbox are those of Shard+Delivery. Here is what differs: how it begins, since an
// HTTP answer must be decided first, how its frames are written, and how it ends.
//
// A stream ends its connection (`Connection: close`). What was asked before it is answered first;
// what comes behind it is not read. If it is refused, the connection goes on.

import API
import Bytes
import ChatModel
import Identity
import Ingest
import Reactor
import Wire

extension Shard {
    // MARK: Opening

    /// Asks the owner; the answer decides between a stream and a problem.
    func openEvents(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ match: RouteMatch,
        _ principal: Principal, _ ordinal: UInt32, _ context: RequestContext
    ) throws(Problem) {
        try require(principal, .conversationRead)
        let path = bytes.part(assembler.head.path)
        guard let id = Identifier(path.part(match.variable), kind: .conversation) else {
            throw Problem(.notFound, "There is no such conversation.")
        }
        let after = try resumePoint(assembler, bytes)
        let session = SocketSession(
            kind: .events, messageBytesMax: configuration.messageBytesMax, deflate: nil,
            requestID: context.requestID.block())
        session.principal = principal
        session.stream = EventStream(
            ordinal: ordinal, context: context, conversation: id,
            framing: assembler.head.minorVersion == 0 ? .untilClose : .chunked)
        connections[token.slot].session = session
        connections[token.slot].phase = .events
        metrics.streams.add()
        askToFollow(id, after: after, token, session, principal)
    }

    /// Asks the owner to let a subscriber in that is no socket: an event stream, or a poll.
    func askToFollow(
        _ id: Identifier, after: UInt64, _ token: Token, _ session: SocketSession,
        _ principal: Principal
    ) {
        setDeadline(token, configuration.requestTimeoutMilliseconds)
        let asked = nextQuestion(token, session)
        session.subscriptions[id] = Subscription(
            state: .asked, cursor: after, headSeq: after, frameID: nil, isFollower: false,
            question: asked.ordinal)
        expectAnswer(session)
        ask(.subscribe(asked, frameID: nil, principal, id), shardKey: id.shardKey)
    }

    /// `Last-Event-ID` goes before `after_seq`: a client that resumes asks for the same address,
    /// with the header added.
    private func resumePoint(
        _ assembler: RequestAssembler, _ bytes: RawSpan
    ) throws(Problem) -> UInt64 {
        let query = try PageQuery(bytes, assembler.head.query, scratch: scratch)
        guard let range = assembler.head.value(.lastEventID), range.count > 0 else {
            return query.afterSeq ?? 0
        }
        guard let seq = bytes.part(range).decimal(), seq <= UInt64(Int64.max) else {
            throw .invalid("", "format", "Last-Event-ID must be the id of an event.")
        }
        return seq
    }

    /// The owner has let the reader in, or not.
    func didAnswer(
        _ answer: Answer, _ token: Token, _ session: SocketSession, _ stream: EventStream
    ) {
        switch answer.result {
        case .failure(let problem): refuse(token, session, stream, problem)
        case .success(_, _, _, let follow):
            guard let follow, let asked = session.subscriptions[stream.conversation] else {
                preconditionFailure("a subscription is answered with where its log ends")
            }
            guard asked.cursor <= follow.newestSeq else {
                return refuse(
                    token, session, stream,
                    .invalid(
                        "/after_seq", "range",
                        "after_seq is beyond the last entry, \(follow.seq)."))
            }
            guard !service.isClosing else {
                return refuse(
                    token, session, stream,
                    Problem(
                        .temporarilyUnavailable, "The service is ending.", retryAfterSeconds: 1))
            }
            begin(token, session, stream)
            if session.state == .open { startReplay(token, session, follow) }
        }
    }

    private func begin(_ token: Token, _ session: SocketSession, _ stream: EventStream) {
        let context = stream.context
        var head = head(context, 200, MediaType.events)
        head.keepsAlive = false
        head.framing = stream.framing == .chunked ? .chunked : .untilClose
        head.isStream = true
        responses.write(head, bodyBytes: 0, nowMilliseconds: clock.milliseconds, into: out)
        countRequest(context, 200)
        connections[token.slot].sendOrdinal &+= 1
        guard !context.isHead else {
            forget(token, session)
            session.state = .closing
            sendOut(token)
            return endAfterSend(token)
        }
        session.state = .open
        attach(token, session)
        // Spread, so that readers who lost the same core do not come back at the same moment.
        EventStreamEncoder.retry(
            milliseconds: Limits.eventRetryMilliseconds
                + random.next() % Limits.eventRetryMilliseconds,
            stream.framing, into: out)
        sendOut(token)
        setHeartbeat(token, session)
    }

    /// A stream is a device of its reader: that tells whether the reader is there.
    private func attach(_ token: Token, _ session: SocketSession) {
        guard let principal = session.principal else { return }
        let user = UserKey(tenant: principal.tenant, userID: principal.subject)
        session.user = user
        session.shardKey = UserKey.shardKey(
            tenant: directory[principal.tenant].name, user: principal.subject)
        sockets.add(token, of: user)
        ask(.attach(core: UInt8(index), user), shardKey: session.shardKey)
    }

    /// No stream: the request is answered like any other, and the connection goes on.
    private func refuse(
        _ token: Token, _ session: SocketSession, _ stream: EventStream, _ problem: Problem
    ) {
        forget(token, session)
        connections[token.slot].session = nil
        connections[token.slot].phase = .http
        setDeadline(token, keepAliveTimeoutMilliseconds)
        let context = service.isClosing ? stream.context.last : stream.context
        respond(token, stream.ordinal, context, problem)
    }

    // MARK: In

    /// Nothing is read behind a stream; what comes behind one that may be refused waits.
    func driveEvents(_ token: Token, _ bytes: RawSpan, from start: Int) -> Int {
        guard let session = connections[token.slot].session else {
            preconditionFailure("a stream has its session")
        }
        guard session.state == .connecting else { return bytes.byteCount }
        hold(token, .work)
        return start
    }

    // MARK: Out

    /// One delivery as an event, encoded once for all streams of a kind.
    func event(_ encoding: DeliveryEncoding, _ framing: EventFraming) -> ByteBlock {
        // Window bits, the other keys, are at most 15.
        let key = 0xF0 + framing.rawValue
        if let known = encoding.frames[key] { return known }
        frame.removeAll()
        let payload = encoding.payload
        EventStreamEncoder.event(payload.bytes, framing, into: frame)
        let block = frame.block()
        encoding.frames[key] = block
        return block
    }

    // MARK: Ending

    /// What was queued goes out first. Over chunks the reader can tell this end from a cut.
    func endStream(
        _ token: Token, _ session: SocketSession, _ stream: EventStream, _ reason: StaticString,
        retryMilliseconds: UInt64? = nil
    ) {
        guard session.state == .open else { return }
        forget(token, session)
        session.state = .closing
        if let retryMilliseconds {
            EventStreamEncoder.retry(
                milliseconds: retryMilliseconds, stream.framing, into: out)
        }
        EventStreamEncoder.comment(reason, stream.framing, into: out)
        EventStreamEncoder.end(stream.framing, into: out)
        sendOut(token)
        connections[token.slot].closesAfterSend = true
        setDeadline(token, Limits.closeTimeoutMilliseconds * 3)
    }

    // MARK: Time

    /// The next heartbeat, or the end of the credential if that is sooner.
    private func setHeartbeat(_ token: Token, _ session: SocketSession) {
        let interval = Limits.eventHeartbeatMilliseconds
        guard let principal = session.principal,
            principal.expiresAtSeconds <= (clock.milliseconds + interval) / 1000
        else { return setDeadline(token, interval) }
        let end = principal.expiresAtSeconds * 1000
        setDeadline(token, end > clock.milliseconds ? end - clock.milliseconds : 1)
    }

    func streamTimedOut(_ token: Token, _ session: SocketSession, _ stream: EventStream) {
        switch session.state {
        case .connecting:
            metrics.timeouts.add()
            forget(token, session)
            connections[token.slot].session = nil
            connections[token.slot].phase = .http
            respond(
                token, stream.ordinal, stream.context.last,
                Problem(
                    .timeout,
                    "The answer did not come within \(configuration.requestTimeoutMilliseconds) ms."
                ))
        case .open:
            guard let principal = session.principal,
                principal.expiresAtSeconds > clock.milliseconds / 1000
            else { return endStream(token, session, stream, "the token has expired") }
            guard stream.heartbeatsUnread < Limits.eventHeartbeatsUnreadMax else {
                metrics.slowConsumers.add()
                metrics.countShed(.slowReader)
                return close(token)
            }
            stream.heartbeatsUnread += 1
            EventStreamEncoder.comment("heartbeat", stream.framing, into: out)
            sendOut(token)
            setHeartbeat(token, session)
        case .closing, .anonymous:
            metrics.timeouts.add()
            close(token)
        }
    }
}

extension RequestContext {
    /// The same request, whose answer ends the connection.
    var last: RequestContext {
        var last = RequestContext(
            route: route, method: method, requestID: requestID, keepsAlive: false,
            saysKeepAlive: false, startedNanoseconds: startedNanoseconds)
        last.tenant = tenant
        last.rate = rate
        last.allowedOrigin = allowedOrigin
        last.instance = instance
        last.waitSeconds = waitSeconds
        return last
    }
}

// Long polling: a request for history with `Prefer: wait=N` (RFC 7240) and `after_seq` waits for
// the first entry behind that, or for the time to pass, and is then answered like any other.
//
// While it waits its connection is a subscriber, with the owner's question and the deliveries of
// sockets. What is pipelined behind it is read when it is answered; what is before it is answered
// first. It does not count among the requests in flight, since it keeps nothing busy.

import API
import Bytes
import ChatModel
import Ingest
import Stores
import Wire

extension Shard {
    /// True when the request is left to wait. Nothing but the look for the header is paid by
    /// others.
    func polls(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ query: PageQuery,
        _ job: HistoryQuery, _ principal: Principal, _ context: RequestContext
    ) -> Bool {
        guard let prefer = assembler.head.value(.prefer), !context.isHead,
            let after = query.afterSeq, query.beforeSeq == nil, query.cursor == nil,
            let seconds = Self.waitSeconds(bytes, prefer)
        else { return false }
        let id = job.conversation
        guard pollPlaces.take(id) else {
            metrics.pollsRefused.add()
            return false
        }
        let session = SocketSession(
            kind: .poll, messageBytesMax: configuration.messageBytesMax, deflate: nil,
            requestID: context.requestID.block())
        session.principal = principal
        session.poll = HistoryPoll(
            context: context, query: job, afterSeq: after, waitSeconds: seconds)
        connections[token.slot].session = session
        connections[token.slot].phase = .poll
        metrics.polls.add()
        askToFollow(id, after: after, token, session, principal)
        return true
    }

    /// nil: no such preference, or one that asks for nothing. More than the bound is the bound.
    static func waitSeconds(_ bytes: RawSpan, _ prefer: ByteRange) -> Int? {
        var scanner = HTTPListScanner(prefer)
        while let item = try? scanner.next(bytes) {
            guard bytes.part(item.name).equalsIgnoringCase("wait") else { continue }
            guard let seconds = bytes.part(item.value).decimal(), seconds > 0 else { return nil }
            return Int(min(seconds, UInt64(Limits.pollSecondsMax)))
        }
        return nil
    }

    // MARK: Waiting

    /// The owner has let it in, or not.
    func didAnswer(
        _ answer: Answer, _ token: Token, _ session: SocketSession, _ poll: HistoryPoll
    ) {
        guard case .success(_, _, _, let follow?) = answer.result else {
            guard case .failure(let problem) = answer.result else {
                preconditionFailure("a subscription is answered with where its log ends")
            }
            stopWaiting(token, session)
            return respond(token, poll.query.origin.ordinal, poll.context, problem)
        }
        let isBehind = follow.seq > poll.afterSeq
        guard !service.isClosing, !isBehind || !session.seesInternal else {
            return endPoll(token, session, poll)
        }
        session.state = .open
        session.subscriptions[follow.conversation]?.isFollower = true
        sockets.follow(follow.conversation, token)
        setDeadline(token, UInt64(poll.waitSeconds) * 1000)
        // All that is new may be internal, and then there is nothing to answer with.
        session.subscriptions[follow.conversation]?.headSeq = follow.seq
        session.subscriptions[follow.conversation]?.state = isBehind ? .replaying : .live
        if isBehind { readOn(token, session, follow.conversation) }
    }

    /// What stands behind `after_seq`, as far as this reader may see it; nil frames: not known.
    func didLook(
        _ page: ReplayPage, _ token: Token, _ session: SocketSession, _ poll: HistoryPoll
    ) {
        guard let frames = page.frames, frames.isEmpty else {
            return endPoll(token, session, poll)
        }
        session.subscriptions[page.conversation]?.isReading = false
        session.subscriptions[page.conversation]?.state = .live
    }

    func pass(
        _ delivery: Delivery, _ token: Token, _ session: SocketSession, _ poll: HistoryPoll
    ) {
        guard session.state == .open, delivery.seq > poll.afterSeq, session.maySee(delivery)
        else { return }
        endPoll(token, session, poll)
    }

    /// From here on it is a request like any other: the page is read as it is now.
    func endPoll(_ token: Token, _ session: SocketSession, _ poll: HistoryPoll) {
        stopWaiting(token, session)
        var context = service.isClosing ? poll.context.last : poll.context
        context.waitSeconds = poll.waitSeconds
        expect(token, poll.query.origin.ordinal, context)
        store.read(.history(poll.query))
    }

    private func stopWaiting(_ token: Token, _ session: SocketSession) {
        forget(token, session)
        session.state = .closing
        connections[token.slot].session = nil
        connections[token.slot].phase = .http
        setDeadline(token, keepAliveTimeoutMilliseconds)
    }

    func pollTimedOut(_ token: Token, _ session: SocketSession, _ poll: HistoryPoll) {
        if session.state == .open { return endPoll(token, session, poll) }
        metrics.timeouts.add()
        stopWaiting(token, session)
        respond(
            token, poll.query.origin.ordinal, poll.context.last,
            Problem(
                .timeout,
                "The answer did not come within \(configuration.requestTimeoutMilliseconds) ms."))
    }
}

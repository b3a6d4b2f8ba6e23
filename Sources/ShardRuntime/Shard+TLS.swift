// A connection over TLS: the same life, with a session between the completions and `take`, and
// close_notify before the end of the stream. Connections of plain text pass one branch on
// `Connection.tls` in each of receive, flush and send, and nothing of this file.

import Bytes
import ChatModel
import Logging
import Reactor

extension Shard {
    // MARK: Receiving

    func didReceive(_ ciphertext: RawSpan, _ token: Token, _ session: TLSSession) {
        guard let tls else { preconditionFailure("a session has its engine") }
        let slot = token.slot
        let wasHandshaking = session.state == .silent || session.state == .handshaking
        let wasInProgress = session.state == .handshaking
        let received = session.receive(ciphertext, &connections[slot].queue, segments)
        if !connections[slot].queue.isEmpty { markDirty(token) }
        if received.didEstablish {
            metrics.handshakes.add()
            if session.isResumed { metrics.handshakesResumed.add() }
            setDeadline(token, configuration.bounds.headTimeoutMilliseconds)
        }
        let isHandshaking = session.state == .handshaking
        if wasInProgress != isHandshaking {
            if isHandshaking { didBeginHandshake(token) } else { handshakes.didEnd() }
        }
        if received.byteCount > 0 {
            var bytes = tls.opened(received.byteCount)
            take(token, &bytes)
            guard connections.contains(token) else { return }
        }
        switch received.end {
        case .none: break
        case .closed: goOnToEnd(token, session)
        case .failed: fail(token, session, isHandshake: wasHandshaking && !received.didEstablish)
        case .plainHTTP: refusePlainText(token, session)
        }
    }

    /// close_notify ends the stream like a half-close does. While reading is held back, what came
    /// before it waits, and it waits too.
    func goOnToEnd(_ token: Token, _ session: TLSSession) {
        guard session.peerHasClosed, connections[token.slot].hold == .none,
            !connections[token.slot].peerClosed
        else { return }
        didReachEnd(token, 0)
    }

    // MARK: Failing

    /// The session is of no use any more: only its alert is still sent.
    private func fail(_ token: Token, _ session: TLSSession, isHandshake: Bool) {
        let slot = token.slot
        (isHandshake ? metrics.handshakesFailed : metrics.tlsFailures).add()
        logger.debug(
            "TLS failed",
            metadata: [
                "phase": isHandshake ? "handshake" : "records",
                "reason": "\(tls?.lastReason ?? "")",
            ])
        if let socket = connections[slot].session {
            forget(token, socket)
            socket.state = .closing
        }
        if connections[slot].phase == .sink { connections[slot].phase = .http }
        endAfterSend(token)
        giveBackAssembler(token)
        connections[slot].inbound = nil
        segments.dropPlaintext(of: &connections[slot].queue, session)
        setDeadline(token, Limits.closeTimeoutMilliseconds)
        if connections[slot].queue.isEmpty { linger(token) }
    }

    /// Somebody typed http instead of https: the answer is in the language of the question.
    private func refusePlainText(_ token: Token, _ session: TLSSession) {
        metrics.handshakesFailed.add()
        connections[token.slot].tls = nil
        refuse(token, Problem(.badRequest, "This port speaks TLS: use https."))
    }

    // MARK: Sending

    /// What was queued in this turn, as records, in one send.
    func flush(_ token: Token, _ session: TLSSession) {
        let slot = token.slot
        let isSound = segments.submit(
            &connections[slot].queue, through: session, isLast: connections[slot].closesAfterSend,
            descriptor: connections[slot].descriptor, token: token, to: operations)
        if !isSound { metrics.tlsFailures.add() }
        // What was queued for a session that has failed was dropped: no send will come back.
        if !isSound || session.state == .failed && connections[slot].queue.isEmpty { close(token) }
    }

    // MARK: Closing

    /// Ends a connection on which nothing is owed. Over TLS close_notify goes first, so that the
    /// peer knows an end from a cut.
    func closeOrderly(_ token: Token) {
        let slot = token.slot
        if let session = connections[slot].tls, session.state == .established,
            connections[slot].queue.isEmpty
        {
            linger(token)
        } else {
            close(token)
        }
    }

    /// True while close_notify, or what must go before it, is on its way: `didSend` comes back to
    /// `linger`.
    func isLeaving(_ token: Token, _ session: TLSSession) -> Bool {
        let slot = token.slot
        if session.state == .established, connections[slot].queue.isEmpty {
            segments.leave(&connections[slot].queue, session)
            // A stalled peer has this long to take it.
            setDeadline(token, Limits.closeTimeoutMilliseconds)
        }
        guard !connections[slot].queue.isEmpty else { return false }
        connections[slot].closesAfterSend = true
        if connections[slot].peerClosed {
            operations.add(
                .pauseReceive, descriptor: connections[slot].descriptor, token: token)
        }
        markDirty(token)
        return true
    }

    func didClose(_ token: Token, _ session: TLSSession) {
        if session.state == .handshaking {
            metrics.handshakesFailed.add()
            handshakes.didEnd()
        }
        segments.clear(session)
    }
}

// Entries out to sockets: replay from the store, live frames as they are announced, and the seam
// between.

import API
import Bytes
import ChatModel
import Stores
import Wire

extension Shard {
    // MARK: Replay

    func startReplay(_ token: Token, _ session: SocketSession, _ follow: Answer.Follow) {
        let id = follow.conversation
        guard var subscription = session.subscriptions[id], subscription.state == .asked else {
            return
        }
        guard subscription.cursor <= follow.newestSeq else {
            stopFollowing(token, session, id)
            return sendProblem(
                .invalid(
                    "/after_seq", "range", "after_seq is beyond the last entry, \(follow.seq)."),
                subscription.frameID, token, session)
        }
        if !subscription.isFollower {
            subscription.isFollower = true
            sockets.follow(id, token)
        }
        let missing = follow.seq > subscription.cursor ? follow.seq - subscription.cursor : 0
        if missing > UInt64(Limits.replayEntriesMax) {
            let to = follow.seq - UInt64(Limits.replayEntriesMax)
            sendGap(token, session, id, from: subscription.cursor + 1, to: to)
            subscription.cursor = to
        }
        subscription.headSeq = max(follow.seq, subscription.cursor)
        subscription.state = .replaying
        session.subscriptions[id] = subscription
        readOn(token, session, id)
    }

    private func sendGap(
        _ token: Token, _ session: SocketSession, _ id: Identifier, from: UInt64, to: UInt64
    ) {
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
            guard wasAsked else { return }
            sendSubscribed(token, session, id, frameID, subscription.cursor)
            return introduce(token, session, id)
        }
        // A full outbox is not filled further: `outboxDidDrain` comes back here.
        if connections[token.slot].queue.byteCount > Limits.outboxBytesMax / 4 { return }
        subscription.isReading = true
        subscription.readThroughSeq = subscription.headSeq
        let origin = nextQuestion(token, session)
        subscription.question = origin.ordinal
        session.subscriptions[id] = subscription
        store.read(
            .replay(
                ReplayQuery(
                    origin: origin, conversation: id, afterSeq: subscription.cursor,
                    throughSeq: subscription.headSeq,
                    showsInternal: session.seesInternal)))
    }

    private func sendSubscribed(
        _ token: Token, _ session: SocketSession, _ id: Identifier, _ frameID: ByteBlock?,
        _ lastSeq: UInt64
    ) {
        // A stream was not asked for by a frame that waits for its answer.
        guard session.stream == nil else { return }
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
            var subscription = session.subscriptions[page.conversation],
            subscription.state == .replaying,
            subscription.isReading, subscription.question == page.origin.ordinal
        else { return metrics.staleCompletions.add() }
        if let poll = session.poll { return didLook(page, token, session, poll) }
        subscription.isReading = false
        guard let frames = page.frames else {
            let frameID = subscription.frameID
            session.subscriptions[page.conversation] = subscription
            stopFollowing(token, session, page.conversation)
            return sendProblem(
                Problem(
                    .temporarilyUnavailable, "The history cannot be read now: subscribe again.",
                    retryAfterSeconds: 2),
                frameID, token, session, about: page.conversation)
        }
        // An empty page would be asked for for ever: what it might have held is not for this
        // reader. What came since it was asked for may be, and is read next.
        subscription.cursor = frames.isEmpty ? subscription.readThroughSeq : page.lastSeq
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
            // A stream shows the one conversation that it was opened for.
            guard let session = connections[token.slot].session, session.state == .open,
                session.kind != .events
            else { continue }
            if let known = session.subscriptions[delivery.conversation] {
                if known.isFollower || known.state == .muted { continue }
            } else if delivery.seq > 0,
                session.subscriptions.count < Limits.subscriptionsPerSocketMax
            {
                session.subscriptions[delivery.conversation] = Subscription(
                    state: .live, cursor: delivery.seq - 1, headSeq: delivery.seq - 1, frameID: nil,
                    isFollower: false)
            }
            pass(delivery, encoding, token, session)
        }
    }

    private func pass(
        _ delivery: Delivery, _ encoding: DeliveryEncoding, _ token: Token, _ session: SocketSession
    ) {
        if let poll = session.poll { return pass(delivery, token, session, poll) }
        if let except = delivery.except, except.token == token, Int(except.core) == index { return }
        guard delivery.seq > 0 else {
            if session.wants(delivery) { send(encoding, token, session) }
            return
        }
        guard var subscription = session.subscriptions[delivery.conversation] else { return }
        switch subscription.state {
        case .live where delivery.seq == subscription.cursor + 1:
            // What is internal passes an end user by: the next entry is still in order.
            session.subscriptions[delivery.conversation]?.cursor = delivery.seq
            if session.maySee(delivery) { send(encoding, token, session) }
        case .live where delivery.seq > subscription.cursor + 1:
            // Something was missed: catch up from the log, which has it all.
            subscription.headSeq = delivery.seq
            subscription.state = .replaying
            subscription.isCatchingUp = true
            session.subscriptions[delivery.conversation] = subscription
            readOn(token, session, delivery.conversation)
        case .replaying:
            session.subscriptions[delivery.conversation]?.headSeq = max(
                subscription.headSeq, delivery.seq)
        case .asked, .live, .muted: break
        }
    }

    private func send(_ encoding: DeliveryEncoding, _ token: Token, _ session: SocketSession) {
        if let stream = session.stream {
            return send(event(encoding, stream.framing), token, session)
        }
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

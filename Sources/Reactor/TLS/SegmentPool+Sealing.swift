// The way out over TLS. A connection's queue holds plaintext as always, and the session a second
// list: records that are made and not yet sent. The queue's `byteCount` is the sum of both, so that
// every bound and every "is all sent?" of the runtime means the same as without TLS.
//
//     queue:   head ── plaintext ── tail                byteCount = plaintext + records
//     sealed:  head ── records ──── tail  ─▶ send       made just before a send, a few at a time
//
// Records are made late, when the socket takes them: what a turn wrote in small pieces becomes one
// record, and a block that goes to many sockets stays shared until then.

import Bytes

extension SegmentPool {
    /// Records that one connection has at a time, give or take one: what a stalled client costs
    /// beyond the plaintext that waits. Four of them keep a socket busy for a turn.
    static let sealedBytesMax = 65_536

    /// Submits one send of what is queued, as records. `isLast`: close_notify follows the last
    /// byte. False when the session can encrypt no more; the connection is of no use then.
    public func submit(
        _ queue: inout SendQueue, through session: TLSSession, isLast: Bool, descriptor: Int32,
        token: Token, to operations: OperationQueue
    ) -> Bool {
        guard seal(&queue, session) else { return false }
        if isLast, queue.byteCount == session.sealed.byteCount { leave(&queue, session) }
        // Nothing may be left: plaintext that came before the handshake's end, or too late.
        guard !session.sealed.isEmpty else { return true }
        submit(&session.sealed, descriptor: descriptor, token: token, to: operations)
        queue.isInFlight = true
        return true
    }

    private func seal(_ queue: inout SendQueue, _ session: TLSSession) -> Bool {
        switch session.state {
        case .silent, .handshaking: return true
        case .leaving, .failed:
            dropPlaintext(of: &queue, session)
            return true
        case .established: break
        }
        while queue.head != .max, session.sealed.byteCount < Self.sealedBytesMax {
            // Safety: the bytes lie in the queue until they are dropped below, or in the engine's
            // room until the next record.
            let front = unsafe front(of: queue, gatheredIn: session.engine.gathering)
            guard unsafe session.seal(front) else { return false }
            drop(front.count, from: &queue)
            session.engine.drain(into: session, &queue, self)
        }
        return true
    }

    /// Queues close_notify behind the records; plaintext that is left would have to follow it, and
    /// is dropped.
    public func leave(_ queue: inout SendQueue, _ session: TLSSession) {
        session.leave()
        session.engine.drain(into: session, &queue, self)
        dropPlaintext(of: &queue, session)
    }

    /// What waits to become records will not be sent any more.
    public func dropPlaintext(of queue: inout SendQueue, _ session: TLSSession) {
        drop(queue.byteCount - session.sealed.byteCount, from: &queue)
    }

    /// Gives back what the kernel has taken.
    public func didSend(
        _ byteCount: Int, from queue: inout SendQueue, through session: TLSSession
    ) {
        didSend(byteCount, from: &session.sealed)
        queue.isInFlight = false
        queue.byteCount -= byteCount
    }

    /// Drops the records. The descriptor must have been closed first if a send is in flight.
    public func clear(_ session: TLSSession) { clear(&session.sealed) }
}

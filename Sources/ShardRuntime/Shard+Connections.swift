// A connection's life: accepted, read, written, timed, closed.

import API
import Bytes
import CLinux
import ChatModel
import Glibc
import Ingest
import Reactor

extension Shard {
    // MARK: Accepting

    func didAccept(_ completion: Completion) {
        guard completion.result >= 0 else {
            // EMFILE and its kin: the connection stays in the kernel's queue until descriptors are
            // free.
            metrics.acceptFailures.add()
            didStopListening()
            setTimer(.acceptRetry, 100)
            return
        }
        metrics.connectionsAccepted.add()
        let descriptor = completion.result
        guard !service.isClosing else {
            operations.add(.close, descriptor: descriptor, token: .none)
            return
        }
        guard let place = place(for: descriptor) else { return }
        guard let token = connections.insert(Connection(descriptor: descriptor, place: place))
        else {
            service.ledger.release(place)
            metrics.countShed(.connections)
            operations.add(.close, descriptor: descriptor, token: .none)
            return
        }
        metrics.connections.set(UInt64(connections.count))
        if let tls { connections[token.slot].tls = TLSSession(tls) }
        operations.add(.receive, descriptor: descriptor, token: token)
        setDeadline(token, configuration.bounds.headTimeoutMilliseconds)
    }

    // MARK: Receiving

    func didReceive(_ completion: Completion) {
        let token = completion.token
        let buffers = buffers
        guard connections.contains(token) else {
            metrics.staleCompletions.add()
            if completion.buffer != .max { buffers.release(completion.buffer) }
            return
        }
        guard completion.result > 0 else {
            if completion.buffer != .max { buffers.release(completion.buffer) }
            return didReachEnd(token, completion.result)
        }
        let count = Int(completion.result)
        if connections[token.slot].phase == .lingering {
            buffers.release(completion.buffer)
            return
        }
        var bytes = buffers.bytes(completion.buffer, count: count)
        if let tls = connections[token.slot].tls {
            didReceive(bytes.bytes, token, tls)
        } else {
            take(token, &bytes)
        }
        buffers.release(completion.buffer)
        countHeld(token)
    }

    /// Plaintext that came. What is not used at once is kept.
    func take(_ token: Token, _ bytes: inout MutableRawSpan) {
        if let inbound = connections[token.slot].inbound {
            inbound.append(bytes.bytes)
            return driveInbound(token)
        }
        var used = 0
        if connections[token.slot].hold == .none { used = drive(token, &bytes) }
        let count = bytes.byteCount
        if used < count, connections.contains(token), connections[token.slot].phase != .lingering {
            let inbound = ReceiveBuffer(capacity: max(512, (count - used).nextPowerOfTwo))
            inbound.append(bytes.bytes.extracting(used..<count))
            connections[token.slot].inbound = inbound
        }
    }

    /// Goes on with bytes that were kept.
    func driveInbound(_ token: Token) {
        guard connections[token.slot].hold == .none, let inbound = connections[token.slot].inbound
        else { return }
        var bytes = inbound.bytes
        let used = drive(token, &bytes)
        guard connections.contains(token) else { return }
        inbound.consume(used)
        if inbound.count == 0 { connections[token.slot].inbound = nil }
    }

    /// Parses and runs what the bytes hold; returns how many are done with. The phase may change on
    /// the way.
    private func drive(_ token: Token, _ bytes: inout MutableRawSpan) -> Int {
        var offset = 0
        while true {
            let before = offset
            switch connections[token.slot].phase {
            case .http: offset = driveHTTP(token, bytes.bytes, from: offset)
            case .sink: offset = driveSink(token, bytes.bytes, from: offset)
            case .socket: offset = driveSocket(token, &bytes, from: offset)
            case .events: offset = driveEvents(token, bytes.bytes, from: offset)
            case .poll: hold(token, .work)
            case .lingering: return bytes.byteCount
            }
            guard connections.contains(token) else { return bytes.byteCount }
            if offset == bytes.byteCount || offset == before
                || connections[token.slot].hold != .none
            {
                return offset
            }
        }
    }

    /// The end of the stream, or an errno.
    func didReachEnd(_ token: Token, _ result: Int32) {
        let slot = token.slot
        let isOrderly = result == 0
        connections[slot].peerClosed = true
        if isOrderly, let session = connections[slot].session, let poll = session.poll {
            // Nobody knows whether it still listens: it is answered now.
            endPoll(token, session, poll)
        }
        // Half-closed: what was asked is still answered.
        let isOwed = connections[slot].requestsInFlight > 0 || !connections[slot].queue.isEmpty
        if isOrderly, connections[slot].phase == .http, isOwed {
            operations.add(.pauseReceive, descriptor: connections[slot].descriptor, token: token)
            connections[slot].closesAfterSend = connections[slot].requestsInFlight == 0
            setDeadline(token, configuration.requestTimeoutMilliseconds)
            return
        }
        if isOrderly { closeOrderly(token) } else { close(token) }
    }

    // MARK: Holding back

    /// Stops reading from a connection until `resumeHeld` finds room.
    func hold(_ token: Token, _ reason: Connection.Hold) {
        guard connections[token.slot].hold == .none else { return }
        connections[token.slot].hold = reason
        metrics.held.add()
        operations.add(.pauseReceive, descriptor: connections[token.slot].descriptor, token: token)
        if reason == .work { held.append(token) }
    }

    func release(_ token: Token) {
        guard connections.contains(token), connections[token.slot].hold != .none else { return }
        connections[token.slot].hold = .none
        if !connections[token.slot].peerClosed {
            operations.add(.receive, descriptor: connections[token.slot].descriptor, token: token)
        }
        driveInbound(token)
        countHeld(token)
        guard connections.contains(token), let tls = connections[token.slot].tls else { return }
        goOnToEnd(token, tls)
    }

    func resumeHeld() {
        guard !held.isEmpty, !isCongested else { return }
        let waiting = held
        held.removeAll(keepingCapacity: true)
        for token in waiting
        where connections.contains(token) && connections[token.slot].hold == .work {
            if hasRoom(token) { release(token) } else { held.append(token) }
        }
    }

    /// True when the connection may bring more work.
    func hasRoom(_ token: Token) -> Bool {
        let slot = token.slot
        if connections[slot].phase == .poll { return false }
        // Who reads its answers is served while others' fill the memory.
        if segments.usedBytes > bufferedBytesMax, !connections[slot].queue.isEmpty { return false }
        if let session = connections[slot].session {
            // Who sends a whole echo before reading one would otherwise wait for itself.
            let bound =
                session.kind == .echo ? Limits.echoMessageBytesMax : Limits.outboxBytesMax
            return session.inFlight < Limits.socketMessagesInFlightMax
                && connections[slot].queue.byteCount < bound
        }
        return connections[slot].requestsInFlight < Limits.pipelinedRequestsMax
            && connections[slot].queue.byteCount < Limits.outboxBytesMax
    }

    // MARK: Sending

    /// Queues what stands in `out`, and empties it.
    func sendOut(_ token: Token) {
        let out = out
        segments.append(out.bytes, to: &connections[token.slot].queue)
        out.removeAll()
        markDirty(token)
    }

    func markDirty(_ token: Token) {
        if connections[token.slot].isDirty { return }
        connections[token.slot].isDirty = true
        dirty.append(token)
    }

    /// Corked writes: one send for all that a connection was given in this turn.
    func flushDirty() {
        var i = 0
        while i < dirty.count {
            let token = dirty[i]
            i += 1
            guard connections.contains(token) else { continue }
            connections[token.slot].isDirty = false
            if connections[token.slot].queue.isInFlight || connections[token.slot].queue.isEmpty {
                continue
            }
            if let tls = connections[token.slot].tls {
                flush(token, tls)
                continue
            }
            segments.submit(
                &connections[token.slot].queue, descriptor: connections[token.slot].descriptor,
                token: token,
                to: operations)
        }
        dirty.removeAll()
    }

    func didSend(_ completion: Completion) {
        let token = completion.token
        guard connections.contains(token) else { return metrics.staleCompletions.add() }
        let slot = token.slot
        guard completion.result >= 0 else {
            connections[slot].queue.isInFlight = false
            return close(token)
        }
        connections[slot].sentBytes &+= UInt32(completion.result)
        if let tls = connections[slot].tls {
            segments.didSend(
                Int(completion.result), from: &connections[slot].queue, through: tls)
        } else {
            segments.didSend(Int(completion.result), from: &connections[slot].queue)
        }
        if !connections[slot].queue.isEmpty { return markDirty(token) }
        connections[slot].reading = nil
        if connections[slot].closesAfterSend { return linger(token) }
        if let session = connections[slot].session { outboxDidDrain(token, session) }
    }

    // MARK: Time

    /// The connection is closed if nothing moves the deadline for this long. Costs a store, unless
    /// the new deadline is earlier than the timer.
    func setDeadline(_ token: Token, _ milliseconds: UInt64) {
        let slot = token.slot
        let due = clock.nanoseconds + milliseconds * 1_000_000
        connections[slot].deadlineNanoseconds = due
        if connections[slot].timer != .none, connections[slot].timerDueNanoseconds <= due { return }
        timers.cancel(connections[slot].timer)
        connections[slot].timerDueNanoseconds = due
        connections[slot].timer = timers.set(
            dueNanoseconds: due, TimerEvent(code: TimerCode.connection.rawValue, token: token))
    }

    func connectionTimerFired(_ token: Token) {
        guard connections.contains(token) else { return }
        let slot = token.slot
        connections[slot].timer = .none
        if clock.nanoseconds < connections[slot].deadlineNanoseconds {
            let due = connections[slot].deadlineNanoseconds
            connections[slot].timerDueNanoseconds = due
            connections[slot].timer = timers.set(
                dueNanoseconds: due, TimerEvent(code: TimerCode.connection.rawValue, token: token))
            return
        }
        switch connections[slot].phase {
        case .lingering: close(token)
        case .socket:
            if let session = connections[slot].session { socketTimedOut(token, session) }
        case .events:
            if let session = connections[slot].session, let stream = session.stream {
                streamTimedOut(token, session, stream)
            }
        case .poll:
            if let session = connections[slot].session, let poll = session.poll {
                pollTimedOut(token, session, poll)
            }
        case .http, .sink: requestTimedOut(token)
        }
    }

    private func requestTimedOut(_ token: Token) {
        let slot = token.slot
        if connections[slot].requestsInFlight > 0 {
            metrics.timeouts.add()
            return timeOutPending(token)
        }
        if !connections[slot].queue.isEmpty, isReadingOn(token) { return }
        if let assembler = connections[slot].assembler {
            if assembler.isInBody, connections[slot].phase == .http, isBodyComing(token) { return }
            metrics.timeouts.add()
            metrics.countShed(assembler.isInBody ? .slowBody : .slowHead)
            return refuse(
                token,
                Problem(
                    .badRequest, "The request did not arrive in time.", statusOverride: 408))
        }
        if let tls = connections[slot].tls, tls.state == .handshaking {
            metrics.timeouts.add()
            metrics.countShed(.slowHandshake)
        } else if !connections[slot].queue.isEmpty {
            metrics.timeouts.add()
            metrics.slowConsumers.add()
            metrics.countShed(.slowReader)
        } else {
            metrics.countShed(.idle)
        }
        // Idle between requests, or a peer that never said anything: nothing to answer.
        closeOrderly(token)
    }

    // MARK: Closing

    /// Nothing more is sent; the peer may still read what is on its way, so its bytes are drained
    /// first (closing with unread bytes would reset the connection and take the last answer with
    /// it).
    func linger(_ token: Token) {
        let slot = token.slot
        guard connections[slot].phase != .lingering else { return }
        if let tls = connections[slot].tls, isLeaving(token, tls) { return }
        if connections[slot].peerClosed { return close(token) }
        if let session = connections[slot].session { forget(token, session) }
        connections[slot].phase = .lingering
        connections[slot].inbound = nil
        countHeld(token)
        operations.add(.shutdown, descriptor: connections[slot].descriptor, token: token)
        if connections[slot].hold != .none {
            connections[slot].hold = .none
            operations.add(.receive, descriptor: connections[slot].descriptor, token: token)
        }
        setDeadline(token, Limits.closeTimeoutMilliseconds)
    }

    func close(_ token: Token) {
        let slot = token.slot
        timers.cancel(connections[slot].timer)
        if let session = connections[slot].session { forget(token, session) }
        if let exchange = connections[slot].exchange { inFlight -= exchange.unansweredCount }
        giveBackAssembler(token)
        operations.add(.close, descriptor: connections[slot].descriptor, token: token)
        if let tls = connections[slot].tls { didClose(token, tls) }
        leaveDoor(token)
        segments.clear(&connections[slot].queue)
        connections.remove(token)
        metrics.connections.set(UInt64(connections.count))
    }

    /// At the end of the service: sockets are told when to come back, spread over time; idle
    /// connections go.
    func sendEverybodyAway() {
        for token in connections.tokens() {
            if let session = connections[token.slot].session, let poll = session.poll {
                endPoll(token, session, poll)
            } else if let session = connections[token.slot].session,
                connections[token.slot].phase == .socket || connections[token.slot].phase == .events
            {
                let wait = 250 + random.next() % 4750
                if let stream = session.stream {
                    endStream(token, session, stream, "going away", retryMilliseconds: wait)
                } else {
                    closeSocket(token, session, 1001, "{\"retry_after_ms\":\(wait)}")
                }
            } else if connections[token.slot].requestsInFlight == 0,
                connections[token.slot].assembler == nil,
                connections[token.slot].phase == .http
            {
                if connections[token.slot].queue.isEmpty {
                    closeOrderly(token)
                } else {
                    connections[token.slot].closesAfterSend = true
                }
            }
        }
    }
}

extension Int {
    var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}

extension Exchange {
    /// Requests that were counted as in flight and will not be answered any more.
    var unansweredCount: Int { pending.reduce(0) { $0 + ($1.response == nil ? 1 : 0) } }
}

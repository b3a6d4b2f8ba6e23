// What clients may take of a core, and what happens to who takes more. docs/limits.md lists it all;
// the numbers are in `Limits` and `ConnectionBounds`.
//
// The rule of choice: who behaves like everybody else goes on. A stalled handshake goes before a
// new one, a reader who has stopped goes before one who reads, a request that came whole goes on
// while halves are refused.

import API
import Bytes
import ChatModel
import Identity
import Ingest
import Logging
import Reactor
import Wire

/// What was last told of shedding, so that an attack does not fill the log.
struct SheddingReport {
    static let pauseNanoseconds: UInt64 = 60_000_000_000
    fileprivate var counts = [UInt64](repeating: 0, count: ShedReason.allCases.count)
    fileprivate var nextNanoseconds: UInt64 = 0
}

extension Shard {
    // MARK: The door

    /// A place for a connection that was accepted; nil when it is being turned away.
    func place(for descriptor: Int32) -> ConnectionLedger.Place? {
        switch service.ledger.admit(PeerAddress(descriptor)) {
        case .admitted(let place): return place
        case .isFull: turnAway(descriptor, .connections)
        case .addressIsFull: turnAway(descriptor, .addressConnections)
        }
        return nil
    }

    /// A 503, and time to read it. Over TLS, where that would cost a handshake, and when too many
    /// are being told already, the connection is closed without a word.
    private func turnAway(_ descriptor: Int32, _ reason: ShedReason) {
        metrics.countShed(reason)
        guard tls == nil, turnedAwayCount < service.turnedAwayPerShardMax,
            let token = connections.insert(Connection(descriptor: descriptor, place: nil))
        else {
            operations.add(.close, descriptor: descriptor, token: .none)
            return
        }
        turnedAwayCount += 1
        operations.add(.receive, descriptor: descriptor, token: token)
        let detail =
            reason == .connections
            ? "The service has as many connections as it takes."
            : "This address has as many connections as it may."
        refuse(
            token,
            Problem(
                .temporarilyUnavailable, detail,
                retryAfterSeconds: Limits.retryAfterFullSeconds))
        setDeadline(token, Limits.closeTimeoutMilliseconds)
    }

    /// Gives back what the connection was counted for.
    func leaveDoor(_ token: Token) {
        heldBytes -= Int(connections[token.slot].heldBytes)
        if let place = connections[token.slot].place {
            service.ledger.release(place)
        } else {
            turnedAwayCount -= 1
        }
    }

    // MARK: Handshakes

    func didBeginHandshake(_ token: Token) {
        let isInProgress = { [connections] (token: Token) in
            connections.contains(token) && connections[token.slot].tls?.state == .handshaking
        }
        handshakes.prune(where: isInProgress)
        guard handshakes.didBegin(token), let oldest = handshakes.takeOldest(where: isInProgress)
        else { return }
        metrics.countShed(.handshakes)
        close(oldest)
    }

    // MARK: Time

    /// Sooner when places are rare.
    var keepAliveTimeoutMilliseconds: UInt64 {
        let usual = configuration.bounds.keepAliveTimeoutMilliseconds
        guard service.ledger.isUnderPressure else { return usual }
        return min(usual, Limits.keepAliveUnderPressureMilliseconds)
    }

    /// Nothing is owed any more: the deadline of the request that comes next, or has begun to.
    func awaitNextRequest(_ token: Token) {
        guard let assembler = connections[token.slot].assembler else {
            return setDeadline(token, keepAliveTimeoutMilliseconds)
        }
        if assembler.isInBody {
            awaitBody(
                token, receivedBytes: connections[token.slot].inbound?.count ?? 0)
        } else {
            setDeadline(token, configuration.bounds.headTimeoutMilliseconds)
        }
    }

    /// A head is complete and its body is on its way.
    func awaitBody(_ token: Token, receivedBytes: Int) {
        let bounds = configuration.bounds
        let slot = token.slot
        connections[slot].bodyEndNanoseconds =
            clock.nanoseconds + bounds.bodyTimeoutMilliseconds * 1_000_000
        connections[slot].pace = TransferPace(
            bytesPerWindow: bounds.paceBytesPerWindow, countedBytes: UInt32(receivedBytes))
        if connections[slot].requestsInFlight == 0 {
            setDeadline(token, bounds.paceWindowMilliseconds)
        }
    }

    /// At the end of a window: whether the body may go on coming.
    func isBodyComing(_ token: Token) -> Bool {
        let slot = token.slot
        let end = connections[slot].bodyEndNanoseconds
        let received = UInt32(connections[slot].inbound?.count ?? 0)
        guard clock.nanoseconds < end,
            connections[slot].pace?.isKept(countedBytes: received) ?? false
        else { return false }
        let rest = (end - clock.nanoseconds) / 1_000_000 + 1
        setDeadline(token, min(rest, configuration.bounds.paceWindowMilliseconds))
        return true
    }

    /// At the end of a window: whether the peer reads what is queued for it. A first look only
    /// begins to count.
    func isReadingOn(_ token: Token) -> Bool {
        let slot = token.slot
        let sent = connections[slot].sentBytes
        let window = configuration.bounds.paceWindowMilliseconds
        guard connections[slot].reading != nil else {
            connections[slot].reading = TransferPace(
                bytesPerWindow: configuration.bounds.paceBytesPerWindow, countedBytes: sent)
            setDeadline(token, window)
            return true
        }
        guard connections[slot].reading?.isKept(countedBytes: sent) ?? false else { return false }
        setDeadline(token, window)
        return true
    }

    // MARK: Memory

    /// Counts anew what the connection holds of what is not whole yet. Who asks for more when the
    /// core has no more is refused; who holds its part already keeps it.
    func countHeld(_ token: Token) {
        guard connections.contains(token) else { return }
        let slot = token.slot
        var bytes = 0
        if let inbound = connections[slot].inbound { bytes += inbound.capacityBytes }
        if let assembler = connections[slot].assembler { bytes += assembler.heldBytes }
        if let session = connections[slot].session { bytes += session.inbound.heldBytes }
        let before = Int(connections[slot].heldBytes)
        guard bytes != before else { return }
        connections[slot].heldBytes = UInt32(bytes)
        heldBytes += bytes - before
        guard bytes > before, heldBytes > bufferedBytesMax else { return }
        metrics.countShed(.bufferedRequests)
        refuseHalf(token)
    }

    private func refuseHalf(_ token: Token) {
        let slot = token.slot
        if let session = connections[slot].session {
            // Who only reads has no business to send.
            guard connections[slot].phase == .socket else { return close(token) }
            closeSocket(token, session, 1013, "No memory for unfinished messages: try again.")
            // Its close frame goes out, and what it holds goes at once.
            connections[slot].closesAfterSend = true
            session.inbound = WebSocketInbound(messageBytesMax: 1)
        } else {
            giveBackAssembler(token)
            refuse(
                token,
                Problem(
                    .temporarilyUnavailable, "There is no memory for unfinished requests.",
                    retryAfterSeconds: Limits.retryAfterFullSeconds))
        }
        guard connections.contains(token) else { return }
        connections[slot].inbound = nil
        heldBytes -= Int(connections[slot].heldBytes)
        connections[slot].heldBytes = 0
    }

    /// Answers that nobody reads fill the memory: those who have stopped to read go, the largest
    /// first, until a quarter is free.
    func shedUnreadAnswers() {
        guard clock.nanoseconds >= nextSheddingNanoseconds else { return }
        let enough = bufferedBytesMax / 4 * 3
        // What was handed to the socket in an earlier turn and is still there waits for its reader.
        let stalled = connections.tokens().filter { connections[$0.slot].queue.isInFlight }
            .sorted {
                connections[$0.slot].queue.byteCount > connections[$1.slot].queue.byteCount
            }
        for token in stalled where segments.usedBytes > enough && connections.contains(token) {
            metrics.slowConsumers.add()
            metrics.countShed(.bufferedAnswers)
            close(token)
        }
        // A walk over all connections is not for every turn when it finds nothing.
        if segments.usedBytes > enough {
            nextSheddingNanoseconds = clock.nanoseconds + 100_000_000
        }
    }

    // MARK: Credentials

    static let badCredentialsScope = UInt64.max - 1

    static func tooManyBadCredentials(_ seconds: Int) -> String {
        "Too many bad credentials from this address; wait \(seconds) s."
    }

    /// 401; or 429 once the address has sent too many that were never good.
    func refusal(_ token: Token, _ fault: CredentialFault) -> Problem {
        guard let seconds = countBadCredential(token, fault) else {
            return Problem(.unauthenticated, fault.detail)
        }
        return Problem(
            .rateLimited, Self.tooManyBadCredentials(seconds), retryAfterSeconds: seconds)
    }

    /// Seconds to wait; nil while the address may go on. A good credential that has expired, or
    /// none at all, is nobody's guess and does not count.
    func countBadCredential(_ token: Token, _ fault: CredentialFault) -> Int? {
        switch fault {
        case .missing, .expired, .notYetValid: return nil
        default: break
        }
        guard let limit = badCredentials,
            let address = PeerAddress(connections[token.slot].descriptor)
        else { return nil }
        let decision = service.limiter.admit(
            address.network, scope: Self.badCredentialsScope, limit, now: clock.nanoseconds)
        if decision.isAllowed { return nil }
        metrics.countShed(.credentials)
        return decision.retryAfterSeconds
    }

    /// A key that is not known costs the directory a look-up, so an address that guesses is refused
    /// before it.
    func refusalBeforeLookUp(_ token: Token) -> Problem? {
        guard let limit = badCredentials,
            let address = PeerAddress(connections[token.slot].descriptor),
            let seconds = service.limiter.wait(
                address.network, scope: Self.badCredentialsScope, limit, now: clock.nanoseconds)
        else { return nil }
        metrics.countShed(.credentials)
        return Problem(
            .rateLimited, Self.tooManyBadCredentials(seconds), retryAfterSeconds: seconds)
    }

    // MARK: Frames

    /// Takes one frame's place of the socket's budget; closes it when there is none.
    func isWithinFrames(_ token: Token, _ session: SocketSession) -> Bool {
        guard session.kind == .chat, session.state != .closing else { return true }
        if session.frames.take(nowNanoseconds: clock.nanoseconds) { return true }
        metrics.countShed(.frames)
        closeSocket(token, session, 4429, "Too many frames; wait before you reconnect.")
        return false
    }

    // MARK: Counting

    func countShed(_ fault: RequestFault) {
        switch fault {
        case .bodyTooLarge: metrics.countShed(.bodyTooLarge)
        case .http(.headTooLarge), .http(.tooManyHeaders), .http(.requestLineTooLong),
            .http(.trailersTooLarge), .http(.chunkLineTooLong):
            metrics.countShed(.headTooLarge)
        case .http: break
        }
    }

    func countShed(_ error: WebSocketError) {
        switch error {
        case .frameTooBig, .messageTooBig: metrics.countShed(.frameTooLarge)
        case .inflatedTooBig: metrics.countShed(.inflatedTooLarge)
        case .tooManyFragments: metrics.countShed(.fragments)
        default: break
        }
    }

    /// At most one line a minute, with what was shed since the last.
    func reportShedding() {
        guard clock.nanoseconds >= shedding.nextNanoseconds else { return }
        var fields: Logger.Metadata = [:]
        for reason in ShedReason.allCases {
            let count = metrics.shed.load(reason.rawValue)
            let since = count &- shedding.counts[reason.rawValue]
            if since > 0 { fields[reason.name] = "\(since)" }
            shedding.counts[reason.rawValue] = count
        }
        guard !fields.isEmpty else { return }
        shedding.nextNanoseconds = clock.nanoseconds + SheddingReport.pauseNanoseconds
        logger.warning("load was shed", metadata: fields)
    }
}

// Requests in, responses out, in order.

import API
import Bytes
import ChatModel
import Ingest
import Logging
import Reactor
import Wire

extension Shard {
    // MARK: In

    /// Handles the requests that lie whole in `bytes`; returns the offset of the first byte that is
    /// still needed.
    func driveHTTP(_ token: Token, _ bytes: RawSpan, from start: Int) -> Int {
        let slot = token.slot
        var offset = start
        while offset < bytes.byteCount, connections[slot].phase == .http,
            !connections[slot].closesAfterSend, !connections[slot].isRefused
        {
            if isCongested || !hasRoom(token) {
                hold(token, .work)
                return offset
            }
            let rest = bytes.extracting(offset..<bytes.byteCount)
            let assembler = connections[slot].assembler ?? self.assembler
            do throws(RequestFault) {
                switch try assembler.next(rest, bodyBytesMax: configuration.messageBytesMax) {
                case .needsMoreBytes:
                    keepAssembler(token, assembler)
                    return offset
                case .headComplete:
                    keepAssembler(token, assembler)
                    awaitBody(token, receivedBytes: rest.byteCount)
                    if beginsStream(token, assembler, rest) { return offset + assembler.headBytes }
                    try expectBody(token, assembler, rest)
                    if connections[slot].phase != .http { return bytes.byteCount }
                case .complete(let body, let consumed):
                    let isShared = assembler === self.assembler
                    let used = handle(token, assembler, rest, body) ? consumed : 0
                    // A shared one serves the next connection, whatever became of this one.
                    if isShared { assembler.reset() }
                    guard connections.contains(token) else { return bytes.byteCount }
                    giveBackAssembler(token)
                    offset += used
                    if used == 0 { return offset }
                }
            } catch {
                if assembler === self.assembler { assembler.reset() }
                countShed(error)
                refuse(token, problem(for: error))
                return bytes.byteCount
            }
        }
        // Behind a request that ends the connection nothing is read.
        if connections[slot].closesAfterSend || connections[slot].isRefused {
            return bytes.byteCount
        }
        // A request that waits for its answer has a deadline of its own, which is sooner.
        if offset == bytes.byteCount, connections[slot].phase == .http,
            connections[slot].requestsInFlight == 0
        {
            setDeadline(token, keepAliveTimeoutMilliseconds)
        }
        return offset
    }

    /// A body is on its way: refuses what is too large before it is sent, else says that it may
    /// come.
    private func expectBody(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan
    ) throws(RequestFault) {
        if case .length(let count) = assembler.head.framing,
            count > UInt64(configuration.messageBytesMax)
        {
            throw .bodyTooLarge
        }
        // The body may be here already; an answer to an earlier request must not be overtaken.
        guard assembler.head.expectContinue, bytes.byteCount == assembler.headBytes,
            connections[token.slot].requestsInFlight == 0
        else { return }
        out.append("HTTP/1.1 100 Continue\r\n\r\n")
        sendOut(token)
    }

    private func keepAssembler(_ token: Token, _ assembler: RequestAssembler) {
        guard connections[token.slot].assembler == nil else { return }
        connections[token.slot].assembler = assembler
        self.assembler = spareAssemblers.popLast() ?? RequestAssembler()
        // A request before it waits for its answer: it has a deadline of its own.
        guard connections[token.slot].requestsInFlight == 0 else { return }
        setDeadline(token, configuration.bounds.headTimeoutMilliseconds)
    }

    func giveBackAssembler(_ token: Token) {
        guard let assembler = connections[token.slot].assembler else { return }
        connections[token.slot].assembler = nil
        assembler.reset()
        if spareAssemblers.count < 64 { spareAssemblers.append(assembler) }
    }

    private func problem(for fault: RequestFault) -> Problem {
        switch fault {
        case .bodyTooLarge:
            Problem(
                .payloadTooLarge,
                "The body may have at most \(configuration.messageBytesMax) bytes.")
        case .http(let error):
            Problem(.badRequest, "\(error.detail)", statusOverride: error.status)
        }
    }

    /// Answers a request that could not be read, and ends the connection: where the next one begins
    /// is unknown.
    func refuse(_ token: Token, _ problem: Problem) {
        let ordinal = connections[token.slot].nextOrdinal
        connections[token.slot].nextOrdinal &+= 1
        giveBackAssembler(token)
        connections[token.slot].phase = .http
        connections[token.slot].isRefused = true
        let context = RequestContext(
            route: .unknown, method: .get, requestID: newRequestID(), keepsAlive: false,
            saysKeepAlive: false,
            startedNanoseconds: clock.nanoseconds)
        respond(token, ordinal, context, problem)
    }

    // MARK: /bench/sink: a body of any size, counted as it comes

    private func beginsStream(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan
    ) -> Bool {
        guard configuration.benchRoutes, assembler.head.method == .post,
            Router.match(bytes.part(assembler.head.path)).route == .benchSink
        else { return false }
        let slot = token.slot
        let exchange = exchange(token)
        exchange.sinkBytes = 0
        exchange.sinkContext = context(assembler, bytes, .benchSink)
        if assembler.head.expectContinue, connections[slot].requestsInFlight == 0 {
            out.append("HTTP/1.1 100 Continue\r\n\r\n")
            sendOut(token)
        }
        assembler.streamBody()
        connections[slot].phase = .sink
        return true
    }

    func driveSink(_ token: Token, _ bytes: RawSpan, from start: Int) -> Int {
        guard let assembler = connections[token.slot].assembler,
            let exchange = connections[token.slot].exchange,
            let context = exchange.sinkContext
        else { preconditionFailure("a sink has its request") }
        var offset = start
        while true {
            do throws(RequestFault) {
                switch try assembler.nextOfStream(bytes, from: offset) {
                case .data(let range, let next):
                    exchange.sinkBytes += UInt64(range.count)
                    offset = next
                case .needsMoreBytes(let next):
                    setDeadline(token, Limits.idleBodyTimeoutMilliseconds)
                    return next
                case .end(let next):
                    connections[token.slot].phase = .http
                    giveBackAssembler(token)
                    respondSink(token, takeOrdinal(token), context, exchange.sinkBytes)
                    return next
                }
            } catch {
                refuse(token, problem(for: error))
                return bytes.byteCount
            }
        }
    }

    func respondSink(_ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ bytes: UInt64)
    {
        scratch.removeAll()
        scratch.append("{\"bytes\":")
        scratch.append(decimal: bytes)
        scratch.append(0x7D)
        respond(token, ordinal, context, 200, MediaType.json, scratch)
    }

    // MARK: What a request is

    func newRequestID() -> RequestID { RequestID(high: random.next(), low: random.next()) }

    func takeOrdinal(_ token: Token) -> UInt32 {
        let ordinal = connections[token.slot].nextOrdinal
        connections[token.slot].nextOrdinal &+= 1
        return ordinal
    }

    func context(_ assembler: RequestAssembler, _ bytes: RawSpan, _ route: Route) -> RequestContext
    {
        var id = newRequestID()
        if let sent = assembler.head.value(.xRequestID), RequestID.isAcceptable(bytes.part(sent)) {
            id = RequestID(ByteBlock(copying: bytes.part(sent)))
        }
        let keepsAlive = assembler.head.keepAlive && !service.isDraining
        return RequestContext(
            route: route, method: assembler.head.method, requestID: id, keepsAlive: keepsAlive,
            saysKeepAlive: keepsAlive && assembler.head.minorVersion == 0,
            startedNanoseconds: clock.nanoseconds)
    }

    func exchange(_ token: Token) -> Exchange {
        if let exchange = connections[token.slot].exchange { return exchange }
        let exchange = Exchange()
        connections[token.slot].exchange = exchange
        return exchange
    }

    // MARK: Out

    func respond(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ status: Int,
        _ type: StaticString,
        _ body: ByteWriter
    ) {
        let head = head(context, status, type)
        write(token, ordinal, context, head, bodyBytes: body.count) { out in out.append(body.bytes)
        }
    }

    func respond(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ head: ResponseHead,
        _ body: ByteSlice
    ) {
        write(token, ordinal, context, head, bodyBytes: body.count) { out in out.append(body) }
    }

    func respond(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ head: ResponseHead,
        _ body: ByteBlock
    ) {
        respond(token, ordinal, context, head, ByteSlice(body))
    }

    func respond(_ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ problem: Problem) {
        var head = head(context, problem.status, MediaType.problem)
        head.retryAfterSeconds = problem.retryAfterSeconds
        head.challenge = problem.status == 401
        if problem.status == 405 { head.allow = context.route.allows }
        let body = scratch
        body.removeAll()
        let id = context.requestID.block()
        if let instance = context.instance {
            problem.write(into: body, instance: instance.bytes, requestID: id.bytes)
        } else {
            let pattern = ByteBlock(
                context.route == .unknown ? "" : context.route.pattern.description)
            problem.write(into: body, instance: pattern.bytes, requestID: id.bytes)
        }
        // What could not be read as a request is counted; a line for each would help an attack.
        if problem.status >= 500, context.route != .unknown {
            var fields: Logger.Metadata = [
                "request_id": "\(id.bytes.string())", "status": "\(problem.status)",
                "detail": "\(problem.detail)",
            ]
            if let tenant = context.tenant {
                fields["tenant_id"] = "\(directory[tenant].nameText)"
            }
            logger.warning("request failed", metadata: fields)
        }
        write(token, ordinal, context, head, bodyBytes: body.count) { out in out.append(body.bytes)
        }
    }

    func head(_ context: RequestContext, _ status: Int, _ type: StaticString) -> ResponseHead {
        var head = ResponseHead(
            status: status, contentType: type, requestID: context.requestID,
            keepsAlive: context.keepsAlive)
        head.saysKeepAlive = context.saysKeepAlive
        head.rate = context.rate
        head.allowedOrigin = context.allowedOrigin
        head.waitSeconds = context.waitSeconds
        return head
    }

    /// Writes the response now if it is this one's turn; otherwise it is kept until those before it
    /// are out.
    private func write(
        _ token: Token, _ ordinal: UInt32, _ context: RequestContext, _ head: ResponseHead,
        bodyBytes: Int,
        _ body: (ByteWriter) -> Void
    ) {
        let slot = token.slot
        countRequest(context, head.status)
        let out = out
        let start = out.count
        responses.write(head, bodyBytes: bodyBytes, nowMilliseconds: clock.milliseconds, into: out)
        if !context.isHead { body(out) }
        if ordinal == connections[slot].sendOrdinal {
            connections[slot].sendOrdinal &+= 1
            let endsHere = !head.keepsAlive
            sendOut(token)
            if endsHere { return endAfterSend(token) }
            if let exchange = connections[slot].exchange { sendWaiting(token, exchange) }
            return
        }
        let block = ByteBlock(copying: out.bytes.extracting(start..<out.count))
        out.truncate(to: start)
        let exchange = exchange(token)
        if let place = exchange.place(of: ordinal) {
            exchange.pending[place].response = block
        } else {
            exchange.pending.append(
                PendingRequest(ordinal: ordinal, head: context, response: block))
        }
    }

    func countRequest(_ context: RequestContext, _ status: Int) {
        metrics.requests.add(
            route: context.route.rawValue, method: context.method.rawValue, status: status)
        metrics.requestMicroseconds.record((clock.nanoseconds &- context.startedNanoseconds) / 1000)
        if isDebugging { logRequest(context, status) }
    }

    private func logRequest(_ context: RequestContext, _ status: Int) {
        let id = context.requestID.block()
        var fields: Logger.Metadata = [
            "request_id": "\(id.bytes.string())", "method": "\(context.method.name)",
            "route": "\(context.route.pattern)", "status": "\(status)",
            "duration_us": "\((clock.nanoseconds &- context.startedNanoseconds) / 1000)",
        ]
        if let tenant = context.tenant {
            fields["tenant_id"] = "\(directory[tenant].nameText)"
        }
        logger.debug("request", metadata: fields)
    }

    /// Sends the answers whose turn has come. After the last one a connection that the peer has
    /// half-closed ends.
    private func sendWaiting(_ token: Token, _ exchange: Exchange) {
        let slot = token.slot
        while let place = exchange.place(of: connections[slot].sendOrdinal),
            let response = exchange.pending[place].response
        {
            let endsHere = !exchange.pending[place].head.keepsAlive
            exchange.pending.remove(at: place)
            connections[slot].sendOrdinal &+= 1
            segments.append(response, to: &connections[slot].queue)
            markDirty(token)
            if endsHere { return endAfterSend(token) }
        }
        if connections[slot].peerClosed, connections[slot].requestsInFlight == 0 {
            endAfterSend(token)
        }
    }

    func endAfterSend(_ token: Token) {
        connections[token.slot].closesAfterSend = true
        // A peer that does not read has this long to take what is queued.
        setDeadline(token, Limits.idleBodyTimeoutMilliseconds)
        if let exchange = connections[token.slot].exchange {
            inFlight -= exchange.unansweredCount
            exchange.pending.removeAll()
        }
    }

    // MARK: Answers that come later

    /// Remembers a request whose answer comes from elsewhere.
    func expect(_ token: Token, _ ordinal: UInt32, _ context: RequestContext) {
        exchange(token).pending.append(
            PendingRequest(ordinal: ordinal, head: context, response: nil))
        inFlight += 1
        setDeadline(token, configuration.requestTimeoutMilliseconds)
    }

    /// An answer from an owner or from the store.
    func deliver(_ answer: Answer) {
        if answer.origin.isSocket { return deliverToSocket(answer) }
        let token = answer.origin.token
        guard connections.contains(token) else { return metrics.staleCompletions.add() }
        guard let exchange = connections[token.slot].exchange,
            let place = exchange.pending.firstIndex(where: {
                $0.ordinal == answer.origin.ordinal && $0.response == nil
            })
        else { return metrics.staleCompletions.add() }
        let context = exchange.pending[place].head
        if context.route == .guest { return finishGuest(token, exchange, place, answer) }
        if let conversation = answer.shows { return show(conversation, answer, context) }
        finish(token, exchange, place)
        switch answer.result {
        case .failure(let problem): respond(token, answer.origin.ordinal, context, problem)
        case .success(let status, let body, let isReplay, _):
            var head = head(context, status, MediaType.json)
            head.isReplay = isReplay
            head.version = answer.version
            if context.route == .message {
                metrics.messageMicroseconds.record(
                    (clock.nanoseconds &- context.startedNanoseconds) / 1000)
            }
            respond(token, answer.origin.ordinal, context, head, body)
        }
        if connections.contains(token), connections[token.slot].requestsInFlight == 0 {
            awaitNextRequest(token)
        }
    }

    /// The request is no longer waited for; its response follows at once.
    func finish(_ token: Token, _ exchange: Exchange, _ place: Int) {
        inFlight -= 1
        if exchange.pending[place].ordinal == connections[token.slot].sendOrdinal {
            exchange.pending.remove(at: place)
        } else {
            // Keeps its place, and is not found as unanswered; `write` puts the response there.
            exchange.pending[place].response = Self.noBody
        }
    }

    static let noBody = ByteBlock("")

    /// REQUEST_TIMEOUT_MS is over for the oldest request: 504, and the connection ends, since a
    /// late answer would have no place in the order. A message that was on its way may still become
    /// durable.
    func timeOutPending(_ token: Token) {
        let due = connections[token.slot].sendOrdinal
        guard let exchange = connections[token.slot].exchange,
            let oldest = exchange.pending.first(where: { $0.ordinal == due })
        else { return close(token) }
        let context = oldest.head
        let last = RequestContext(
            route: context.route, method: context.method, requestID: context.requestID,
            keepsAlive: false, saysKeepAlive: false,
            startedNanoseconds: context.startedNanoseconds)
        inFlight -= exchange.unansweredCount
        exchange.pending.removeAll()
        respond(
            token, oldest.ordinal, last,
            Problem(
                .timeout,
                "The answer did not come within \(configuration.requestTimeoutMilliseconds) ms."))
    }
}

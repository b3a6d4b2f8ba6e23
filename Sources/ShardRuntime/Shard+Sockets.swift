// WebSockets: the handshake, frames in and out, the close handshake, time limits.

import API
import Bytes
import ChatModel
import Identity
import Ingest
import Reactor
import Wire

extension Shard {
    static let deflateBytesMin = 1024

    // MARK: The handshake (RFC 6455 section 4.2)

    /// False when the request must be read again later.
    func handleUpgrade(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ context: RequestContext
    ) -> Bool {
        let hasCredential =
            assembler.head.value(.authorization) != nil || assembler.head.value(.xAPIKey) != nil
        guard hasCredential else {
            upgrade(token, assembler, bytes, context, .chat, nil)
            return true
        }
        switch admit(token, assembler, bytes) {
        case .waits: return false
        case .refused(let problem):
            let context = problem.code == .rateLimited ? context.last : context
            respond(token, takeOrdinal(token), context, problem)
        case .principal(let principal):
            do throws(Problem) {
                try checkTenant(assembler, bytes, principal)
                upgrade(token, assembler, bytes, context, .chat, principal)
            } catch {
                respond(token, takeOrdinal(token), context, error)
            }
        }
        return true
    }

    func upgrade(
        _ token: Token, _ assembler: RequestAssembler, _ bytes: RawSpan, _ context: RequestContext,
        _ kind: SocketSession.Kind, _ principal: Principal?
    ) {
        let ordinal = takeOrdinal(token)
        if let problem = upgradeFault(assembler, bytes) {
            var head = head(context, problem.status, MediaType.problem)
            head.upgradesTo = problem.status == 426 ? "websocket" : nil
            scratch.removeAll()
            let id = context.requestID.block()
            let path = bytes.part(assembler.head.path)
            problem.write(into: scratch, instance: path, requestID: id.bytes)
            return respond(token, ordinal, context, head, scratch.block())
        }
        guard ordinal == connections[token.slot].sendOrdinal,
            let key = assembler.head.value(.secWebSocketKey)
        else {
            return respond(
                token, ordinal, context,
                Problem(
                    .badRequest, "An upgrade must wait for the answers to the requests before it."))
        }
        connections[token.slot].sendOrdinal &+= 1
        var deflate: DeflateParameters?
        if let offer = assembler.head.value(.secWebSocketExtensions) {
            // Our side keeps no context, so that one compressor serves all sockets of a core.
            deflate = DeflateParameters.negotiate(
                offer: bytes.part(offer), policy: DeflatePolicy(serverNoContextTakeover: true))
        }
        writeSwitch(assembler, bytes, bytes.part(key), deflate, context)
        metrics.requests.add(
            route: context.route.rawValue, method: context.method.rawValue, status: 101)
        let limit = kind == .chat ? configuration.messageBytesMax : Limits.echoMessageBytesMax
        let session = SocketSession(
            kind: kind, messageBytesMax: limit, deflate: deflate,
            requestID: context.requestID.block())
        connections[token.slot].session = session
        connections[token.slot].phase = .socket
        connections[token.slot].exchange = nil
        metrics.sockets.add()
        sendOut(token)
        if kind == .broadcast { sockets.addBroadcast(token) }
        setDeadline(
            token,
            kind == .chat ? Limits.authenticationTimeoutMilliseconds : Limits.heartbeatMilliseconds)
        if let principal { connect(token, session, principal, deviceID: nil) }
    }

    private func upgradeFault(_ assembler: RequestAssembler, _ bytes: RawSpan) -> Problem? {
        guard assembler.head.upgradeToWebSocket else {
            return Problem(
                .badRequest, "This route speaks WebSocket: send an upgrade.", statusOverride: 426)
        }
        guard let version = assembler.head.value(.secWebSocketVersion),
            bytes.part(version).equals("13")
        else {
            return Problem(.badRequest, "Sec-WebSocket-Version must be 13.", statusOverride: 426)
        }
        guard let key = assembler.head.value(.secWebSocketKey), isValidWebSocketKey(bytes.part(key))
        else {
            return Problem(.badRequest, "Sec-WebSocket-Key must be the base64 of 16 bytes.")
        }
        return nil
    }

    private func writeSwitch(
        _ assembler: RequestAssembler, _ bytes: RawSpan, _ key: RawSpan,
        _ deflate: DeflateParameters?,
        _ context: RequestContext
    ) {
        let scratch = scratch
        scratch.removeAll()
        scratch.append(key)
        scratch.append(webSocketAcceptGUID)
        out.append(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        out.append("Sec-WebSocket-Accept: ")
        Digests.base64SHA1(scratch.bytes, into: out)
        out.append("\r\nX-Request-ID: ")
        context.requestID.write(into: out)
        if let range = assembler.head.value(.secWebSocketProtocol) {
            var scanner = HTTPListScanner(range)
            while let item = try? scanner.next(bytes) {
                if bytes.part(item.name).equals("chat.v2+json") {
                    out.append("\r\nSec-WebSocket-Protocol: chat.v2+json")
                    break
                }
            }
        }
        if let deflate {
            out.append("\r\nSec-WebSocket-Extensions: ")
            deflate.writeResponse(into: out)
        }
        out.append("\r\n\r\n")
    }

    // MARK: Frames in

    func driveSocket(_ token: Token, _ bytes: inout MutableRawSpan, from start: Int) -> Int {
        guard let session = connections[token.slot].session else {
            preconditionFailure("a socket has its session")
        }
        var offset = start
        while offset < bytes.byteCount, connections[token.slot].phase == .socket {
            if session.state == .closing {
                return closingBytes(token, session, &bytes, from: offset)
            }
            if !hasRoom(token) || isCongested || session.state == .connecting {
                hold(token, .work)
                return offset
            }
            do throws(WebSocketError) {
                let step = try session.inbound.next(&bytes, from: offset, assembling: assemblies)
                offset = step.next
                if case .needsMoreBytes = step.event { break }
                take(step.event, token, session, bytes.bytes)
                guard connections.contains(token) else { return bytes.byteCount }
            } catch {
                countShed(error)
                closeSocket(token, session, error.closeCode, "\(error.detail)")
                return bytes.byteCount
            }
        }
        if connections[token.slot].phase == .socket, session.state != .anonymous,
            session.state != .closing
        {
            session.awaitsPong = false
            setDeadline(token, Limits.heartbeatMilliseconds)
        }
        return offset
    }

    private func take(
        _ event: WebSocketEvent, _ token: Token, _ session: SocketSession, _ bytes: RawSpan
    ) {
        switch event {
        case .message(let isText, .inPlace(let range)):
            message(token, session, bytes.part(range), isText: isText)
        case .message(let isText, .assembled):
            let assembled = session.inbound.takeAssembled()
            message(token, session, assembled.bytes, isText: isText)
            assemblies.giveBack(assembled)
        case .ping(let range):
            guard isWithinFrames(token, session) else { return }
            WebSocketEncoder.pong(bytes.part(range), into: out)
            sendOut(token)
        case .close(let code, _): peerCloses(token, session, code)
        case .pong: _ = isWithinFrames(token, session)
        case .closed, .needsMoreBytes: break
        }
    }

    private func message(_ token: Token, _ session: SocketSession, _ payload: RawSpan, isText: Bool)
    {
        switch session.kind {
        case .chat:
            guard isText else {
                return closeSocket(token, session, 1003, "Only text frames are understood.")
            }
            chatFrame(token, session, payload)
        case .echo:
            write(isText ? .text : .binary, payload, deflate: session.deflate, into: out)
            sendOut(token)
        case .broadcast:
            frame.removeAll()
            if isText {
                WebSocketEncoder.text(payload, into: frame)
            } else {
                WebSocketEncoder.binary(payload, into: frame)
            }
            let block = frame.block()
            for port in ports { port?.send(.broadcast(block)) }
            broadcastLocally(block)
        case .events, .poll: preconditionFailure("who only reads sends no frames")
        }
    }

    /// One encoding for all sockets of this core; the bytes are shared.
    func broadcastLocally(_ block: ByteBlock) {
        for token in sockets.broadcast {
            guard let session = connections[token.slot].session, session.state == .open else {
                continue
            }
            send(block, token, session)
        }
    }

    // MARK: Frames out

    /// Writes a frame, compressed when that was agreed and pays.
    func write(
        _ opcode: WebSocketOpcode, _ payload: RawSpan, deflate: DeflateParameters?,
        into writer: ByteWriter
    ) {
        guard let deflate, payload.byteCount > Self.deflateBytesMin else {
            WebSocketEncoder.header(opcode, payloadBytes: payload.byteCount, into: writer)
            writer.append(payload)
            return
        }
        let bits = deflate.serverWindowBits
        let deflater = deflaters[bits] ?? Deflater(windowBits: bits, level: 1)
        deflaters[bits] = deflater
        let compressed = assemblies.takeWriter()
        WebSocketEncoder.compressed(
            opcode, payload, by: deflater, keepContext: false, scratch: compressed, into: writer)
        assemblies.giveBack(compressed)
    }

    /// One JSON text frame to one socket.
    func sendText(_ payload: RawSpan, _ token: Token, _ session: SocketSession) {
        guard session.state != .closing, admitsMore(token, session) else { return }
        metrics.framesOut.add()
        if let stream = session.stream {
            EventStreamEncoder.event(payload, stream.framing, into: out)
        } else {
            write(.text, payload, deflate: session.deflate, into: out)
        }
        sendOut(token)
    }

    /// A frame that is encoded already.
    func send(_ block: ByteBlock, _ token: Token, _ session: SocketSession) {
        guard session.state != .closing, admitsMore(token, session) else { return }
        metrics.framesOut.add()
        segments.append(block, to: &connections[token.slot].queue)
        markDirty(token)
    }

    /// Sheds a socket whose outbox is over its bound: nobody waits for a slow reader.
    private func admitsMore(_ token: Token, _ session: SocketSession) -> Bool {
        let bound = session.kind == .echo ? Limits.echoOutboxBytesMax : Limits.outboxBytesMax
        if connections[token.slot].queue.byteCount <= bound { return true }
        metrics.slowConsumers.add()
        metrics.countShed(.slowReader)
        closeSocket(token, session, 4408, "The outbox is full: reconnect and resume.")
        return false
    }

    // MARK: Closing (RFC 6455 section 7)

    /// Starts the close handshake; what was queued before goes out first.
    func closeSocket(_ token: Token, _ session: SocketSession, _ code: UInt16, _ reason: String) {
        guard session.state != .closing else { return }
        if let stream = session.stream {
            return endStream(token, session, stream, code == 4408 ? "slow consumer" : "ended")
        }
        forget(token, session)
        session.state = .closing
        let text = ByteBlock(String(reason.prefix(120)))
        WebSocketEncoder.close(code: code, reason: text.bytes, into: out)
        sendOut(token)
        // A peer that reads slowly has this long to see why.
        setDeadline(token, Limits.closeTimeoutMilliseconds * 3)
        if code == 1002 || code == 1007 || code == 1009 {
            connections[token.slot].closesAfterSend = true
        }
    }

    private func peerCloses(_ token: Token, _ session: SocketSession, _ code: UInt16?) {
        if session.state != .closing {
            forget(token, session)
            session.state = .closing
            WebSocketEncoder.close(code: code, reason: RawSpan(), into: out)
            sendOut(token)
        }
        connections[token.slot].closesAfterSend = true
        markDirty(token)
        if connections[token.slot].queue.isEmpty { linger(token) }
    }

    /// Our close is out: only the peer's is waited for.
    private func closingBytes(
        _ token: Token, _ session: SocketSession, _ bytes: inout MutableRawSpan, from start: Int
    ) -> Int {
        var offset = start
        while offset < bytes.byteCount, connections.contains(token),
            connections[token.slot].phase == .socket
        {
            guard let step = try? session.inbound.next(&bytes, from: offset, assembling: assemblies)
            else {
                // Our close frame may still be on its way out.
                connections[token.slot].closesAfterSend = true
                if connections[token.slot].queue.isEmpty { linger(token) }
                return bytes.byteCount
            }
            offset = step.next
            switch step.event {
            case .close(let code, _): peerCloses(token, session, code)
            case .closed: return bytes.byteCount
            case .message(_, .assembled): assemblies.giveBack(session.inbound.takeAssembled())
            case .needsMoreBytes: return offset
            default: break
            }
        }
        return offset
    }

    /// The socket takes part in nothing any more.
    func forget(_ token: Token, _ session: SocketSession) {
        guard session.state != .closing || session.kind == .broadcast || session.user != nil else {
            return
        }
        if session.kind == .broadcast { sockets.removeBroadcast(token) }
        stopTyping(token, session)
        for (id, subscription) in session.subscriptions where subscription.isFollower {
            if sockets.unfollow(id, token) { forgetIfUnfollowed(id) }
        }
        session.subscriptions.removeAll()
        if let user = session.user, let deviceID = session.deviceID {
            ask(.deviceWent(user, deviceID), shardKey: session.shardKey)
        }
        if let user = session.user, sockets.remove(token, of: user) {
            ask(.detach(core: UInt8(index), user), shardKey: session.shardKey)
        }
        session.user = nil
        inFlight -= session.inFlight
        session.inFlight = 0
        if !session.isForgotten {
            session.isForgotten = true
            switch session.kind {
            case .events: metrics.streams.subtract()
            case .poll: metrics.polls.subtract()
            case .chat, .echo, .broadcast: metrics.sockets.subtract()
            }
            if let poll = session.poll { pollPlaces.giveBack(poll.query.conversation) }
        }
    }

    // MARK: Time

    func socketTimedOut(_ token: Token, _ session: SocketSession) {
        if session.state == .anonymous {
            metrics.countShed(.idle)
            return closeSocket(token, session, 4401, "No credential came in time.")
        }
        if session.state == .closing || session.awaitsPong {
            metrics.timeouts.add()
            if !connections[token.slot].queue.isEmpty { metrics.countShed(.slowReader) }
            return close(token)
        }
        session.awaitsPong = true
        WebSocketEncoder.ping(RawSpan(), into: out)
        sendOut(token)
        setDeadline(token, Limits.heartbeatMilliseconds)
    }

    func outboxDidDrain(_ token: Token, _ session: SocketSession) {
        guard session.state == .open else { return }
        session.stream?.heartbeatsUnread = 0
        for (id, subscription) in session.subscriptions
        where subscription.state == .replaying && !subscription.isReading {
            readOn(token, session, id)
        }
    }
}

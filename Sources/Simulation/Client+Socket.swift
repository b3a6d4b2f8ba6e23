// The client's half of WebSocket and of the chat protocol on it.

import Bytes
import ChatModel

extension Client {
    func upgrade() {
        phase = .upgrading
        let credential =
            around.chance.percent(50) ? "Authorization: Bearer \(person.token)\r\n" : ""
        if credential.isEmpty { isClosing = false }
        needsConnectFrame = credential.isEmpty
        send(
            Array(
                ("GET /api/v2/chat/ws HTTP/1.1\r\nHost: simulated\r\nX-Request-ID: ws-\(number)\r\n"
                    + credential + "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
                    .utf8))
    }

    func didUpgrade(_ status: Int, _ requestID: String) {
        guard status == 101, requestID == "ws-\(number)" else {
            return violate("the upgrade is answered \(status) to \(requestID)")
        }
        journal.count("101")
        phase = .socket
        if needsConnectFrame {
            sendFrame(
                "{\"type\":\"connect\",\"token\":\"\(person.token)\",\"device_id\":\"d\(number)\"}")
        }
        readFrames()
    }

    // MARK: Out

    /// A masked frame (RFC 6455 section 5.3).
    func sendFrame(_ text: String) {
        around.trace.note("client \(number) says \(text.prefix(170))")
        sendFrame(1, Array(text.utf8))
    }

    func sendFrame(_ opcode: UInt8, _ payload: [UInt8]) {
        var bytes: [UInt8] = [0x80 | opcode]
        if payload.count < 126 {
            bytes.append(0x80 | UInt8(payload.count))
        } else {
            bytes.append(0x80 | 126)
            bytes.append(UInt8(payload.count >> 8))
            bytes.append(UInt8(payload.count & 0xFF))
        }
        let mask = around.chance.next()
        for index in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: mask >> UInt64(8 * index))) }
        for (index, byte) in payload.enumerated() {
            bytes.append(byte ^ UInt8(truncatingIfNeeded: mask >> UInt64(8 * (index & 3))))
        }
        send(bytes)
    }

    func actOverSocket() {
        guard isOpen else { return }
        let faults = around.faults
        if around.chance.percent(faults.vanishPercent) { return vanish() }
        if around.chance.percent(faults.stallPercent) { return stall() }
        if around.chance.percent(faults.malformedPercent) { return spoilSocket() }
        if around.chance.percent(2) {
            isClosing = true
            return sendFrame(8, around.chance.percent(50) ? [] : [3, 0xE8])
        }
        let count = around.chance.percent(faults.floodPercent) ? 30 : 1
        for _ in 0..<count { say() }
    }

    private func say() {
        switch around.chance.below(20) {
        case 0: sendFrame("{\"type\":\"ping\"}")
        case 1: sendFrame(9, [])
        case 2, 3, 4, 5: subscribe()
        case 6: unsubscribe()
        case 7: if around.chance.percent(50) { type() } else { sendMark() }
        case 8: cancel()
        default:
            if person.isAgent { subscribe() } else { sendMessage(nextIntent(overSocket: true)) }
        }
    }

    func sendMessage(_ intent: Intent) {
        guard let key = intent.key, !frames.contains(where: { $0.id == key }) else {
            if intent.attemptCount > 0, intent.acknowledged == nil { wanted.append(intent) }
            return
        }
        intent.attemptCount += 1
        intent.openAttemptCount += 1
        frames.append(PendingFrame(id: key, kind: .message, intent: intent))
        var text = "{\"type\":\"message\",\"id\":\"\(key)\",\"channel\":\"\(intent.channel)\""
        if let conversation = intent.conversation {
            text += ",\"conversation_id\":\"\(conversation.text(.conversation))\""
        }
        sendFrame(text + ",\"content\":{\"type\":\"text\",\"text\":\"\(intent.text)\"}}")
    }

    private func subscribe() {
        guard let (id, isForeign) = anyConversation(), followers[id]?.asked == nil,
            !frames.contains(where: { $0.conversation == id })
        else { return }
        // Resumed from what was last seen, or from anywhere before the end.
        let head = journal.archive.knownHead(of: id)
        let last = followers[id]?.lastSeq
        let after =
            around.chance.percent(50) ? last ?? 0 : UInt64(around.chance.below(Int(head) + 1))
        madeCount += 1
        let frameID = "s-\(madeCount)"
        var follower = followers[id] ?? Follower()
        // Nothing that was read before this is on its way.
        if followers[id] == nil && person.isAgent || follower.isMuted {
            follower.readSinceSeq = journal.archive.head(of: id)
        }
        follower.asked = after
        follower.wasWanted = true
        followers[id] = follower
        frames.append(
            PendingFrame(id: frameID, kind: .subscribe, conversation: id, isForeign: isForeign))
        sendFrame(
            "{\"type\":\"subscribe\",\"id\":\"\(frameID)\",\"conversation_id\":"
                + "\"\(id.text(.conversation))\",\"after_seq\":\(after)}")
    }

    private func unsubscribe() {
        let ids = journal.archive.order.filter { id in
            guard let follower = followers[id], !follower.isMuted else { return false }
            return !frames.contains { $0.conversation == id && $0.kind == .unsubscribe }
        }
        guard !ids.isEmpty else { return }
        let id = around.chance.pick(ids)
        madeCount += 1
        frames.append(PendingFrame(id: "u-\(madeCount)", kind: .unsubscribe, conversation: id))
        sendFrame(
            "{\"type\":\"unsubscribe\",\"id\":\"u-\(madeCount)\",\"conversation_id\":"
                + "\"\(id.text(.conversation))\"}")
    }

    private func type() {
        guard let (id, _) = anyConversation() else { return }
        let state = around.chance.pick(["start", "stop"])
        sendFrame(
            "{\"type\":\"typing\",\"conversation_id\":\"\(id.text(.conversation))\",\"state\":\"\(state)\"}"
        )
    }

    private func cancel() {
        guard !runs.isEmpty else { return }
        journal.count("cancel")
        sendFrame("{\"type\":\"cancel\",\"run_id\":\"\(around.chance.pick(runs).id)\"}")
    }

    private func spoilSocket() {
        journal.count("malformed")
        isSpoilt = true
        let kind = around.chance.below(3)
        if kind == 0 {
            send((0..<20).map { _ in UInt8(truncatingIfNeeded: around.chance.next()) })
        } else {
            sendFrame(kind == 1 ? "{\"type\":" : "{\"type\":\"unheard of\"}")
        }
        around.agenda.after(3 * .second) { [weak self, link] in
            if let self, let link, self.link === link { vanish() }
        }
    }

    // MARK: In

    func readFrames() {
        var start = 0
        while phase == .socket || phase == .connected, received.count - start >= 2 {
            let opcode = received[start] & 0x0F
            var length = Int(received[start + 1])
            var payload = start + 2
            if length == 126 {
                guard received.count >= start + 4 else { break }
                length = Int(received[start + 2]) << 8 | Int(received[start + 3])
                payload += 2
            } else if length == 127 {
                guard received.count >= start + 10 else { break }
                length = received[start + 2..<start + 10].reduce(0) { $0 << 8 | Int($1) }
                payload += 8
            }
            if length > 1 << 24 || received[start] & 0x70 != 0 {
                return violate("bytes that are no frame")
            }
            guard received.count >= payload + length else { break }
            let body = received[payload..<payload + length]
            start = payload + length
            take(opcode, body)
        }
        if link == nil { received = [] } else { received.removeFirst(start) }
    }

    private func take(_ opcode: UInt8, _ payload: ArraySlice<UInt8>) {
        switch opcode {
        case 1: text(payload)
        case 8: closed(payload)
        case 9: if !isClosing { sendFrame(10, Array(payload)) }
        case 10: break
        default: violate("a frame of opcode \(opcode)")
        }
    }

    private func closed(_ payload: ArraySlice<UInt8>) {
        let code = payload.count >= 2 ? payload.prefix(2).reduce(0) { $0 << 8 | Int($1) } : 0
        journal.count("close \(code)")
        around.trace.note("client \(number) is told to close: \(code)")
        if !isClosing, !isSpoilt, ![1001, 1013, 4408].contains(code) {
            let reason = String(decoding: payload.dropFirst(2), as: UTF8.self)
            violate("closed with \(code): \(reason)")
        }
        if !isClosing { sendFrame(8, []) }
        isClosing = true
    }

    private func text(_ payload: ArraySlice<UInt8>) {
        guard document.parse(payload), let type = document.text("type") else {
            return violate(
                "a frame that is no JSON: \(String(decoding: payload.prefix(60), as: UTF8.self))")
        }
        around.trace.note(
            "client \(number) is shown \(String(decoding: payload.prefix(170), as: UTF8.self))")
        switch type {
        case "connected":
            if document.text("user_id") != person.name { violate("connected as somebody else") }
            phase = .connected
        case "message": message(payload)
        case "ack": acknowledged()
        case "subscribed": subscribed()
        case "unsubscribed": unsubscribed()
        case "gap": gap()
        case "run": run()
        case "typing":
            _ = journal.checkMaySee(person, document.text("conversation_id"), "typing")
            if document.text("sender", "id") == person.name { violate("is shown its own typing") }
        case "receipt": receipt()
        case "presence": presence()
        case "error": refused()
        case "pong": break
        default: violate("a frame of type \(type)")
        }
    }

    private func message(_ payload: ArraySlice<UInt8>) {
        journal.count("shown")
        guard let id = journal.checkMaySee(person, document.text("conversation_id"), "a message"),
            let seq = document.number("message", "seq")
        else { return }
        let text = document.text("message", "content", "text")
        guard let entry = journal.archive.entry(id, seq) else {
            return violate("seq \(seq) is shown before it is stored")
        }
        let since = followers[id]?.readSinceSeq ?? 0
        let frames = journal.archive.views(id, entry, since: since).map { Archive.frame(id, $0) }
        if !frames.contains(where: { payload.elementsEqual($0.bytes.array()) }) {
            violate("seq \(seq) is shown altered, or as it is no longer")
        }
        if journal.isHidden(id, seq, from: person) { violate("internal seq \(seq) is shown") }
        let fault = followers[id, default: Follower()].didShow(
            seq, mayComeUnasked: !person.isAgent
        ) { journal.isNext(id, seq, behind: $0, for: person) }
        if let fault { violate("\(fault) of \(id.text(.conversation))") }
        if entry.isInbound, let text, text.hasPrefix("m-"),
            let number = Int(text.dropFirst(2).prefix { $0.isNumber })
        {
            shown.insert(number)
        }
    }

    private func answered(_ kind: PendingFrame.Kind) -> PendingFrame? {
        guard let id = document.text("id"),
            let place = frames.firstIndex(where: { $0.id == id && $0.kind == kind })
        else {
            violate("an answer to no frame: \(document.text("id") ?? "none")")
            return nil
        }
        return frames.remove(at: place)
    }

    private func acknowledged() {
        guard let frame = answered(.message), let intent = frame.intent else { return }
        intent.openAttemptCount -= 1
        let conversation = document.text("conversation_id")
        journal.didAcknowledge(
            intent, id: document.text("message_id"), conversation: conversation,
            seq: document.number("seq"), isReplay: document.isTrue("duplicate"))
        if let conversation, let id = Journal.identifier(conversation, .conversation),
            followers[id]?.isMuted ?? false
        {
            followers[id]?.isMuted = false
        }
    }

    private func subscribed() {
        guard let frame = answered(.subscribe), let id = frame.conversation,
            let seq = document.number("last_seq")
        else { return }
        journal.count("subscribed")
        if frame.isForeign { violate("subscribed to what it may not see") }
        if let fault = followers[id, default: Follower()].didSubscribe(
            through: seq,
            isReached: { last in
                seq == last || journal.isNext(id, seq + 1, behind: last, for: person)
            })
        {
            violate("\(fault) of \(id.text(.conversation))")
        }
    }

    private func unsubscribed() {
        guard let frame = answered(.unsubscribe), let id = frame.conversation else { return }
        followers[id] = Follower(isMuted: true)
        present[id] = nil
        runs.removeAll { $0.conversation == id }
    }

    private func gap() {
        guard let id = journal.checkMaySee(person, document.text("conversation_id"), "a gap"),
            let from = document.number("from"), let to = document.number("to")
        else { return }
        if let fault = followers[id, default: Follower()].didMeetGap(from: from, to: to) {
            violate(fault)
        }
    }

    private func run() {
        guard let id = journal.checkMaySee(person, document.text("conversation_id"), "a run"),
            let run = document.text("run_id")
        else { return }
        let place = runs.firstIndex { $0.id == run }
        switch document.text("state") {
        case "started":
            journal.count("run")
            // Who comes later is told what is out already, and whoever knew it begins again.
            if let place {
                runs[place].next = nil
            } else {
                runs.append((run, id, nil))
            }
        case "delta":
            guard let place else { return }
            if let next = runs[place].next, document.number("index") != next {
                violate("a run's words come out of order")
            }
            runs[place].next = document.number("index").map { $0 + 1 }
        default:
            journal.count("run ended: \(document.text("reason") ?? "")")
            if let place { runs.remove(at: place) }
        }
    }

    private func refused() {
        let code = document.text("problem", "code") ?? ""
        journal.count("error \(code)")
        guard let id = document.text("id") else {
            // Typing or cancel, which have no id here.
            if !isSpoilt, code != "not_found", code != "temporarily_unavailable" {
                violate("an error \(code) for nothing")
            }
            if let text = document.text("conversation_id"),
                let conversation = Journal.identifier(text, .conversation)
            {
                followers[conversation]?.lastSeq = nil
                present[conversation] = nil
                if person.isAgent { runs.removeAll { $0.conversation == conversation } }
            }
            return
        }
        guard let place = frames.firstIndex(where: { $0.id == id }) else {
            if !isSpoilt { violate("an error for no frame: \(id)") }
            return
        }
        let frame = frames.remove(at: place)
        if around.faults.isCalm, !frame.isForeign, code != "conflict" {
            violate("\(code) without a fault")
        }
        // Who unsubscribes before the replay is over is told so.
        let isTakenBack =
            frame.kind == .subscribe && code == "conflict"
            && frames.contains { $0.conversation == frame.conversation }
        if code != "temporarily_unavailable", !frame.isForeign, !isTakenBack {
            let detail = document.text("problem", "detail") ?? ""
            violate("\(id) is refused: \(code) \(detail)")
        }
        if let intent = frame.intent {
            if code == "temporarily_unavailable" { intent.refusedCount += 1 }
            tryAgain(intent)
        }
        if let conversation = frame.conversation {
            followers[conversation] = Follower()
            present[conversation] = nil
            if person.isAgent { runs.removeAll { $0.conversation == conversation } }
        }
    }
}

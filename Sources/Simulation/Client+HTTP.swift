// The client's half of HTTP/1.1: requests out, answers in, in order.

import Bytes
import ChatModel

extension Client {
    func actOverHTTP() {
        guard !isSpoilt else { return }
        let faults = around.faults
        if around.chance.percent(faults.vanishPercent) { return vanishOverHTTP() }
        if around.chance.percent(faults.stallPercent) { return stall() }
        if around.chance.percent(faults.malformedPercent) { return spoilHTTP() }
        if calls.isEmpty, around.chance.percent(6) {
            // Another device, or the same one elsewhere.
            if let link { network.close(link, .orderly) }
            return lose()
        }
        let count = around.chance.percent(faults.floodPercent) ? 40 : 1
        guard count > 1 || calls.count < 4 else { return }
        for _ in 0..<count { call() }
    }

    private func call() {
        switch around.chance.below(10) {
        case 0: health()
        case 1, 2: history()
        case 3: if around.chance.percent(30) { list() } else { changeMessage() }
        case 4: if around.chance.percent(70) { mark() } else { postTyping() }
        default:
            if person.isAgent { actOnConversation() } else { post(nextIntent(overSocket: false)) }
        }
    }

    func newID() -> String {
        madeCount += 1
        return "c\(number)-r\(madeCount)"
    }

    func head(_ method: String, _ target: String, _ id: String) -> String {
        "\(method) \(target) HTTP/1.1\r\nHost: simulated\r\nX-Request-ID: \(id)\r\n"
            + "Authorization: Bearer \(person.token)\r\n"
    }

    private func health() {
        let id = newID()
        calls.append(PendingCall(id: id, kind: .health))
        send(Array((head("GET", "/health", id) + "\r\n").utf8))
    }

    private func list() {
        let id = newID()
        calls.append(PendingCall(id: id, kind: .list))
        send(Array((head("GET", "/api/v2/chat/conversations?limit=20", id) + "\r\n").utf8))
    }

    private func history() {
        guard let (conversation, isForeign) = anyConversation() else { return list() }
        let id = newID()
        calls.append(
            PendingCall(
                id: id, kind: .history, conversation: conversation, isForeign: isForeign))
        let head = journal.archive.head(of: conversation)
        calls[calls.count - 1].headSeq = head
        let after = around.chance.percent(50) ? 0 : head > 5 ? head - 5 : 0
        let order = around.chance.pick(["asc", "desc"])
        let target = "/api/v2/chat/conversations/\(conversation.text(.conversation))"
        send(
            Array(
                (self.head("GET", "\(target)?after_seq=\(after)&order=\(order)&limit=50", id)
                    + "\r\n").utf8))
    }

    func post(_ intent: Intent) {
        let id = newID()
        calls.append(PendingCall(id: id, kind: .message, intent: intent))
        intent.attemptCount += 1
        intent.openAttemptCount += 1
        let bytes = postBytes(intent, id)
        send(bytes)
    }

    private func postBytes(_ intent: Intent, _ id: String) -> [UInt8] {
        var body = "{\"user_id\":\"\(intent.person.name)\",\"channel\":\"\(intent.channel)\""
        if let conversation = intent.conversation {
            body += ",\"conversation_id\":\"\(conversation.text(.conversation))\""
        }
        body += ",\"content\":{\"type\":\"text\",\"text\":\"\(intent.text)\"}}"
        var text = head("POST", "/api/v2/chat/message", id) + "Content-Type: application/json\r\n"
        if let key = intent.key { text += "Idempotency-Key: \(key)\r\n" }
        if around.chance.percent(30) { text += "Prefer: respond-async\r\n" }
        if around.chance.percent(25) {
            text += "Transfer-Encoding: chunked\r\n\r\n"
            var rest = Substring(body)
            while !rest.isEmpty {
                let part = rest.prefix(1 + around.chance.below(rest.count))
                rest = rest.dropFirst(part.count)
                text += String(part.utf8.count, radix: 16) + "\r\n" + part + "\r\n"
            }
            text += "0\r\n\r\n"
        } else {
            text += "Content-Length: \(body.utf8.count)\r\n\r\n" + body
        }
        return Array(text.utf8)
    }

    /// Goes away in the middle of a request. Whole ones before it may be carried out.
    private func vanishOverHTTP() {
        if !person.isAgent {
            let intent = nextIntent(overSocket: false)
            intent.attemptCount += 1
            intent.openAttemptCount += 1
            calls.append(PendingCall(id: newID(), kind: .message, intent: intent))
            let bytes = postBytes(intent, calls[calls.count - 1].id)
            send(Array(bytes.prefix(1 + around.chance.below(bytes.count))))
        }
        around.agenda.after(around.delay()) { [weak self, link] in
            if let self, let link, self.link === link { vanish() }
        }
        phase = .leaving
    }

    private func spoilHTTP() {
        journal.count("malformed")
        isSpoilt = true
        let bytes = Array((head("GET", "/health", "spoilt") + "\r\n").utf8)
        var broken = bytes
        for _ in 0..<1 + around.chance.below(8) {
            broken[around.chance.below(broken.count)] = UInt8(
                truncatingIfNeeded: around.chance.next())
        }
        send(broken)
        around.agenda.after(2 * .second) { [weak self, link] in
            if let self, let link, self.link === link { vanish() }
        }
    }

    // MARK: Answers

    private struct Response {
        var status = 0
        var requestID = ""
        var isReplay = false
        var closes = false
        var body: ArraySlice<UInt8> = []
        var byteCount = 0
    }

    func readResponses() {
        while phase == .http || phase == .upgrading, let response = nextResponse() {
            received.removeFirst(response.byteCount)
            if response.status == 100 { continue }
            if isSpoilt {
                if calls.isEmpty { continue }
                // What was whole before the spoilt bytes is still answered, in order.
                if response.requestID != calls[0].id { continue }
            }
            if phase == .upgrading { return didUpgrade(response.status, response.requestID) }
            didAnswer(response)
        }
    }

    private func nextResponse() -> Response? {
        guard let end = headEnd() else { return nil }
        var response = Response()
        var length = 0
        let text = String(decoding: received[..<end], as: UTF8.self)
        for (index, line) in text.split(separator: "\r\n").enumerated() {
            if index == 0 {
                response.status = Int(line.dropFirst(9).prefix(3)) ?? 0
            } else if line.hasPrefix("Content-Length: ") {
                length = Int(line.dropFirst(16)) ?? 0
            } else if line.hasPrefix("X-Request-ID: ") {
                response.requestID = String(line.dropFirst(14))
            } else if line == "Idempotency-Replayed: true" {
                response.isReplay = true
            } else if line == "Connection: close" {
                response.closes = true
            }
        }
        if response.status == 0 { violate("no response: \(text.prefix(80))") }
        guard received.count >= end + length else { return nil }
        response.body = received[end..<end + length]
        response.byteCount = end + length
        return response
    }

    /// The offset behind the empty line.
    private func headEnd() -> Int? {
        guard received.count >= 4 else { return nil }
        for offset in 3..<received.count
        where received[offset] == 10 && received[offset - 1] == 13 && received[offset - 2] == 10 {
            return offset + 1
        }
        return nil
    }

    private func didAnswer(_ response: Response) {
        guard !calls.isEmpty else { return violate("an answer (\(response.status)) to nothing") }
        let call = calls.removeFirst()
        around.trace.note("client \(number): \(call.id) answered \(response.status)")
        journal.count("\(response.status)")
        if response.requestID != call.id {
            violate("\(call.id) is answered with the answer to \(response.requestID)")
        }
        if !response.body.isEmpty, !document.parse(response.body) {
            return violate("the answer to \(call.id) is not JSON")
        }
        if call.isForeign, response.status != 404, response.status != 503, response.status != 504 {
            violate("\(call.id) asks for what is not its own and gets \(response.status)")
        }
        if let intent = call.intent {
            didAnswer(intent, response)
        } else if let deed = call.deed {
            didAnswer(deed, response.status)
        } else {
            check(call, response)
        }
        if response.status == 504 { isSpoilt = true }
    }

    private func check(_ call: PendingCall, _ response: Response) {
        switch response.status {
        case 200:
            if call.kind == .history, let conversation = call.conversation {
                journal.checkHistory(person, conversation, limit: 50, since: call.headSeq)
            }
            guard call.kind == .list else { return }
            for element in document.elements("data") {
                _ = journal.checkMaySee(person, document.text(["id"], in: element), "a list")
            }
        case 204 where call.kind == .mark: checkMark(call)
        case 204 where call.kind == .typing: break
        case 404 where call.isForeign: break
        case 503, 504: if around.faults.isCalm { violate("\(response.status) without a fault") }
        default: violate("\(call.id) is answered \(response.status)")
        }
    }

    private func didAnswer(_ intent: Intent, _ response: Response) {
        switch response.status {
        case 200, 202:
            intent.openAttemptCount -= 1
            let message = document.text("message", "id")
            if response.status == 200, document.text("reply", "id") == nil {
                violate("intent \(intent.number) is answered without a reply")
            }
            journal.didAcknowledge(
                intent, id: message, conversation: document.text("conversation_id"),
                seq: document.number("message", "seq"), isReplay: response.isReplay)
        case 503, 429:
            if around.faults.isCalm { violate("503 without a fault") }
            intent.refusedCount += 1
            tryAgain(intent)
        case 409 where intent.key != nil: tryAgain(intent)
        case 504: tryAgain(intent)
        default:
            intent.openAttemptCount -= 1
            violate("intent \(intent.number) is answered \(response.status)")
        }
    }
}

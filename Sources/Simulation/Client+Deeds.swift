// What agents do to conversations over HTTP.

import Bytes
import ChatModel

extension Client {
    func actOnConversation() {
        guard let (conversation, isForeign) = anyConversation() else { return }
        if around.chance.percent(40) { return }
        let deed = journal.mean(person, conversation)
        if around.chance.percent(50) {
            patch(deed, isForeign: isForeign)
        } else {
            say(deed, isForeign: isForeign)
        }
    }

    /// Aloud, or among agents.
    private func say(_ deed: Deed, isForeign: Bool) {
        deed.isInternal = around.chance.percent(60)
        var body = "{\"content\":{\"type\":\"text\",\"text\":\"\(deed.mark)\"}"
        if deed.isInternal { body += ",\"visibility\":\"internal\"" }
        let headers = around.chance.percent(50) ? "Idempotency-Key: \(deed.mark)\r\n" : ""
        journal.count(deed.isInternal ? "note" : "agent's reply")
        send(deed, "POST", "/messages", headers, body + "}", isForeign: isForeign)
    }

    private func patch(_ deed: Deed, isForeign: Bool) {
        let chance = around.chance
        var fields = ["\"labels\":[\"\(deed.mark)\"]"]
        if chance.percent(30) {
            fields.append("\"status\":\"\(chance.pick(["open", "pending", "snoozed", "closed"]))\"")
        }
        if chance.percent(50) {
            fields.append("\"handler\":{\"type\":\"\(chance.pick(["bot", "human"]))\"}")
        }
        if chance.percent(20) { fields.append("\"assignee\":\"\(person.name)\"") }
        var condition = ""
        if chance.percent(30) {
            deed.isConditional = true
            let version = journal.archive.rows[deed.conversation]?.version ?? 1
            let named = chance.percent(70) ? version : version + 1
            condition = "If-Match: \"\(named)\"\r\n"
        }
        send(
            deed, "PATCH", "", condition, "{\(fields.joined(separator: ","))}", isForeign: isForeign
        )
    }

    func send(
        _ deed: Deed, _ method: String, _ path: String, _ headers: String, _ body: String,
        isForeign: Bool
    ) {
        let id = newID()
        calls.append(
            PendingCall(
                id: id, kind: .command, deed: deed, conversation: deed.conversation,
                isForeign: isForeign))
        let target =
            "/api/v2/chat/conversations/\(deed.conversation.text(.conversation))\(path)"
        send(
            Array(
                (head(method, target, id) + headers
                    + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
                    + body).utf8))
    }

    func didAnswer(_ deed: Deed, _ status: Int) {
        if let change = deed.change { return didAnswer(deed, change, status) }
        switch status {
        case 200, 201:
            deed.isAcknowledged = true
            journal.checkAcknowledged(deed)
            _ = journal.checkMaySee(
                person, document.text("conversation_id") ?? document.text("id"), "a deed")
        case 412 where deed.isConditional: deed.isRefused = true
        case 404: deed.isRefused = true
        case 503, 504: if around.faults.isCalm { violate("\(status) without a fault") }
        default: violate("deed \(deed.mark) is answered \(status)")
        }
    }
}

// What clients say that they have read, and the receipts that they are shown.

import Bytes
import ChatModel

extension Client {
    /// An entry that the person may see and that is surely there, and its conversation.
    private func anyEntry() -> (id: Identifier, seq: UInt64, isForeign: Bool)? {
        guard let (id, isForeign) = anyConversation() else { return nil }
        var seq = UInt64(around.chance.below(Int(journal.archive.knownHead(of: id)) + 1))
        while seq > 0, journal.isHidden(id, seq, from: person) { seq -= 1 }
        return (id, seq, isForeign)
    }

    func mark() {
        guard let (conversation, seq, isForeign) = anyEntry() else { return }
        let id = newID()
        calls.append(
            PendingCall(
                id: id, kind: .mark, conversation: conversation, seq: seq, isForeign: isForeign))
        post("/read", "{\"seq\":\(seq)}", id, conversation)
    }

    func postTyping() {
        guard let (conversation, isForeign) = anyConversation() else { return }
        let id = newID()
        calls.append(
            PendingCall(
                id: id, kind: .typing, conversation: conversation, isForeign: isForeign))
        post(
            "/typing", "{\"state\":\"\(around.chance.pick(["start", "stop"]))\"}", id, conversation)
    }

    private func post(_ path: String, _ body: String, _ id: String, _ conversation: Identifier) {
        let target = "/api/v2/chat/conversations/\(conversation.text(.conversation))\(path)"
        send(
            Array(
                (head("POST", target, id)
                    + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
                    + body).utf8))
    }

    func sendMark() {
        guard let (conversation, seq, _) = anyEntry() else { return }
        sendFrame(
            "{\"type\":\"read\",\"conversation_id\":\"\(conversation.text(.conversation))\","
                + "\"seq\":\(seq)}")
    }

    // MARK: What it is told

    /// A mark that was answered is stored. One of an internal entry counts as one before it.
    func checkMark(_ call: PendingCall) {
        guard let id = call.conversation, call.seq > 0 else { return }
        journal.count("marked")
        journal.didMark(person, id, call.seq)
    }

    /// Agents alone are told whether a user is there.
    func presence() {
        guard let id = journal.checkMaySee(person, document.text("conversation_id"), "presence"),
            let row = journal.archive.rows[id], let state = document.text("state")
        else { return }
        journal.count("presence \(state)")
        if !person.isAgent { violate("is told who is there") }
        if document.text("user_id") != row.userID.bytes.string() {
            violate("is told of a user who has no part in the conversation")
        }
        present[id] = state == "online"
    }

    func receipt() {
        guard let id = journal.checkMaySee(person, document.text("conversation_id"), "a receipt"),
            let user = document.text("user_id"), let read = document.number("read_seq"),
            let delivered = document.number("delivered_seq")
        else { return violate("a receipt lacks a field") }
        journal.count("receipt")
        let name = "\(id.text(.conversation)) \(user)"
        let before = receipts[name] ?? (0, 0)
        if read < before.read || delivered < before.delivered {
            violate("the receipt of \(name) goes back from \(before) to \((read, delivered))")
        }
        receipts[name] = (read, delivered)
        if read > delivered { violate("\(name) has read what it was not given") }
        let stored = journal.archive.cursors[id]?.first { $0.userID.bytes.string() == user }
        guard let stored, stored.readSeq >= read, stored.deliveredSeq >= delivered else {
            return violate("the receipt of \(name) tells of what is not stored")
        }
        if journal.archive.logs[id]?.contains(where: { !$0.isInternal && $0.seq >= delivered })
            != true
        {
            violate("the receipt of \(name) is beyond the last public entry")
        }
    }
}

/// A mark that was answered over HTTP.
struct AnsweredMark {
    let person: Person
    let conversation: Identifier
    let seq: UInt64
}

extension Journal {
    func didMark(_ person: Person, _ conversation: Identifier, _ seq: UInt64) {
        let mark = AnsweredMark(person: person, conversation: conversation, seq: seq)
        marks.append(mark)
        check(mark)
    }

    private func check(_ mark: AnsweredMark) {
        guard let entry = archive.entry(mark.conversation, mark.seq), !entry.isInternal else {
            return
        }
        let cursor = archive.cursors[mark.conversation]?.first {
            $0.userID.equals(mark.person.key.userID)
        }
        if cursor?.readSeq ?? 0 < mark.seq {
            around.violate(
                "\(mark.person.name)'s mark of \(mark.seq) was answered and is not stored")
        }
    }

    func checkMarks() { for mark in marks { check(mark) } }
}

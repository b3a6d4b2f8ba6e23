// What clients do to messages over HTTP: edits, deletions and reactions, their own and others'.

import Bytes
import ChatModel

extension Client {
    /// Mostly a message; now and then an entry that is none, or somebody else's.
    func changeMessage() {
        guard let (conversation, isForeign) = anyConversation(),
            let log = journal.archive.logs[conversation], !log.isEmpty
        else { return }
        // One of the newest, so that changes of the same message meet.
        let entry = around.chance.pick(Array(log.suffix(8)))
        let deed = journal.mean(person, conversation)
        let kind = around.chance.pick([EntryKind.edit, .edit, .redaction, .reaction])
        deed.change = DeedChange(
            kind: kind, seq: entry.seq,
            isAllowed: !isForeign && journal.mayChange(person, entry, kind))
        deed.isInternal = entry.isInternal
        journal.count("\(kind.name) meant")
        let path = "/messages/\(entry.id.text(.message))"
        let key = around.chance.percent(50) ? "Idempotency-Key: \(deed.mark)\r\n" : ""
        switch kind {
        case .edit:
            let body = "{\"content\":{\"type\":\"text\",\"text\":\"\(deed.mark)\"}}"
            send(deed, "PATCH", path, key, body, isForeign: isForeign)
        case .redaction: send(deed, "DELETE", path, "", "", isForeign: isForeign)
        default:
            let body = "{\"emoji\":\"\(deed.mark)\"}"
            send(deed, "POST", path + "/reactions", key, body, isForeign: isForeign)
        }
    }

    func didAnswer(_ deed: Deed, _ change: DeedChange, _ status: Int) {
        let id = deed.conversation
        switch status {
        case 200 where change.kind == .edit, 201 where change.kind == .reaction,
            204 where change.kind == .redaction:
            if !change.isAllowed { violate("\(deed.mark) is not allowed, and done") }
            deed.isAcknowledged = true
            journal.checkAcknowledged(deed, change)
            if change.kind == .edit { checkEdited(deed, change) }
        case 403, 404:
            if change.isAllowed { violate("\(deed.mark) is allowed and answered \(status)") }
            deed.isRefused = true
        case 409:
            deed.isRefused = true
            // Another writer makes an owner forget what was deleted.
            if around.faults.isCalm, !journal.archive.isRedacted(id, change.seq) {
                violate("\(deed.mark) meets a conflict that is none")
            }
        case 503, 504: if around.faults.isCalm { violate("\(status) without a fault") }
        default: violate("\(deed.mark) is answered \(status)")
        }
    }

    /// The answer is the message, with this edit or a later change.
    private func checkEdited(_ deed: Deed, _ change: DeedChange) {
        guard let entry = journal.archive.entry(deed.conversation, change.seq),
            let edit = journal.seq(of: deed)
        else { return }
        let views = journal.archive.views(deed.conversation, entry, since: edit)
        let answer = document.json()
        if !views.contains(where: { answer.equals($0) }) {
            violate("\(deed.mark) is answered with another message: \(answer.bytes.string())")
        }
    }
}

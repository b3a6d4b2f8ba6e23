// What became of messages, compared with the archive: who may change what, and what is shown.

import Bytes
import ChatModel

/// A change of a message that somebody asked for.
struct DeedChange {
    let kind: EntryKind
    let seq: UInt64
    let isAllowed: Bool
}

extension Journal {
    private struct Sender: Equatable {
        let type: String
        let id: String
    }

    private func sender(of entry: KeptEntry) -> Sender? {
        guard reading.parse(entry.body.bytes.array()), let type = reading.text("sender", "type"),
            let id = reading.text("sender", "id")
        else { return nil }
        return Sender(type: type, id: id)
    }

    /// The contract's rule, said once more.
    func mayChange(_ person: Person, _ entry: KeptEntry, _ kind: EntryKind) -> Bool {
        guard entry.kind == .message, person.isAgent || !entry.isInternal else { return false }
        let own = Sender(type: person.isAgent ? "agent" : "user", id: person.name)
        switch kind {
        case .edit: return sender(of: entry) == own
        case .redaction: return person.isAgent || sender(of: entry) == own
        default: return true
        }
    }

    /// Where the entry of a deed stands.
    func seq(of deed: Deed) -> UInt64? {
        archive.logs[deed.conversation]?.first { holds($0, deed) }?.seq
    }

    func checkAcknowledged(_ deed: Deed, _ change: DeedChange) {
        guard change.kind == .redaction else { return checkAcknowledged(deed) }
        count("deed done")
        if !archive.isRedacted(deed.conversation, change.seq) {
            around.violate("\(deed.mark) is acknowledged and nothing is deleted")
        }
    }

    /// An element of a page, whose reader asked for it when the log ended with `head`.
    func checkView(_ id: Identifier, _ entry: KeptEntry, _ shown: ByteBlock, since head: UInt64) {
        if archive.isRedacted(id, entry.seq, through: head) { count("deleted message shown") }
        if !archive.views(id, entry, since: head).contains(where: { shown.equals($0) }) {
            around.violate(
                "seq \(entry.seq) is shown as it is not, or no longer: \(shown.bytes.string())")
        }
    }

    /// Entries about messages: by whom they may be, for whom they are, and nothing is edited any
    /// more behind its deletion.
    func checkChanges(_ id: Identifier) {
        var redacted: Set<UInt64> = []
        for entry in archive.logs[id] ?? [] {
            guard [.edit, .redaction, .reaction].contains(entry.kind) else { continue }
            count(entry.kind.name.description)
            guard let target = archive.entry(id, entry.answersSeq), target.kind == .message,
                target.seq < entry.seq, let sender = sender(of: entry)
            else {
                around.violate("seq \(entry.seq) is about no message")
                continue
            }
            if target.isInternal != entry.isInternal {
                around.violate("seq \(entry.seq) is for other readers than its message")
            }
            let isOwn = sender == self.sender(of: target)
            if entry.kind == .edit, !isOwn { around.violate("seq \(entry.seq) edits another's") }
            if entry.kind == .redaction, !isOwn, sender.type != "agent" {
                around.violate("seq \(entry.seq) deletes another's message")
            }
            if entry.kind == .edit, redacted.contains(target.seq) {
                around.violate(
                    "seq \(entry.seq) of \(id.text(.conversation)) edits seq \(target.seq), which "
                        + "was deleted")
            }
            if entry.kind == .redaction { redacted.insert(target.seq) }
        }
    }
}

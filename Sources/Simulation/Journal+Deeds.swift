// What agents did, compared with the archive.

import Bytes
import ChatModel

/// Something that an agent asked for once; its mark stands in the entry that it becomes.
final class Deed {
    let mark: String
    let person: Person
    let conversation: Identifier
    var isConditional = false
    var isInternal = false
    var isAcknowledged = false
    /// What it does to a message.
    var change: DeedChange?
    /// It was told that nothing was done.
    var isRefused = false

    init(mark: String, person: Person, conversation: Identifier) {
        self.mark = mark
        self.person = person
        self.conversation = conversation
    }
}

extension Journal {
    func mean(_ person: Person, _ conversation: Identifier) -> Deed {
        count("deed")
        let deed = Deed(mark: "d-\(deeds.count)-", person: person, conversation: conversation)
        deeds.append(deed)
        return deed
    }

    func holds(_ entry: KeptEntry, _ deed: Deed) -> Bool {
        let body = String(decoding: entry.body.bytes.array(), as: UTF8.self)
        return body.contains("\"\(deed.mark)\"")
    }

    private func places(of deed: Deed) -> Int {
        (archive.logs[deed.conversation] ?? []).count { holds($0, deed) }
    }

    /// True when an entry is none of this person's business, so that it is never shown.
    func isHidden(_ id: Identifier, _ seq: UInt64, from person: Person) -> Bool {
        !person.isAgent && archive.entry(id, seq)?.isInternal ?? false
    }

    /// True when a reader may be shown `seq` next behind `last`.
    func isNext(_ id: Identifier, _ seq: UInt64, behind last: UInt64, for person: Person) -> Bool {
        seq > last && (last + 1..<seq).allSatisfy { isHidden(id, $0, from: person) }
    }

    func checkAcknowledged(_ deed: Deed) {
        count("deed done")
        if places(of: deed) != 1 {
            around.violate("\(deed.mark) is acknowledged and stored \(places(of: deed)) times")
        }
    }

    func checkDeeds() {
        for deed in deeds where deed.change?.kind != .redaction {
            for entry in archive.logs[deed.conversation] ?? []
            where holds(entry, deed) && entry.isInternal != deed.isInternal {
                around.violate("\(deed.mark) is stored for other readers than it was meant for")
            }
            let found = places(of: deed)
            if found > 1 { around.violate("\(deed.mark) is stored \(found) times") }
            if deed.isAcknowledged, found != 1 {
                around.violate("\(deed.mark) was acknowledged and is lost")
            }
            if deed.isRefused, found > 0 {
                around.violate("\(deed.mark) was refused and is stored")
            }
            if found > 0, archive.rows[deed.conversation]?.tenant != deed.person.tenant {
                around.violate("\(deed.mark) is stored with another tenant")
            }
        }
    }

    /// True when the entry says that a human has taken over.
    static func handsToHuman(_ entry: KeptEntry) -> Bool {
        String(decoding: entry.body.bytes.array(), as: UTF8.self).contains(
            "\"data\":{\"type\":\"human\"")
    }
}

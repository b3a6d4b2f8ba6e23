// What clients wanted and what they were told, compared with the archive: the history checker.
//
// - What is acknowledged is stored, when it is acknowledged and at the end, just once.
// - A key has one message: every answer under it names the same id.
// - What was refused for good is not stored.
// - A log is gap-free, a message has at most one reply.
// - A frame or an answer shows an entry just as it is stored, and only to who may see it.

import Bytes
import ChatModel
import Stores

/// A message that a user wants to send, however often it takes.
final class Intent {
    let number: Int
    let person: Person
    /// nil: sent once, since nobody could tell a second time from a second message.
    let key: String?
    let text: String
    let channel: String
    let conversation: Identifier?
    var attemptCount = 0
    var openAttemptCount = 0
    var refusedCount = 0
    /// Some attempt was lost, or told to come again: the time for another may have been too short.
    var isUnsettled = false
    /// Answers that were not told to be of a replay.
    var originalCount = 0
    var acknowledged: (id: String, conversation: Identifier, seq: UInt64)?

    init(
        number: Int, person: Person, isKeyed: Bool, text: String, channel: String,
        conversation: Identifier?
    ) {
        self.number = number
        self.person = person
        key = isKeyed ? "k-\(number)" : nil
        self.text = text
        self.channel = channel
        self.conversation = conversation
    }
}

final class Journal {
    let around: Surroundings
    let archive: Archive
    let document = Document()
    /// For entries of the archive, while the other holds what is shown.
    let reading = Document()
    private(set) var intents: [Intent] = []
    var deeds: [Deed] = []
    var marks: [AnsweredMark] = []
    // What the run has met, so that a test can tell that it meets everything.
    var counts: [String: Int] = [:]

    init(_ around: Surroundings, _ archive: Archive) {
        self.around = around
        self.archive = archive
    }

    func count(_ name: String) { counts[name, default: 0] += 1 }

    func intend(
        _ person: Person, isKeyed: Bool, words: String, channel: String, conversation: Identifier?
    ) -> Intent {
        let number = intents.count
        let intent = Intent(
            number: number, person: person, isKeyed: isKeyed, text: "m-\(number) \(words)",
            channel: channel, conversation: conversation)
        intents.append(intent)
        return intent
    }

    // MARK: Who may see what

    func maySee(_ person: Person, _ id: Identifier) -> Bool {
        guard let row = archive.rows[id], row.tenant == person.tenant else { return false }
        return person.isAgent || row.userID.equals(person.key.userID)
    }

    func checkMaySee(_ person: Person, _ conversation: String?, _ what: String) -> Identifier? {
        guard let conversation, let id = Self.identifier(conversation, .conversation) else {
            around.violate("\(what) names no conversation")
            return nil
        }
        if maySee(person, id) { return id }
        around.violate(
            "\(what) of \(conversation) is shown to \(person.name) of tenant \(person.tenant.value)"
        )
        return nil
    }

    static func identifier(_ text: String, _ kind: IdentifierKind) -> Identifier? {
        let block = ByteBlock(text)
        return Identifier(block.bytes, kind: kind)
    }

    /// Conversations of this person, in the order of their making.
    func conversations(of person: Person) -> [Identifier] {
        archive.order.filter { maySee(person, $0) }
    }

    // MARK: Answers

    /// An answer that says that the message is stored. The document has been parsed.
    func didAcknowledge(
        _ intent: Intent, id: String?, conversation: String?, seq: UInt64?, isReplay: Bool
    ) {
        count(isReplay ? "replay" : "original")
        guard let id, let conversation, let seq,
            let place = Self.identifier(conversation, .conversation),
            let messageID = Self.identifier(id, .message)
        else { return around.violate("intent \(intent.number): an acknowledgement lacks a field") }
        guard let entry = archive.entry(place, seq), entry.id == messageID else {
            return around.violate("intent \(intent.number) is acknowledged and not stored")
        }
        if !maySee(intent.person, place) {
            around.violate("intent \(intent.number) is stored with somebody else")
        }
        if !holds(entry, intent) {
            around.violate("intent \(intent.number): another message is acknowledged")
        }
        if let known = intent.acknowledged, known.id != id {
            around.violate("intent \(intent.number): one key names \(known.id) and \(id)")
        }
        if let wanted = intent.conversation, wanted != place {
            around.violate("intent \(intent.number): stored in another conversation")
        }
        intent.acknowledged = (id, place, seq)
        if !isReplay { intent.originalCount += 1 }
        if intent.originalCount > 1 {
            around.violate("intent \(intent.number) is acknowledged twice as new")
        }
    }

    func holds(_ entry: KeptEntry, _ intent: Intent) -> Bool {
        let body = entry.body
        guard document.parse(body.bytes.array()) else { return false }
        return document.text("content", "text") == intent.text
    }

    /// A page of history, which the document holds.
    /// `head` is where the log ended when it was asked for.
    func checkHistory(
        _ person: Person, _ conversation: Identifier, limit: Int, since head: UInt64
    ) {
        count("history")
        guard let id = checkMaySee(person, document.text("conversation", "id"), "history") else {
            return
        }
        if id != conversation { around.violate("another conversation's history is shown") }
        var last: UInt64?
        for element in document.elements("data") {
            guard let seq = document.number(["seq"], in: element),
                let entry = archive.entry(conversation, seq)
            else {
                around.violate("history shows an entry that is not stored")
                return
            }
            if document.text(["id"], in: element) != entry.id.text(.message) {
                around.violate("history shows another entry under a seq")
            }
            checkView(conversation, entry, document.json(of: element), since: head)
            if isHidden(conversation, seq, from: person) {
                around.violate("an end user's history shows an internal entry")
            }
            if let last, !isNext(conversation, max(seq, last), behind: min(seq, last), for: person)
            {
                around.violate("history has a gap")
            }
            last = seq
        }
    }

    // MARK: At the end

    func checkAtRest() {
        checkIntents()
        checkDeeds()
        checkMarks()
        for id in archive.order {
            checkLog(id)
            checkChanges(id)
            checkClosing(id)
        }
    }

    private func checkIntents() {
        var stored = [Int](repeating: 0, count: intents.count)
        for id in archive.order {
            for entry in archive.logs[id] ?? [] where entry.isInbound && entry.kind == .message {
                guard document.parse(entry.body.bytes.array()),
                    let text = document.text("content", "text"),
                    let number = Int(text.dropFirst(2).prefix { $0.isNumber }),
                    number < intents.count
                else {
                    around.violate("an entry comes from no intent")
                    continue
                }
                stored[number] += 1
                if archive.rows[id]?.tenant != intents[number].person.tenant {
                    around.violate("intent \(number) is stored with another tenant")
                }
            }
        }
        for intent in intents {
            let count = stored[intent.number]
            if intent.key != nil || intent.attemptCount < 2, count > 1 {
                around.violate("intent \(intent.number) is stored \(count) times")
            }
            if intent.acknowledged != nil, count != 1 {
                around.violate("intent \(intent.number) was acknowledged and is lost")
            }
            if intent.attemptCount > 0, intent.refusedCount == intent.attemptCount, count > 0 {
                around.violate("intent \(intent.number) was refused each time and is stored")
            }
            if intent.openAttemptCount != 0 {
                around.violate("intent \(intent.number) waits for an answer for ever")
            }
            if around.faults.isCalm, intent.attemptCount > 0, intent.acknowledged == nil,
                !intent.isUnsettled
            {
                around.violate("nothing failed, and intent \(intent.number) was not acknowledged")
            }
        }
    }

    private func checkLog(_ id: Identifier) {
        var answered: Set<UInt64> = []
        var isHandedOff = false
        for (index, entry) in (archive.logs[id] ?? []).enumerated() {
            if entry.seq != UInt64(index) + 1 { around.violate("a log has a gap") }
            if entry.kind == .handler { isHandedOff = Self.handsToHuman(entry) }
            guard entry.answersSeq > 0, entry.kind == .message else { continue }
            if isHandedOff { around.violate("a bot's reply lands after a human took over") }
            if !answered.insert(entry.answersSeq).inserted {
                around.violate("a message is answered twice")
            }
            if entry.answersSeq >= entry.seq { around.violate("a reply stands before its message") }
        }
    }
}

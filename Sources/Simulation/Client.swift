// One device of a user: it connects, does something now and then, and checks all that it is shown.

import Bytes
import ChatModel

/// A request over HTTP that has no answer yet.
struct PendingCall {
    enum Kind { case message, history, list, health, command, mark, typing }
    let id: String
    let kind: Kind
    var intent: Intent?
    var deed: Deed?
    var conversation: Identifier?
    /// Where the conversation's log ended when it was asked for.
    var headSeq: UInt64 = 0
    /// What a mark says was read.
    var seq: UInt64 = 0
    /// The client may not see what it asks for.
    var isForeign = false
}

/// A frame that has no answer yet.
struct PendingFrame {
    enum Kind { case message, subscribe, unsubscribe }
    let id: String
    let kind: Kind
    var intent: Intent?
    var conversation: Identifier?
    var isForeign = false
}

final class Client: LinkEndpoint {
    enum Phase { case idle, connecting, http, leaving, upgrading, socket, connected }

    let number: Int
    let person: Person
    let around: Surroundings
    let network: SimulatedNetwork
    let journal: Journal
    let document: Document
    var phase = Phase.idle
    var link: Link?
    var received: [UInt8] = []
    var madeCount = 0
    var wantsSocket = false
    var needsConnectFrame = false
    /// It has sent what nobody can answer: nothing is expected any more.
    var isSpoilt = false
    /// A close frame was sent or received.
    var isClosing = false
    var calls: [PendingCall] = []
    var frames: [PendingFrame] = []
    /// Intents that are to be sent (again).
    var wanted: [Intent] = []
    var followers: [Identifier: Follower] = [:]
    /// Runs that were shown to have started, with the next index, and their conversation.
    var runs: [(id: String, conversation: Identifier, next: UInt64?)] = []
    /// The furthest receipt that it was shown of each participant, over all its connections.
    var receipts: [String: (read: UInt64, delivered: UInt64)] = [:]
    /// Whether the user of a conversation is there, as it was last told on this connection.
    var present: [Identifier: Bool] = [:]
    /// The mean pause between two things that it does.
    var pauseNanoseconds: UInt64 = 300 * .millisecond
    var isQuiet = false
    /// Seen frames of the last message that everybody sends, by intent.
    var shown: Set<Int> = []

    init(
        number: Int, person: Person, around: Surroundings, network: SimulatedNetwork,
        journal: Journal
    ) {
        self.number = number
        self.person = person
        self.around = around
        self.network = network
        self.journal = journal
        document = journal.document
    }

    var isOpen: Bool { phase == .connected && !isClosing && !isSpoilt }

    func violate(_ sentence: String) {
        around.violate("client \(number) (\(person.name)): \(sentence)")
    }

    // MARK: Its own rhythm

    func begin() {
        around.agenda.after(around.chance.between(0, .second)) { [weak self] in self?.live() }
    }

    private func live() {
        if !isQuiet { act() }
        let pause = around.chance.between(.millisecond, 2 * pauseNanoseconds)
        around.agenda.after(pause) { [weak self] in self?.live() }
    }

    private func act() {
        switch phase {
        case .idle: connect()
        case .connecting, .upgrading, .socket: if around.chance.percent(2) { vanish() }
        case .http: actOverHTTP()
        case .leaving: break
        case .connected: actOverSocket()
        }
    }

    func connect() {
        phase = .connecting
        wantsSocket = person.isAgent ? around.chance.percent(70) : around.chance.percent(50)
        received = []
        isSpoilt = false
        isClosing = false
        link = network.connect(self)
    }

    /// The connection goes, half-way through whatever it was about.
    func vanish() {
        guard let link else { return }
        around.trace.note("client \(number) vanishes")
        journal.count("vanish")
        network.close(link, around.chance.pick([.orderly, .reset, .silent]))
        lose()
    }

    /// What was asked has no answer: it may have happened or not.
    func lose() {
        link = nil
        phase = .idle
        for intent in calls.compactMap(\.intent) + frames.compactMap(\.intent) { tryAgain(intent) }
        calls = []
        frames = []
        followers = [:]
        runs = []
        present = [:]
        shown = []
        received = []
    }

    /// The attempt is over without an answer that settles it.
    func tryAgain(_ intent: Intent) {
        intent.openAttemptCount -= 1
        intent.isUnsettled = true
        if intent.key != nil, intent.acknowledged == nil { wanted.append(intent) }
    }

    /// Stops reading for a while.
    func stall() {
        guard let link else { return }
        around.trace.note("client \(number) stalls")
        journal.count("stall")
        network.pause(link)
        let pause = around.chance.between(50 * .millisecond, 12 * .second)
        around.agenda.after(pause) { [weak self] in
            if let self, self.link === link { network.resume(link) }
        }
    }

    func send(_ bytes: [UInt8]) {
        if let link { network.write(bytes, on: link) }
    }

    // MARK: LinkEndpoint

    func didConnect(_ link: Link) {
        guard link === self.link, phase == .connecting else { return }
        if wantsSocket { upgrade() } else { phase = .http }
    }

    func didReceive(_ bytes: [UInt8], on link: Link) {
        guard link === self.link else { return }
        around.trace.note(bytes, "client \(number) reads \(bytes.count)")
        received.append(contentsOf: bytes)
        switch phase {
        case .http, .upgrading: readResponses()
        case .socket, .connected: readFrames()
        case .leaving: received = []
        case .idle, .connecting: violate("bytes before anything was asked")
        }
    }

    func didEnd(_ link: Link, wasReset: Bool) {
        guard link === self.link else { return }
        around.trace.note("client \(number) is at the end\(wasReset ? ", reset" : "")")
        if !wasReset { network.close(link, .orderly) }
        lose()
    }

    // MARK: Choosing

    /// The next message to send: one that must be tried again, or a new one.
    func nextIntent(overSocket: Bool) -> Intent {
        if !wanted.isEmpty, overSocket || around.chance.percent(70) {
            return wanted.remove(at: around.chance.below(wanted.count))
        }
        if overSocket || around.chance.percent(85), around.chance.percent(15) {
            // A key that was answered already, perhaps over another device: a replay.
            let mine = journal.intents.suffix(40).filter {
                $0.key != nil && $0.acknowledged != nil && $0.person.key == person.key
            }
            if !mine.isEmpty { return around.chance.pick(mine) }
        }
        let own = journal.conversations(of: person)
        let isNamed = !own.isEmpty && around.chance.percent(20)
        return journal.intend(
            person, isKeyed: overSocket || around.chance.percent(80), words: words(),
            channel: around.chance.pick(["web", "web", "web", "sms", "http"]),
            conversation: isNamed ? around.chance.pick(own) : nil)
    }

    private func words() -> String {
        if around.faults.isHeavy, around.chance.percent(40) {
            return String(repeating: "lorem ipsum ", count: 200 + around.chance.below(600))
        }
        return around.chance.pick([
            "hello", "help", "order 12345", "one two three four five six seven", "thanks",
            "a story of many words that is told slowly to whoever watches",
            around.chance.percent(15) ? "a human please" : "quite usual",
        ])
    }

    /// A conversation that the person may see, or (seldom) one that it may not.
    func anyConversation() -> (id: Identifier, isForeign: Bool)? {
        if around.chance.percent(around.faults.foreignPercent), !journal.archive.order.isEmpty {
            let id = around.chance.pick(journal.archive.order)
            return (id, !journal.maySee(person, id))
        }
        let own = journal.conversations(of: person)
        return own.isEmpty ? nil : (around.chance.pick(own), false)
    }
}

// An owner with everything around it: it makes requests, keeps what the owner asks for until told
// to carry it out, and checks each action against what it knows. A rule that is broken becomes a
// violation.

import Bytes
import ChatModel

@testable import Conversations

/// One request and what became of it.
struct Ticket {
    enum Kind {
        case submit, command, subscribe, connect, typing, cancel, cancelOverHTTP
        case read, readOverHTTP, typingOverHTTP, introduce
    }

    let kind: Kind
    let person: Person
    let submission: Submission?
    let conversation: Identifier?
    var answers: [Answer] = []

    var problem: Problem? {
        guard case .failure(let problem)? = answers.first?.result else { return nil }
        return problem
    }

    var body: String? {
        guard case .success(_, let body, _, _)? = answers.first?.result else { return nil }
        return body.text
    }

    var status: Int? {
        switch answers.first?.result {
        case .success(let status, _, _, _): status
        case .failure(let problem): problem.status
        case nil: nil
        }
    }

    var isReplay: Bool {
        guard case .success(_, _, let isReplay, _)? = answers.first?.result else { return false }
        return isReplay
    }

    var follow: Answer.Follow? {
        guard case .success(_, _, _, let follow)? = answers.first?.result else { return nil }
        return follow
    }
}

/// A message to be sent; what is left out has the usual value.
struct Draft {
    var text = "hello there"
    var key: UInt64?
    /// Which body this is; two requests with the same key and body are the same request.
    var body: UInt64 = 0
    var conversation: Identifier?
    var channel = Channel.web
    /// nil: over HTTP; otherwise over a socket of this core.
    var socketCore: UInt8?
    var waits = true
    var actingFor: Person?
}

struct Frame {
    let delivery: Delivery
    let cores: UInt64
    var text: String { delivery.payload.bytes.string() }
}

final class World {
    let owner: ConversationOwner
    let store = ModelStore()
    let engine = ScriptedEngine()
    let policy: RunPolicy
    var tickets: [Ticket] = []
    private(set) var pending: [CommitUnit] = []
    private(set) var reads: [OwnerRead] = []
    var frames: [Frame] = []
    var dismissed: [(user: UserKey, cores: UInt64)] = []
    var violations: [String] = []
    private var foreignIDs = IdentifierSource(seed: 999)
    private(set) var milliseconds: UInt64 = 1_700_000_000_000

    /// Frames for one subscriber alone, by its ticket.
    var told: [Int: [String]] = [:]

    // What the checks remember.
    /// What each ticket of a mark asked for, and the furthest receipt of each participant.
    var marks: [Int: UInt64] = [:]
    var receipts: [String: (read: UInt64, delivered: UInt64)] = [:]
    /// Cores by their bit, as the requests and answers so far say.
    var followers: [Identifier: UInt64] = [:]
    /// Answers that told a core to follow and were not given back.
    var followAnswers: [Identifier: [UInt8: Int]] = [:]
    var devices: [UserKey: UInt64] = [:]
    /// The next seq that a core which follows a conversation must be given.
    var nextSeq: [Identifier: [Int: UInt64]] = [:]
    var deliveredSeq: [Identifier: UInt64] = [:]
    var originals: Set<Identifier> = []
    var openRuns: Set<String> = []
    var endedRuns: Set<String> = []
    var deltaIndex: [String: Int] = [:]
    /// Every run's frames are seen: somebody watches from the first to the last.
    var seesEveryRun = false

    init(
        policy: RunPolicy = .queue, sessionTimeToLiveSeconds: UInt64 = 3600,
        autoCloseSeconds: UInt64 = 0, runLeaseMilliseconds: UInt64 = 30_000
    ) {
        self.policy = policy
        owner = ConversationOwner(
            engine: engine, directory: directory(policy, autoCloseSeconds: autoCloseSeconds),
            seed: 1, sessionTimeToLiveSeconds: sessionTimeToLiveSeconds,
            runLeaseMilliseconds: runLeaseMilliseconds)
        pass(milliseconds: 0)
    }

    func violate(_ sentence: String) { violations.append(sentence) }

    func pass(milliseconds count: UInt64) {
        milliseconds += count
        owner.setTime(milliseconds: milliseconds, nanoseconds: milliseconds * 1_000_000)
    }

    // MARK: Requests

    func open(
        _ kind: Ticket.Kind, _ person: Person, _ submission: Submission? = nil,
        _ conversation: Identifier? = nil
    ) {
        tickets.append(
            Ticket(kind: kind, person: person, submission: submission, conversation: conversation))
    }

    /// `ordinal` is the ticket's number for sockets too: an owner hands origins back untouched.
    func origin(core: UInt8, isSocket: Bool) -> Origin {
        Origin(
            core: core, isSocket: isSocket, token: Token(slot: UInt32(core), generation: 1),
            ordinal: UInt32(tickets.count))
    }

    static func digest(_ person: Person, _ key: UInt64) -> Digest {
        Digest(high: person.key.userID.bytes.hash(seed: UInt64(person.key.tenant.value)), low: key)
    }

    @discardableResult func submit(_ person: Person, _ draft: Draft) -> Int {
        let number = tickets.count
        let user = draft.actingFor ?? person
        let content = ByteWriter(capacity: 128)
        content.append("{\"type\":\"text\",\"text\":")
        content.append(json: draft.text)
        content.append("}")
        let submission = Submission(
            origin: origin(core: draft.socketCore ?? 0, isSocket: draft.socketCore != nil),
            frameID: draft.socketCore == nil ? nil : ByteBlock("f-\(number)"),
            principal: person.principal, user: user.key,
            shardKey: draft.conversation?.shardKey ?? user.shardKey,
            conversation: draft.conversation, channel: draft.channel, contentType: .text,
            content: content.block(), text: ByteBlock(draft.text),
            clientMessageID: ByteBlock("t-\(number)"),
            idempotency: draft.key.map { Self.digest(user, $0) }, fingerprint: draft.body,
            replyTo: nil, metadata: nil, waitsForReply: draft.socketCore == nil && draft.waits,
            arrivedNanoseconds: 0)
        open(.submit, person, submission, draft.conversation)
        owner.receive(.submit(submission))
        take()
        return number
    }

    @discardableResult func subscribe(_ person: Person, core: UInt8, _ id: Identifier) -> Int {
        let number = tickets.count
        let origin = origin(core: core, isSocket: true)
        open(.subscribe, person, nil, id)
        owner.receive(.subscribe(origin, frameID: ByteBlock("f-\(number)"), person.principal, id))
        take()
        return number
    }

    @discardableResult func connect(_ person: Person, core: UInt8) -> Int {
        let number = tickets.count
        let origin = origin(core: core, isSocket: true)
        open(.connect, person)
        devices[person.key, default: 0] |= 1 << UInt64(core)
        owner.receive(.connect(origin, person.key, shardKey: person.shardKey))
        take()
        return number
    }

    func detach(_ person: Person, core: UInt8) {
        devices[person.key, default: 0] &= ~(1 << UInt64(core))
        owner.receive(.detach(core: core, person.key))
        take()
    }

    func forget(core: UInt8, _ id: Identifier) {
        followers[id, default: 0] &= ~(1 << UInt64(core))
        let answers = followAnswers[id]?.removeValue(forKey: core) ?? 0
        nextSeq[id]?[Int(core)] = nil
        owner.receive(.forget(core: core, id, answers: answers))
        take()
    }

    @discardableResult func type(
        _ person: Person, core: UInt8, _ id: Identifier, isStart: Bool = true,
        overHTTP: Bool = false
    ) -> Int {
        let number = tickets.count
        let origin = origin(core: core, isSocket: !overHTTP)
        open(overHTTP ? .typingOverHTTP : .typing, person, nil, id)
        owner.receive(
            .typing(
                origin, frameID: ByteBlock("f-\(number)"), person.principal, id, isStart: isStart))
        take()
        return number
    }

    @discardableResult func cancel(_ person: Person, core: UInt8?, run: Identifier) -> Int {
        let number = tickets.count
        // Without a socket's core it comes over HTTP.
        let origin = origin(core: core ?? 0, isSocket: core != nil)
        open(core == nil ? .cancelOverHTTP : .cancel, person)
        owner.receive(
            .cancel(
                origin, frameID: core == nil ? nil : ByteBlock("f-\(number)"), person.principal,
                run: run))
        take()
        return number
    }

    func settlePresence() {
        owner.settlePresence()
        take()
    }

    func closeInactive(_ id: Identifier) {
        owner.receive(.closeInactive(id))
        take()
    }

    func tick() {
        owner.tick()
        take()
    }

    // MARK: The store's side

    enum Fate { case stored, unavailable, afterForeignEntry }

    /// Carries out the pending unit at `place` (in the order of their conversations' making).
    func settle(_ place: Int = 0, _ fate: Fate = .stored) {
        let unit = pending.remove(at: place)
        let id = unit.conversation.id
        if fate == .afterForeignEntry, store.rows[id] != nil {
            let made = foreignIDs.next(milliseconds: milliseconds, shardKey: id.shardKey)
            store.appendForeign(to: id, made)
        }
        let outcome = fate == .unavailable ? .unavailable : store.apply(unit)
        owner.didCommit(CommitResult(unit: unit, outcome: outcome))
        take()
    }

    /// A read's result, as the store is now; it may be handed in later.
    func perform(_ place: Int = 0, isAvailable: Bool = true) -> OwnerReadResult {
        let read = reads.remove(at: place)
        return isAvailable ? store.read(read) : .unavailable(read)
    }

    func deliver(_ result: OwnerReadResult) {
        owner.didRead(result)
        take()
    }

    /// Lets everything come to rest, with a store that works.
    func settleAll() {
        var turns = 0
        while !pending.isEmpty || !reads.isEmpty || owner.needsTick, turns < 100_000 {
            turns += 1
            if !reads.isEmpty {
                deliver(perform())
            } else if !pending.isEmpty {
                settle()
            } else {
                tick()
            }
        }
        if turns == 100_000 { violate("the owner never comes to rest") }
    }

    // MARK: Actions

    func take() {
        owner.takeActions { action in
            switch action {
            case .commit(let unit): didCommit(unit)
            case .read(let read): reads.append(read)
            case .answer(let answer): didAnswer(answer)
            case .deliver(let delivery, let cores): didDeliver(delivery, cores)
            case .dismiss(let key, let cores): dismissed.append((key, cores))
            }
        }
        // A tick visits runs in a dictionary's order: sort, so that a seed replays in another
        // process.
        pending.sort { a, b in
            let place = (a.conversation.createdAtMilliseconds, a.conversation.id.high)
            let other = (b.conversation.createdAtMilliseconds, b.conversation.id.high)
            return place == other ? b.entries.isEmpty && !a.entries.isEmpty : place < other
        }
    }

    private func didCommit(_ unit: CommitUnit) {
        let id = unit.conversation.id
        if pending.contains(where: {
            $0.conversation.id == id && $0.entries.isEmpty == unit.entries.isEmpty
        }) {
            violate("two units of a conversation are on their way")
        }
        if unit.entries.isEmpty { return didSendCursors(unit) }
        let first = unit.entries.first?.seq ?? 0
        for (index, entry) in unit.entries.enumerated() where entry.seq != first + UInt64(index) {
            violate("a unit's seq has a gap")
        }
        if unit.conversation.lastSeq != unit.entries.last?.seq {
            violate("a row's last seq is off")
        }
        if (unit.rowChange == .insert) != (store.rows[id] == nil) {
            violate("a row is inserted once, with its first unit")
        }
        if unit.entries.count > Limits.entriesPerCommitUnitMax + 5 {
            violate("a unit is too large")
        }
        pending.append(unit)
    }

    func append(_ unit: CommitUnit) { pending.append(unit) }

    private func didAnswer(_ answer: Answer) {
        let number = Int(answer.origin.ordinal)
        if answer.isFrame { return didTell(answer, tickets[number]) }
        tickets[number].answers.append(answer)
        let ticket = tickets[number]
        let isAwaited = ![.typing, .cancel, .read].contains(ticket.kind)
        if answer.isCounted != isAwaited { violate("ticket \(number): counted wrongly") }
        if ticket.answers.count > 1 { violate("ticket \(number) is answered twice") }
        if let submission = ticket.submission, answer.frameID?.text != submission.frameID?.text {
            violate("ticket \(number): the frame's id does not come back")
        }
        guard case .success(_, let body, let isReplay, let follow) = answer.result else {
            checkRefusal(number, ticket)
            return
        }
        if ticket.kind == .readOverHTTP { checkReadIsStored(number, ticket) }
        if let follow { didFollow(follow, answer.origin) }
        if let submission = ticket.submission { checkStored(number, submission, body, isReplay) }
    }

    private func checkRefusal(_ number: Int, _ ticket: Ticket) {
        guard let submission = ticket.submission, let problem = ticket.problem else { return }
        switch problem.code {
        case .temporarilyUnavailable, .notFound: break
        case .conflict:
            if submission.origin.isSocket || submission.idempotency == nil {
                violate("ticket \(number): 409 is for a keyed HTTP request")
            }
        case .idempotencyMismatch:
            if let key = submission.idempotency, let found = store.keys[key],
                let entry = store.logs[found.conversation]?[found.index],
                entry.fingerprint == submission.fingerprint
            {
                violate("ticket \(number): refused as another body, but it is the same")
            }
        default: violate("ticket \(number): refused with \(problem.code)")
        }
    }

    /// The entry that answers this submission: by its key, or by the client's id in its body.
    func entry(of submission: Submission) -> (Identifier, KeptEntry)? {
        if let key = submission.idempotency {
            guard let found = store.keys[key], let log = store.logs[found.conversation] else {
                return nil
            }
            return (found.conversation, log[found.index])
        }
        let mark = "\"client_message_id\":\"t-\(submission.origin.ordinal)\""
        for id in store.order {
            for entry in store.logs[id] ?? [] where entry.isInbound {
                if entry.body.bytes.contains(mark) { return (id, entry) }
            }
        }
        return nil
    }

    private func checkStored(
        _ number: Int, _ submission: Submission, _ body: ByteSlice, _ isReplay: Bool
    ) {
        guard let (conversation, entry) = entry(of: submission) else {
            return violate("ticket \(number) is acknowledged but not stored")
        }
        if submission.idempotency != nil, entry.fingerprint != submission.fingerprint {
            violate("ticket \(number): another body under the same key is answered")
        }
        if store.rows[conversation]?.tenant != submission.principal.tenant {
            violate("ticket \(number): stored with another tenant")
        }
        let isOriginal = entry.body.bytes.contains("\"client_message_id\":\"t-\(number)\"")
        if isReplay == isOriginal, !isReplay || originals.contains(entry.id) {
            violate("ticket \(number): replay is told of an original, or the other way round")
        }
        if isOriginal, !isReplay, !originals.insert(entry.id).inserted {
            violate("ticket \(number): one message is acknowledged as two")
        }
        if submission.origin.isSocket {
            let wanted =
                "{\"type\":\"ack\",\"id\":\"f-\(number)\",\"message_id\":\"\(entry.id.text(.message))\""
                + ",\"conversation_id\":\"\(conversation.text(.conversation))\",\"seq\":\(entry.seq)"
                + ",\"duplicate\":\(isReplay)}"
            if body.text != wanted { violate("ticket \(number): ack \(body.text)") }
        } else {
            checkHTTPAnswer(number, conversation, entry, body.text)
        }
    }

    private func checkHTTPAnswer(
        _ number: Int, _ conversation: Identifier, _ entry: KeptEntry, _ text: String
    ) {
        let tail =
            ",\"conversation_id\":\"\(conversation.text(.conversation))\",\"session_id\":\""
            + "\(entry.session.text(.session))\"}"
        let message = ",\"message\":\(entry.body.text)"
        let status = tickets[number].status
        if status == 202 {
            let wanted = ["accepted", "queued"].map { "{\"status\":\"\($0)\"\(message)\(tail)" }
            if !wanted.contains(text) { violate("ticket \(number): 202 \(text)") }
            return
        }
        // The reply is stored behind the message, and answers it or a later one that it was merged
        // with.
        let replies = (store.logs[conversation] ?? []).filter { $0.answersSeq >= entry.seq }
        let wanted = replies.map {
            "{\"status\":\"answered\"\(message),\"reply\":\($0.body.text)\(tail)"
        }
        if status != 200 || !wanted.contains(text) {
            violate("ticket \(number): \(status ?? 0) \(text)")
        }
    }
}

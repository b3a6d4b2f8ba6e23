// What the world checks: each frame as it is delivered, and everything when it is at rest.

import Bytes
import ChatModel

@testable import Conversations

extension World {
    // MARK: Frames

    func didFollow(_ follow: Answer.Follow, _ origin: Origin) {
        followers[follow.conversation, default: 0] |= 1 << UInt64(origin.core)
        followAnswers[follow.conversation, default: [:]][origin.core, default: 0] += 1
        let core = Int(origin.core)
        if nextSeq[follow.conversation, default: [:]][core] == nil {
            nextSeq[follow.conversation, default: [:]][core] = follow.seq + 1
        }
        if follow.seq > store.head(of: follow.conversation) {
            violate("a follower is told of a seq that is not stored")
        }
    }

    func didDeliver(_ delivery: Delivery, _ cores: UInt64) {
        frames.append(Frame(delivery: delivery, cores: cores))
        let id = delivery.conversation
        // A user's own devices know that the user is there.
        let isPresence = delivery.payload.bytes.hasPrefix("{\"type\":\"presence\"")
        if isPresence, !delivery.isInternal { violate("presence is told to end users") }
        let audience = (followers[id] ?? 0) | (isPresence ? 0 : devices[delivery.user] ?? 0)
        if cores != audience {
            violate("frame \(delivery.seq) goes to \(cores), the audience is \(audience)")
        }
        if delivery.payload.bytes.hasPrefix("{\"type\":\"run\"") { return didDeliverRun(delivery) }
        if delivery.payload.bytes.hasPrefix("{\"type\":\"receipt\"") {
            return checkReceipt(delivery.payload.bytes.string(), id)
        }
        guard delivery.seq > 0 else { return }
        let log = store.logs[id] ?? []
        guard delivery.seq <= UInt64(log.count) else {
            return violate("an entry is shown before it is stored")
        }
        let wanted =
            "{\"type\":\"message\",\"conversation_id\":\"\(id.text(.conversation))\",\"message\":"
            + log[Int(delivery.seq) - 1].body.text + "}"
        if delivery.payload.bytes.string() != wanted {
            violate("a frame differs from the stored entry")
        }
        if delivery.seq <= deliveredSeq[id] ?? 0 { violate("entries are delivered out of order") }
        deliveredSeq[id] = delivery.seq
        for (core, next) in nextSeq[id] ?? [:] where delivery.seq >= next {
            if skippingForeign(id, next) != delivery.seq {
                violate("core \(core) follows from \(next) and is given \(delivery.seq)")
            }
            nextSeq[id]?[core] = delivery.seq + 1
        }
    }

    private func skippingForeign(_ id: Identifier, _ seq: UInt64) -> UInt64 {
        var next = seq
        while store.foreign[id]?.contains(next) == true { next += 1 }
        return next
    }

    private func didDeliverRun(_ delivery: Delivery) {
        guard seesEveryRun else { return }
        let text = delivery.payload.bytes.string()
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false).map(String.init)
        // {"type":"run","conversation_id":"…","run_id":"…","state":"…"
        let (run, state) = (parts[11], parts[15])
        switch state {
        case "started":
            if endedRuns.contains(run) || !openRuns.insert(run).inserted {
                violate("\(run) starts twice")
            }
        case "delta":
            if !openRuns.contains(run) { violate("\(run) has a delta while it is not open") }
            let index = deltaIndex[run, default: 0]
            if !text.contains("\"index\":\(index),") {
                violate("\(run) has delta \(text) at \(index)")
            }
            deltaIndex[run] = index + 1
        case "ended":
            if openRuns.remove(run) == nil || !endedRuns.insert(run).inserted {
                violate("\(run) ends twice, or without a start")
            }
        default: violate("a run's state is \(state)")
        }
    }

    /// What must hold when everything is at rest.
    func checkAtRest() {
        for (number, ticket) in tickets.enumerated() {
            switch ticket.kind {
            case .submit, .command, .subscribe, .connect, .cancelOverHTTP, .readOverHTTP,
                .typingOverHTTP:
                if ticket.answers.count != 1 {
                    violate("ticket \(number) has \(ticket.answers.count) answers")
                }
            case .typing, .cancel, .read, .introduce:
                if ticket.answers.contains(where: {
                    if case .success = $0.result { true } else { false }
                }) {
                    violate("ticket \(number): only a refusal is told")
                }
            }
        }
        for id in store.order { checkLog(id) }
        checkFailuresLeftNothing()
        for id in store.order {
            for (core, next) in nextSeq[id] ?? [:]
            where skippingForeign(id, next) != store.head(of: id) + 1 {
                violate(
                    "core \(core) was not given the last entries of a conversation that it follows")
            }
        }
        if !openRuns.isEmpty { violate("runs stay open: \(openRuns)") }
        checkMemory()
    }

    private func checkLog(_ id: Identifier) {
        let log = store.logs[id] ?? []
        var isHandedOff = false
        var answered: Set<UInt64> = []
        for (index, entry) in log.enumerated() {
            if entry.seq != UInt64(index) + 1 { violate("a log is not gap-free from 1") }
            if entry.kind == .handler { isHandedOff = Self.handsToHuman(entry) }
            guard entry.answersSeq > 0, entry.kind == .message else { continue }
            if isHandedOff { violate("a bot's reply lands after a human took over") }
            if !answered.insert(entry.answersSeq).inserted {
                violate("a message is answered twice")
            }
            if entry.answersSeq >= entry.seq || !log[Int(entry.answersSeq) - 1].isInbound {
                violate("a reply answers what is not a message before it")
            }
        }
        checkArrivalOrder(log)
        if isHandedOff != (store.rows[id]?.handler.type == .human) {
            violate("row and log disagree on the handler")
        }
    }

    /// Messages that came by the same way (with the conversation's id, or without) are stored as
    /// they came.
    private func checkArrivalOrder(_ log: [KeptEntry]) {
        let numbers = log.filter(\.isInbound).compactMap { $0.body.bytes.ticketNumber() }
        for isNamed in [false, true] {
            let same = numbers.filter { (tickets[$0].conversation != nil) == isNamed }
            if same != same.sorted() { violate("messages overtake each other: \(same)") }
        }
    }

    private func checkFailuresLeftNothing() {
        var marks: Set<Int> = []
        for id in store.order {
            for entry in store.logs[id] ?? [] where entry.isInbound && entry.kind == .message {
                guard let number = entry.body.bytes.ticketNumber() else {
                    violate("an inbound entry comes from no ticket")
                    continue
                }
                if !marks.insert(number).inserted { violate("ticket \(number) is stored twice") }
                if tickets[number].problem != nil {
                    violate("ticket \(number) was refused and is stored")
                }
            }
        }
        for (number, ticket) in tickets.enumerated()
        where ticket.kind == .submit && ticket.problem == nil {
            if !ticket.isReplay, !marks.contains(number) { violate("ticket \(number) is lost") }
        }
    }

    private func checkMemory() {
        if !owner.keysInProgress.isEmpty { violate("keys stay in progress") }
        if !owner.repeatedOrigins.isEmpty { violate("repeated keys are forgotten") }
        if !owner.unread.isEmpty || !owner.reading.isEmpty {
            violate("requests wait for a read that nobody makes")
        }
        if !owner.runs.isEmpty { violate("runs stay") }
        for state in owner.conversations.values {
            if !state.isStored { violate("a conversation without a stored entry is held") }
            if state.run != nil || !state.wantedRuns.isEmpty || state.inFlight != nil
                || !state.waiting.isEmpty || !state.cursors.isIdle
            {
                violate("a conversation is not at rest")
            }
            let id = state.row.id
            if state.storedSeq > store.head(of: id) { violate("a held row is ahead of the store") }
        }
        if owner.users.values.contains(where: { !$0.waiting.isEmpty }) {
            violate("submissions wait for a user")
        }
        if owner.heldByTenant.reduce(0, +) != owner.conversations.count {
            violate("the count of held rows is off")
        }
    }
}

extension RawSpan {
    func contains(_ text: String) -> Bool {
        let wanted = Array(text.utf8)
        guard let first = wanted.first, byteCount >= wanted.count else { return false }
        var offset = firstOffset(of: first)
        while offset + wanted.count <= byteCount {
            var matched = 0
            while matched < wanted.count, byte(at: offset + matched) == wanted[matched] {
                matched += 1
            }
            if matched == wanted.count { return true }
            offset = firstOffset(of: first, from: offset + 1)
        }
        return false
    }

    /// The number behind `"client_message_id":"t-`.
    func ticketNumber() -> Int? {
        let text = string()
        guard let part = text.split(separator: "\"client_message_id\":\"t-").dropFirst().first
        else { return nil }
        return Int(part.prefix { $0.isNumber })
    }
}

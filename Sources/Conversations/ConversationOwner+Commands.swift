// What agents ask for: changes of a conversation's row, each of which becomes entries of the log
// that are committed together with the row, and messages of their own.
//
// A change is decided on a row that is stored: one that waits behind another change goes into a
// later unit. So nobody is told that a version does not fit on account of a change that the store
// refused.

import Bytes
import ChatModel

extension Command {
    /// True when it must not be decided while the row has a change that is not stored.
    var needsSettledRow: Bool {
        switch act {
        case .patch: true
        case .message, .change: false
        }
    }
}

extension ConversationOwner {
    // MARK: Coming in

    func submit(_ command: Command) {
        guard let state = loaded(command.conversation, for: .command(command)) else { return }
        guard mayAccess(command.principal, state) else {
            return fail(command.origin, nil, Self.unknownConversation)
        }
        guard state.waiting.count + state.wantedReplies < Limits.messagesWaitingPerConversationMax
        else { return refuseForRoom(command.origin, nil) }
        if let key = command.idempotency {
            guard keysInProgress[key] == nil else {
                return fail(command.origin, nil, Self.keyInProgress)
            }
            keysInProgress[key] = state.row.id
        }
        state.waiting.append(.command(command))
        pump(state)
    }

    static let keyInProgress = Problem(
        .conflict, "A request with this idempotency key is still in progress.",
        retryAfterSeconds: 1)

    func refuseForRoom(_ origin: Origin, _ frameID: ByteBlock?) {
        counters.refusedFull += 1
        fail(
            origin, frameID,
            Problem(
                .temporarilyUnavailable,
                "Too many messages of this conversation wait for what is before them.",
                retryAfterSeconds: 1))
    }

    // MARK: Building

    /// What is refused, or changes nothing, is answered at once and becomes no entry.
    func place(
        _ command: Command, _ item: PendingItem, in state: ConversationState,
        _ builder: inout UnitBuilder
    ) {
        let first = builder.entries.count
        let before = builder.row.handler
        switch command.act {
        case .patch(let patch): place(patch, command, &builder)
        case .message(let message): place(message, command, &builder)
        case .change(let change, let target):
            place(change, target, command, in: state, &builder)
        }
        guard builder.entries.count > first else { return }
        builder.placed.append(
            PlacedItem(
                item: item, firstEntry: first, replyEntry: nil,
                entryCount: builder.entries.count - first, handlerBefore: before))
    }

    private func place(
        _ patch: ConversationPatch, _ command: Command, _ builder: inout UnitBuilder
    ) {
        guard patch.condition.holds(for: builder.row.version) else {
            return fail(command.origin, nil, Self.otherVersion)
        }
        let before = builder.row
        var changed = before
        changed.apply(patch)
        let kinds = changed.changes(since: before)
        guard !kinds.isEmpty else { return show(command) }
        builder.changeRow { $0 = changed }
        for change in kinds {
            let entry = Entry(
                id: identifiers.next(
                    milliseconds: nowMilliseconds, shardKey: command.conversation.shardKey),
                conversation: builder.row.id, seq: builder.nextSeq, kind: change.kind,
                isInbound: false, senderType: .agent, senderID: command.principal.subject,
                channel: builder.row.channel, content: content(of: change, in: builder.row),
                createdAtMilliseconds: nowMilliseconds)
            builder.append(entry, bodies, answersSeq: 0, session: .none)
        }
    }

    /// It changes neither who handles the conversation nor its status: an agent who wants that says
    /// so with a patch.
    private func place(
        _ message: AgentMessage, _ command: Command, _ builder: inout UnitBuilder
    ) {
        let entry = Entry(
            id: identifiers.next(
                milliseconds: nowMilliseconds, shardKey: command.conversation.shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: .message, isInbound: false,
            isInternal: message.isInternal, senderType: .agent,
            senderID: command.principal.subject, channel: builder.row.channel,
            content: message.content, replyTo: message.replyTo,
            clientMessageID: message.clientMessageID, metadata: message.metadata,
            createdAtMilliseconds: nowMilliseconds)
        builder.append(
            entry, bodies, answersSeq: 0, session: .none, idempotency: message.idempotency,
            fingerprint: message.fingerprint, isAcceptedOnly: true)
    }

    static let otherVersion = Problem(
        .preconditionFailed,
        "The conversation has another version than If-Match names: read it and decide again.")

    // MARK: The outcome

    func stored(
        _ command: Command, _ placed: PlacedItem, _ unit: CommitUnit, _ state: ConversationState
    ) {
        let entries = placed.firstEntry..<placed.firstEntry + placed.entryCount
        announce(unit, entries, state, audience(of: state))
        switch command.act {
        case .patch: show(command)
        case .message:
            settleKey(of: command)
            succeed(
                command.origin, status: 201,
                unit.body(of: unit.entries[placed.firstEntry]))
        case .change(let change, let target):
            stored(change, target, command, unit.entries[placed.firstEntry], unit, state)
        }
    }

    func settleKey(of command: Command) {
        if let key = command.idempotency { keysInProgress[key] = nil }
    }

    /// The same was stored under the same key before.
    func replay(_ command: Command, _ found: StoredAnswer) {
        settleKey(of: command)
        guard command.conversation == found.conversation else {
            return fail(command.origin, nil, Self.idempotencyMismatch)
        }
        switch command.act {
        case .message(let message) where message.fingerprint == found.fingerprint:
            counters.duplicates += 1
            succeed(command.origin, status: 201, found.message, isReplay: true)
        case .change(let change, let target) where change.fingerprint == found.fingerprint:
            replay(change, target, command, found)
        case .message, .change, .patch:
            fail(command.origin, nil, Self.idempotencyMismatch)
        }
    }

    /// The answer is the conversation, or its message at a seq, as readers see it.
    func show(_ command: Command, seq: UInt64 = 0, isReplay: Bool = false) {
        var answer = Answer(
            origin: command.origin, frameID: nil,
            result: .success(status: 200, body: Self.nothing, isReplay: isReplay, follow: nil))
        answer.shows = command.conversation
        answer.showsSeq = seq
        actions.append(.answer(answer))
    }

    /// A change of the row is durable.
    func didChangeRow(
        _ state: ConversationState, from before: Conversation, to unit: CommitUnit
    ) {
        let row = unit.conversation
        if let run = state.run, !run.isFinishing, run.handlerToken < row.handler.token {
            finish(run, in: state, reason: "superseded", reply: nil)
        }
        guard row.status != before.status, let user = users[state.user] else { return }
        let place = Int(row.channel.rawValue)
        if row.status == .closed, user.open[place] == row.id {
            user.open[place] = nil
            // There may be an older one that is open: the store knows.
            user.isLoaded = false
        } else if row.status != .closed, user.isLoaded, user.open[place] == nil {
            user.open[place] = row.id
        }
    }

    // MARK: What entries say

    private func content(of change: RowFieldChange, in row: Conversation) -> ByteBlock {
        switch change {
        case .status: return statusContent(row.status)
        case .handler: return handlerContent(row)
        case .assignment: beginEvent("assignment", "assignee", row.details.assignee)
        case .labels: beginEvent("label", "labels", raw: row.details.labels ?? ByteBlock("[]"))
        case .priority:
            beginEvent("priority", "priority", ByteBlock("\(row.details.priority.name)"))
        case .attributes:
            beginEvent("attributes", "attributes", raw: row.details.attributes ?? ByteBlock("{}"))
        }
        encoder.append("}}")
        return encoder.block()
    }

    private func beginEvent(_ name: StaticString, _ field: StaticString) {
        encoder.removeAll()
        encoder.append("{\"type\":\"event\",\"name\":\"")
        encoder.append(name)
        encoder.append("\",\"data\":{\"")
        encoder.append(field)
        encoder.append("\":")
    }

    private func beginEvent(_ name: StaticString, _ field: StaticString, _ text: ByteBlock?) {
        beginEvent(name, field)
        if let text { encoder.append(json: text) } else { encoder.append("null") }
    }

    private func beginEvent(_ name: StaticString, _ field: StaticString, raw json: ByteBlock) {
        beginEvent(name, field)
        encoder.append(json)
    }

    func statusContent(_ status: ConversationStatus) -> ByteBlock {
        beginEvent("status", "status")
        encoder.append(0x22)
        encoder.append(status.name)
        encoder.append("\"}}")
        return encoder.block()
    }

    func handlerContent(_ row: Conversation) -> ByteBlock {
        beginEvent("handler", "type")
        encoder.append(row.handler.type == .bot ? "\"bot\"" : "\"human\"")
        if let id = row.details.handlerID {
            encoder.append(",\"id\":")
            encoder.append(json: id)
        }
        encoder.append(",\"token\":")
        encoder.append(decimal: row.handler.token)
        encoder.append("}}")
        return encoder.block()
    }
}

/// A field of the row that differs; each difference is one entry.
enum RowFieldChange {
    case status, handler, assignment, labels, priority, attributes

    /// There are fewer kinds of entries than fields; `content.name` says which field it is.
    var kind: EntryKind {
        switch self {
        case .status, .priority: .status
        case .handler: .handler
        case .assignment: .assignment
        case .labels, .attributes: .label
        }
    }
}

extension Conversation {
    mutating func apply(_ patch: ConversationPatch) {
        if let status = patch.status { self.status = status }
        var details = details
        details.assignee = patch.assignee.applied(to: details.assignee)
        details.labels = patch.labels.applied(to: details.labels)
        details.attributes = patch.attributes.applied(to: details.attributes)
        if let priority = patch.priority { details.priority = priority }
        self.details = details
        if let type = patch.handler,
            type != handler.type || !areSame(patch.handlerID, details.handlerID)
        {
            hand(to: type, id: patch.handlerID)
        }
    }

    func changes(since before: Conversation) -> [RowFieldChange] {
        let (now, old) = (details, before.details)
        var found: [RowFieldChange] = []
        if handler != before.handler { found.append(.handler) }
        if status != before.status { found.append(.status) }
        if !areSame(now.assignee, old.assignee) { found.append(.assignment) }
        if !areSame(now.labels, old.labels) { found.append(.labels) }
        if now.priority != old.priority { found.append(.priority) }
        if !areSame(now.attributes, old.attributes) { found.append(.attributes) }
        return found
    }
}

extension FieldChange {
    func applied(to value: Value?) -> Value? {
        switch self {
        case .unchanged: value
        case .cleared: nil
        case .set(let new): new
        }
    }
}

// From a message to a unit for the store, and from the unit's outcome to answers and frames.

import Bytes
import ChatModel

extension ConversationOwner {
    // MARK: Coming in

    func submit(_ submission: Submission) {
        if let key = submission.idempotency, keysInProgress[key] != nil {
            if submission.origin.isSocket {
                repeatedOrigins[key, default: []].append(submission)
            } else {
                fail(submission.origin, submission.frameID, Self.keyInProgress)
            }
            return
        }
        if let id = submission.conversation {
            guard let state = loaded(id, for: .submit(submission)) else { return }
            let sameUser = submission.user == state.user
            guard mayAccess(submission.principal, state), sameUser else {
                return fail(submission.origin, submission.frameID, Self.unknownConversation)
            }
            return enqueue(submission, in: state)
        }
        let user = userState(submission.user)
        guard user.isLoaded else {
            if user.waiting.isEmpty { actions.append(.read(.user(submission.user))) }
            user.waiting.append(submission)
            return
        }
        if let id = user.open[Int(submission.channel.rawValue)] {
            guard let state = loaded(id, for: .submit(submission)) else { return }
            return enqueue(submission, in: state)
        }
        enqueue(submission, in: create(for: submission, user))
    }

    private func create(for submission: Submission, _ user: UserState) -> ConversationState {
        let id = identifiers.next(milliseconds: nowMilliseconds, shardKey: submission.shardKey)
        let row = Conversation(
            id: id, tenant: submission.user.tenant, userID: submission.user.userID,
            channel: submission.channel,
            createdAtMilliseconds: nowMilliseconds, updatedAtMilliseconds: nowMilliseconds)
        let state = ConversationState(row: row, isStored: false)
        hold(state)
        user.open[Int(submission.channel.rawValue)] = id
        return state
    }

    private func enqueue(_ submission: Submission, in state: ConversationState) {
        guard state.waiting.count + state.wantedReplies < Limits.messagesWaitingPerConversationMax
        else {
            return refuseForRoom(submission.origin, submission.frameID)
        }
        if let key = submission.idempotency { keysInProgress[key] = state.row.id }
        state.waiting.append(.message(submission))
        pump(state)
    }

    func enqueue(_ run: Run, in state: ConversationState) {
        state.waiting.append(.reply(run))
        pump(state)
    }

    // MARK: Building a unit

    /// Sends the next unit off, if none is on its way and something waits.
    func pump(_ state: ConversationState) {
        guard state.inFlight == nil, !state.isBuilding, !state.waiting.isEmpty else { return }
        state.isBuilding = true
        bodies.removeAll()
        var builder = UnitBuilder(row: state.row, wasStored: state.isStored)
        var taken = 0
        var fenced: [Run] = []
        while taken < state.waiting.count, builder.entries.count < Limits.entriesPerCommitUnitMax,
            bodies.count < Limits.commitUnitBytesMax
        {
            let item = state.waiting[taken]
            if case .command(let command) = item,
                command.needsSettledRow && builder.rowChanged
                    || command.follows(redactionIn: builder.entries)
            {
                break
            }
            taken += 1
            switch item {
            case .message(let submission): place(submission, item, in: state, &builder)
            case .reply(let run):
                if !place(run, item, in: state, &builder) { fenced.append(run) }
            case .command(let command): place(command, item, in: state, &builder)
            case .closing: placeClosing(item, in: state, &builder)
            }
        }
        state.waiting.removeFirst(taken)
        if !builder.entries.isEmpty { send(builder, for: state) }
        state.isBuilding = false
        for run in fenced { finish(run, in: state, reason: "superseded", reply: nil) }
        if state.inFlight == nil { pump(state) }
    }

    private func send(_ builder: UnitBuilder, for state: ConversationState) {
        let before = builder.rowChanged ? state.row : nil
        state.row = builder.row
        state.row.updatedAtMilliseconds = nowMilliseconds
        let unit = CommitUnit(
            conversation: state.row, rowChange: builder.change, entries: builder.entries,
            bodies: bodies.block(), submittedNanoseconds: nowNanoseconds)
        state.inFlight = InFlight(unit: unit, items: builder.placed, rowBefore: before)
        state.assertInvariant()
        unitsOnTheirWay += 1
        actions.append(.commit(unit))
    }

    private func place(
        _ submission: Submission, _ item: PendingItem, in state: ConversationState,
        _ builder: inout UnitBuilder
    ) {
        let session = session(of: submission.user, shardKey: submission.shardKey)
        let first = builder.entries.count
        let before = builder.row.handler
        let reply =
            repliesAtOnce(submission, state, before)
            ? engine.reply(to: submission.text, contentType: submission.contentType) : nil
        // What an HTTP client is answered stands around the bodies, so that it is written once.
        let isAnsweredHere = reply != nil && !submission.origin.isSocket
        let start = bodies.count
        if isAnsweredHere { AnswerCoding.begin("answered", into: bodies) }
        let message = placeMessage(submission, session, &builder)
        var placed = PlacedItem(
            item: item, firstEntry: first, replyEntry: nil, entryCount: 1, handlerBefore: before)
        if let reply {
            placed.replyEntry = builder.entries.count
            if isAnsweredHere { AnswerCoding.reply(into: bodies) }
            place(
                reply, to: message, submission.channel, submission.shardKey, session, &builder)
            if isAnsweredHere {
                AnswerCoding.end(state.row.id, session, into: bodies)
                placed.answer = ByteRange(start, bodies.count)
            }
            if reply.handsOff {
                placeHandOff(submission.channel, submission.shardKey, session, &builder)
            }
        }
        if builder.row.status != .open {
            placeReopening(submission.channel, submission.shardKey, session, &builder)
        }
        placed.entryCount = builder.entries.count - first
        builder.placed.append(placed)
    }

    /// A message that is in a unit: what its reply refers to.
    private struct PlacedMessage {
        let id: Identifier
        let seq: UInt64
    }

    private func placeMessage(
        _ submission: Submission, _ session: Identifier, _ builder: inout UnitBuilder
    ) -> PlacedMessage {
        let id = identifiers.next(milliseconds: nowMilliseconds, shardKey: submission.shardKey)
        let message = Entry(
            id: id, conversation: builder.row.id, seq: builder.nextSeq, kind: .message,
            isInbound: true,
            senderType: .user, senderID: submission.user.userID, channel: submission.channel,
            content: submission.content, replyTo: submission.replyTo,
            clientMessageID: submission.clientMessageID, metadata: submission.metadata,
            createdAtMilliseconds: nowMilliseconds)
        builder.append(
            message, bodies, answersSeq: 0, session: session,
            idempotency: submission.idempotency,
            fingerprint: submission.fingerprint, isAcceptedOnly: !submission.waitsForReply)
        return PlacedMessage(id: id, seq: message.seq)
    }

    /// A bot answers together with the message when somebody waits for just that and no run is
    /// before it.
    private func repliesAtOnce(
        _ submission: Submission, _ state: ConversationState, _ handler: Handler
    ) -> Bool {
        submission.waitsForReply && handler.type == .bot && state.run == nil
            && state.wantedRuns.isEmpty
    }

    private func place(
        _ run: Run, _ item: PendingItem, in state: ConversationState, _ builder: inout UnitBuilder
    ) -> Bool {
        let first = builder.entries.count
        let before = builder.row.handler
        guard run.handlerToken == before.token, let last = run.request.waiters.last else {
            // Somebody else took over while this reply was made: it never lands.
            counters.fencedReplies += 1
            return false
        }
        let channel = last.submission.channel
        let shardKey = last.submission.shardKey
        place(
            run.reply, to: PlacedMessage(id: last.messageID, seq: last.seq), channel, shardKey,
            last.session, &builder)
        if run.reply.handsOff { placeHandOff(channel, shardKey, last.session, &builder) }
        builder.placed.append(
            PlacedItem(
                item: item, firstEntry: first, replyEntry: first,
                entryCount: builder.entries.count - first,
                handlerBefore: before))
        return true
    }

    private func place(
        _ reply: EngineReply, to message: PlacedMessage, _ channel: Channel, _ shardKey: UInt16,
        _ session: Identifier, _ builder: inout UnitBuilder
    ) {
        let entry = Entry(
            id: identifiers.next(milliseconds: nowMilliseconds, shardKey: shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: .message, isInbound: false,
            senderType: .bot,
            senderID: Self.botID, channel: channel, content: reply.content, replyTo: message.id,
            createdAtMilliseconds: nowMilliseconds)
        builder.append(entry, bodies, answersSeq: message.seq, session: session)
    }

    /// The engine gives the conversation to a human.
    private func placeHandOff(
        _ channel: Channel, _ shardKey: UInt16, _ session: Identifier,
        _ builder: inout UnitBuilder
    ) {
        builder.changeRow { $0.hand(to: .human, id: nil) }
        let change = Entry(
            id: identifiers.next(milliseconds: nowMilliseconds, shardKey: shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: .handler, isInbound: false,
            senderType: .system, senderID: Self.systemID, channel: channel,
            content: handlerContent(builder.row), createdAtMilliseconds: nowMilliseconds)
        builder.append(change, bodies, answersSeq: 0, session: session)
    }

    /// A user who writes wants an answer, whatever was thought of the conversation before.
    private func placeReopening(
        _ channel: Channel, _ shardKey: UInt16, _ session: Identifier,
        _ builder: inout UnitBuilder
    ) {
        builder.changeRow { $0.status = .open }
        let change = Entry(
            id: identifiers.next(milliseconds: nowMilliseconds, shardKey: shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: .status, isInbound: false,
            senderType: .system, senderID: Self.systemID, channel: channel,
            content: statusContent(.open), createdAtMilliseconds: nowMilliseconds)
        builder.append(change, bodies, answersSeq: 0, session: session)
    }

    static let botID = ByteBlock("builtin")
    static let systemID = ByteBlock("system")

    /// The user's session: a new one when the last was not used for its time to live.
    func session(of key: UserKey, shardKey: UInt16) -> Identifier {
        let user = userState(key)
        let idle = nowMilliseconds &- user.sessionSeenMilliseconds
        user.sessionSeenMilliseconds = nowMilliseconds
        if let session = user.session, idle <= sessionTimeToLiveMilliseconds { return session }
        let session = identifiers.next(milliseconds: nowMilliseconds, shardKey: shardKey)
        if let before = user.session { sessions[before] = nil }
        user.deviceList.removeAll { $0.socketCount == 0 }
        user.session = session
        sessions[session] = key
        return session
    }

    // MARK: The outcome

    public func didCommit(_ result: CommitResult) {
        if result.unit.entries.isEmpty { return didSaveCursors(result) }
        guard let state = conversations[result.unit.conversation.id], let flight = state.inFlight,
            flight.unit === result.unit
        else { preconditionFailure("an outcome belongs to the unit that is on its way") }
        state.inFlight = nil
        unitsOnTheirWay -= 1
        switch result.outcome {
        case .committed: committed(flight, state)
        case .duplicate(let index, let answer): foundDuplicate(flight, state, at: index, answer)
        case .conflict(let lastSeq):
            counters.conflicts += 1
            restore(flight, state, lastSeq: lastSeq)
            state.redactions.forget(through: lastSeq)
            // What another node wrote is taken for public, until an entry of our own is behind it.
            state.publicSeq = lastSeq
            state.waiting.insert(contentsOf: flight.items.map(\.item), at: 0)
        case .unavailable: failed(flight, state)
        }
        takeUpEarlyMarks(in: state)
        startNext(in: state)
        pump(state)
    }

    private func restore(_ flight: InFlight, _ state: ConversationState, lastSeq: UInt64) {
        if let before = flight.rowBefore { state.row = before }
        state.row.lastSeq = lastSeq
        state.redactions.takeBack(flight.unit.entries)
    }

    private func committed(_ flight: InFlight, _ state: ConversationState) {
        state.isStored = true
        let publicSeq = flight.unit.entries.last { !$0.isInternal }?.seq ?? state.publicSeq
        state.publicSeq = publicSeq
        for placed in flight.items {
            switch placed.item {
            case .message(let submission): stored(submission, placed, flight.unit, state)
            case .command(let command): stored(command, placed, flight.unit, state)
            case .closing:
                let entries = placed.firstEntry..<placed.firstEntry + placed.entryCount
                announce(flight.unit, entries, state, audience(of: state))
            case .reply(let run):
                // The audience may have grown by an item before this one of the same unit.
                let entries = placed.firstEntry..<placed.firstEntry + placed.entryCount
                announce(flight.unit, entries, state, audience(of: state))
                finish(
                    run, in: state, reason: "completed",
                    reply: flight.unit.body(of: flight.unit.entries[placed.firstEntry]))
            }
        }
        if users[state.user]?.devices ?? 0 != 0 {
            let isWorthAWrite = flight.items.contains(where: \.isAgentsMessage)
            didHandOver(state, through: publicSeq, isWorthAWrite: isWorthAWrite)
        }
        if let before = flight.rowBefore {
            countClosing(flight, from: before)
            didChangeRow(state, from: before, to: flight.unit)
        }
    }

    private func stored(
        _ submission: Submission, _ placed: PlacedItem, _ unit: CommitUnit,
        _ state: ConversationState
    ) {
        let entry = unit.entries[placed.firstEntry]
        let waiter = Waiter(
            submission: submission, conversation: state.row.id, messageID: entry.id, seq: entry.seq,
            message: unit.body(of: entry), session: entry.session)
        settleKey(of: submission, waiter)
        let entries = placed.firstEntry..<placed.firstEntry + placed.entryCount
        if let reply = placed.replyEntry {
            whenFirstToken(nowNanoseconds &- submission.arrivedNanoseconds)
            if placed.answer.isEmpty {
                answer(waiter, reply: unit.body(of: unit.entries[reply]), status: "answered")
            } else {
                succeed(submission.origin, status: 200, ByteSlice(unit.bodies, placed.answer))
            }
            announceInstantRun(unit, entries, submission, state, audience(of: state))
            return
        }
        let runFollows = state.row.handler.type == .bot && placed.handlerBefore.type == .bot
        if !(runFollows && submission.waitsForReply) {
            answer(waiter, reply: nil, status: "accepted")
        }
        announce(unit, entries, state, audience(of: state))
        if runFollows { want(RunRequest(waiters: [waiter]), in: state) }
    }

    /// Ends the time in which a key is in progress, and answers sockets that repeated it meanwhile.
    private func settleKey(of submission: Submission, _ waiter: Waiter) {
        guard let key = submission.idempotency else { return }
        keysInProgress[key] = nil
        for repeated in repeatedOrigins.removeValue(forKey: key) ?? [] {
            if repeated.isSame(fingerprint: submission.fingerprint, waiter.conversation) {
                acknowledge(repeated, waiter, isDuplicate: true)
            } else {
                fail(repeated.origin, repeated.frameID, Self.idempotencyMismatch)
            }
        }
    }

    static let idempotencyMismatch = Problem(
        .idempotencyMismatch, "This idempotency key was used for another request.")

    private func foundDuplicate(
        _ flight: InFlight, _ state: ConversationState, at index: Int, _ found: StoredAnswer
    ) {
        restore(flight, state, lastSeq: flight.unit.entries[0].seq - 1)
        var again: [PendingItem] = []
        for placed in flight.items {
            if placed.firstEntry == index, case .message(let submission) = placed.item {
                replay(submission, found, state)
            } else if placed.firstEntry == index, case .command(let command) = placed.item {
                replay(command, found)
            } else {
                again.append(placed.item)
            }
        }
        state.waiting.insert(contentsOf: again, at: 0)
        dropIfNeverStored(state)
    }

    private func replay(_ submission: Submission, _ found: StoredAnswer, _ state: ConversationState)
    {
        counters.duplicates += 1
        let original = Waiter(
            submission: submission, conversation: found.conversation, messageID: found.messageID,
            seq: found.seq,
            message: found.message, session: found.session)
        if let key = submission.idempotency { keysInProgress[key] = nil }
        let repeated =
            submission.idempotency.flatMap { repeatedOrigins.removeValue(forKey: $0) } ?? []
        for origin in [submission] + repeated {
            guard origin.isSame(fingerprint: found.fingerprint, found.conversation) else {
                fail(origin.origin, origin.frameID, Self.idempotencyMismatch)
                continue
            }
            if origin.origin.isSocket {
                acknowledge(origin, original, isDuplicate: true)
            } else {
                answer(
                    original, reply: found.reply,
                    status: found.reply == nil ? "accepted" : "answered",
                    isReplay: true)
            }
        }
    }

    /// Nothing of the unit is stored: everybody who waits for it is told so.
    private func failed(_ flight: InFlight, _ state: ConversationState) {
        restore(flight, state, lastSeq: flight.unit.entries[0].seq - 1)
        let refused = flight.items.map(\.item) + state.waiting
        state.waiting = []
        for item in refused {
            switch item {
            case .message(let submission):
                fail(submission.origin, submission.frameID, Self.storeUnavailable)
                guard let key = submission.idempotency else { continue }
                keysInProgress[key] = nil
                for repeated in repeatedOrigins.removeValue(forKey: key) ?? [] {
                    fail(repeated.origin, repeated.frameID, Self.storeUnavailable)
                }
            case .command(let command):
                settleKey(of: command)
                fail(command.origin, nil, Self.storeUnavailable)
            case .reply(let run): finish(run, in: state, reason: "failed", reply: nil)
            // It is found again.
            case .closing: break
            }
        }
        dropIfNeverStored(state)
    }

    /// A conversation whose first unit was refused does not exist.
    private func dropIfNeverStored(_ state: ConversationState) {
        guard !state.isStored, state.waiting.isEmpty, state.inFlight == nil else { return }
        drop(state.row.id)
        if let user = users[state.user], user.open[Int(state.row.channel.rawValue)] == state.row.id
        {
            user.open[Int(state.row.channel.rawValue)] = nil
        }
    }
}

/// A unit while it is put together.
struct UnitBuilder {
    var row: Conversation
    let wasStored: Bool
    var entries: [StoredEntry] = []
    var placed: [PlacedItem] = []
    private(set) var rowChanged = false

    init(row: Conversation, wasStored: Bool) {
        self.row = row
        self.wasStored = wasStored
        // A message and its reply.
        entries.reserveCapacity(2)
    }

    var nextSeq: UInt64 { row.lastSeq + 1 }
    var change: RowChange { wasStored ? (rowChanged ? .update : .none) : .insert }

    /// Writes the entry's body behind the others of the unit.
    mutating func append(
        _ entry: Entry, _ bodies: ByteWriter, answersSeq: UInt64, session: Identifier,
        idempotency: Digest? = nil,
        fingerprint: UInt64 = 0, isAcceptedOnly: Bool = false
    ) {
        precondition(entry.seq == nextSeq, "a log has no gap")
        let start = bodies.count
        let part = entry.write(into: bodies)
        entries.append(
            StoredEntry(
                id: entry.id, seq: entry.seq, kind: entry.kind, isInbound: entry.isInbound,
                isAcceptedOnly: isAcceptedOnly, isInternal: entry.isInternal,
                createdAtMilliseconds: entry.createdAtMilliseconds,
                idempotency: idempotency,
                fingerprint: fingerprint, answersSeq: answersSeq, session: session,
                body: ByteRange(start, bodies.count), part: part))
        row.lastSeq = entry.seq
    }

    /// One change of the row, of however many fields.
    mutating func changeRow(_ change: (inout Conversation) -> Void) {
        change(&row)
        row.version += 1
        rowChanged = true
    }
}

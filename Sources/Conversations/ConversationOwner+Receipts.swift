// Read cursors: who has read a conversation up to where, and up to where the end user was given it.
//
// An agent's mark of an internal entry counts as one of the public entry before it, so that no
// cursor tells an end user of what is said among agents. What an agent was given is not known here:
// its `delivered_seq` is its `read_seq`.

import Bytes
import ChatModel

extension ConversationOwner {
    func read(_ mark: ReadMark) {
        guard let state = loaded(mark.conversation, for: .read(mark)) else { return }
        read(mark, in: state)
    }

    private func read(_ mark: ReadMark, in state: ConversationState) {
        guard mayAccess(mark.principal, state) else {
            return refuse(mark, Self.unknownConversation)
        }
        let lastSeq = mark.principal.seesInternal ? state.storedSeq : state.publicSeq
        guard mark.seq <= lastSeq else { return readAhead(mark, in: state, lastSeq) }
        let seq = min(mark.seq, state.publicSeq)
        let userID = mark.principal.subject
        guard seq > state.cursors.cursor(of: userID)?.readSeq ?? 0 else { return accept(mark) }
        guard let place = state.cursors.place(of: userID, endUser: state.row.userID) else {
            counters.refusedFull += 1
            return refuse(mark, Self.tooManyReaders)
        }
        if !mark.origin.isSocket {
            state.cursors.waiters.append(
                ConversationCursors.Waiter(origin: mark.origin, userID: userID, seq: seq))
        }
        if state.cursors.want(readSeq: seq, deliveredSeq: seq, at: place) {
            state.cursors.wantsSave = true
        }
        saveCursors(of: state)
    }

    /// Who reads at the store may know an entry before its owner does: its unit's outcome decides.
    private func readAhead(_ mark: ReadMark, in state: ConversationState, _ lastSeq: UInt64) {
        guard state.inFlight != nil, mark.seq <= state.row.lastSeq else {
            return refuse(
                mark, .invalid("/seq", "range", "seq is beyond the last entry, \(lastSeq)."))
        }
        guard state.cursors.early.count < Limits.readsWaitingPerConversationMax else {
            counters.refusedFull += 1
            return refuse(mark, Self.tooManyReaders)
        }
        state.cursors.early.append(mark)
    }

    /// A unit has its outcome: marks of its entries are looked at again.
    func takeUpEarlyMarks(in state: ConversationState) {
        guard !state.cursors.early.isEmpty else { return }
        let marks = state.cursors.early
        state.cursors.early = []
        for mark in marks { read(mark, in: state) }
    }

    static let tooManyReaders = Problem(
        .temporarilyUnavailable, "Too many readers of this conversation wait for the store.",
        retryAfterSeconds: 1)

    private func accept(_ mark: ReadMark) {
        if !mark.origin.isSocket { succeed(mark.origin, status: 204, Self.nothing) }
    }

    func refuse(_ mark: ReadMark, _ problem: Problem) {
        if mark.origin.isSocket {
            complain(mark.origin, mark.frameID, problem)
        } else {
            fail(mark.origin, nil, problem)
        }
    }

    // MARK: What was delivered

    /// Public entries of a unit were handed to the end user's devices. Replies of a bot alone are
    /// not worth a write: they go with the next.
    func didHandOver(_ state: ConversationState, through seq: UInt64, isWorthAWrite: Bool) {
        let userID = state.row.userID
        guard seq > state.cursors.cursor(of: userID)?.deliveredSeq ?? 0,
            let place = state.cursors.place(of: userID, endUser: userID),
            state.cursors.want(deliveredSeq: seq, at: place), isWorthAWrite
        else { return }
        state.cursors.wantsSave = true
        saveCursors(of: state)
    }

    // MARK: Storing

    private func saveCursors(of state: ConversationState) {
        guard state.cursors.wantsSave, state.cursors.flight == nil else { return }
        state.cursors.wantsSave = false
        let changes = state.cursors.changes()
        // What was asked meanwhile may be less than what has been stored.
        if changes.isEmpty { return }
        let unit = CommitUnit(
            conversation: state.row, rowChange: .none, entries: [], bodies: Self.noBodies,
            cursors: changes, submittedNanoseconds: nowNanoseconds)
        state.cursors.flight = unit
        unitsOnTheirWay += 1
        counters.cursorWrites += 1
        actions.append(.commit(unit))
    }

    private static let noBodies = ByteBlock("")

    func didSaveCursors(_ result: CommitResult) {
        guard let state = conversations[result.unit.conversation.id],
            state.cursors.flight === result.unit
        else { preconditionFailure("an outcome belongs to the unit that is on its way") }
        state.cursors.flight = nil
        unitsOnTheirWay -= 1
        guard case .committed = result.outcome else {
            state.cursors.giveUp()
            for waiter in state.cursors.takeWaiters(all: true) {
                fail(waiter.origin, nil, Self.storeUnavailable)
            }
            return
        }
        for cursor in state.cursors.didStore(result.unit.cursors) {
            encoder.removeAll()
            cursor.writeReceipt(of: state.row.id, into: encoder)
            deliver(encoder.block(), seq: 0, state, audience(of: state), except: nil)
        }
        for waiter in state.cursors.takeWaiters(all: false) {
            succeed(waiter.origin, status: 204, Self.nothing)
        }
        saveCursors(of: state)
    }

    // MARK: Who comes later

    /// What a subscriber is told behind `subscribed`: where everybody is, whether the user is
    /// there, and what of a run is out already.
    func introduce(
        _ state: ConversationState, _ origin: Origin, _ principal: Principal, seq: UInt64
    ) {
        guard mayAccess(principal, state) else { return }
        for participant in state.cursors.participants where participant.cursor.deliveredSeq > 0 {
            encoder.removeAll()
            participant.cursor.writeReceipt(of: state.row.id, into: encoder)
            tell(origin, state.row.id, encoder.block())
        }
        if principal.seesInternal {
            tell(
                origin, state.row.id,
                presenceFrame(state.row.id, state.user, users[state.user]))
        }
        if let run = state.run { show(run, of: state, to: origin) }
        if principal.subject.equals(state.row.userID) {
            didHandOver(state, through: min(seq, state.publicSeq), isWorthAWrite: true)
        }
    }

    private func show(_ run: Run, of state: ConversationState, to origin: Origin) {
        tell(origin, state.row.id, runFrame(run.id, state, "started"))
        guard run.sentBytes > 0, run.frameIndex > 0 else { return }
        tell(
            origin, state.row.id,
            runFrame(
                run.id, state, "delta", index: run.frameIndex - 1, text: run.reply.text,
                range: 0..<run.sentBytes))
    }

    /// A frame for one subscriber alone.
    func tell(_ origin: Origin, _ conversation: Identifier, _ frame: ByteBlock) {
        var answer = Answer(
            origin: origin, frameID: nil,
            result: .success(status: 200, body: ByteSlice(frame), isReplay: false, follow: nil))
        answer.isCounted = false
        answer.isFrame = true
        answer.about = conversation
        actions.append(.answer(answer))
    }
}

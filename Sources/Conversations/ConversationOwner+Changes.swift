// Messages that are edited, deleted or reacted to. Each is an entry about the message, which was
// found before the command came here: what is known of it (its seq, its sender, who may see it)
// never changes.
//
// Only whether it was deleted may. So the owner remembers what was deleted lately: no edit becomes
// an entry, and a frame, behind the redaction of its message.

import Bytes
import ChatModel

extension Command {
    /// True for a change behind the redaction of the same message: whether that is stored must be
    /// known first.
    func follows(redactionIn entries: [StoredEntry]) -> Bool {
        guard case .change(_, let target) = act else { return false }
        return entries.contains { $0.kind == .redaction && $0.answersSeq == target.seq }
    }
}

/// The messages of a conversation that were deleted lately, by what is stored or on its way.
struct RecentRedactions {
    private var seqs: [UInt64] = []
    /// All that were deleted by entries behind this one are here.
    private(set) var knownBehindSeq: UInt64

    init(behind seq: UInt64) { knownBehindSeq = seq }

    func contains(_ seq: UInt64) -> Bool { seqs.contains(seq) }

    mutating func insert(_ seq: UInt64, by redaction: UInt64) {
        if seqs.count == Limits.redactionsRememberedMax {
            seqs.removeAll()
            knownBehindSeq = redaction - 1
        }
        seqs.append(seq)
    }

    /// A unit is not stored.
    mutating func takeBack(_ entries: [StoredEntry]) {
        for entry in entries where entry.kind == .redaction {
            seqs.removeAll { $0 == entry.answersSeq }
        }
    }

    /// Another writer has added to the log what nobody here knows.
    mutating func forget(through seq: UInt64) {
        seqs.removeAll()
        knownBehindSeq = seq
    }
}

extension ConversationOwner {
    func place(
        _ change: MessageChange, _ target: ChangeTarget, _ command: Command,
        in state: ConversationState, _ builder: inout UnitBuilder
    ) {
        if let problem = refusal(of: change, target, state) {
            settleKey(of: command)
            return fail(command.origin, nil, problem)
        }
        if change.deed == .redaction, state.redactions.contains(target.seq) {
            return succeed(command.origin, status: 204, Self.nothing)
        }
        // Who may edit is the sender; anybody else is an agent, or the conversation's user.
        let sender: SenderType =
            change.deed == .edit
            ? target.senderType : command.principal.may(.messageReply) ? .agent : .user
        let entry = Entry(
            id: identifiers.next(
                milliseconds: nowMilliseconds, shardKey: command.conversation.shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: change.entryKind,
            isInbound: sender == .user, isInternal: target.isInternal, senderType: sender,
            senderID: command.principal.subject, channel: builder.row.channel,
            content: change.content, replyTo: change.message,
            createdAtMilliseconds: nowMilliseconds)
        builder.append(
            entry, bodies, answersSeq: target.seq, session: .none,
            idempotency: change.idempotency, fingerprint: change.fingerprint, isAcceptedOnly: true)
        // Known before its outcome is: the next unit is begun while that of this one is told.
        if change.deed == .redaction { state.redactions.insert(target.seq, by: entry.seq) }
    }

    private func refusal(
        of change: MessageChange, _ target: ChangeTarget, _ state: ConversationState
    ) -> Problem? {
        guard change.deed == .edit || change.deed == .reaction else { return nil }
        if state.redactions.contains(target.seq) { return MessageChange.isRedacted }
        guard change.deed == .edit, target.headSeq < state.redactions.knownBehindSeq else {
            return nil
        }
        counters.staleChanges += 1
        return Self.changedMeanwhile
    }

    private static let changedMeanwhile = Problem(
        .conflict, "The conversation changed while this was decided: send it again.",
        retryAfterSeconds: 1)

    func stored(
        _ change: MessageChange, _ target: ChangeTarget, _ command: Command,
        _ entry: StoredEntry, _ unit: CommitUnit, _ state: ConversationState
    ) {
        settleKey(of: command)
        switch change.deed {
        case .edit: show(command, seq: target.seq)
        case .redaction:
            succeed(command.origin, status: 204, Self.nothing)
        case .reaction, .reactionTakenBack:
            succeed(command.origin, status: 201, unit.body(of: entry))
        }
    }

    /// The same change was stored before.
    func replay(
        _ change: MessageChange, _ target: ChangeTarget, _ command: Command, _ found: StoredAnswer
    ) {
        counters.duplicates += 1
        if change.deed == .edit {
            show(command, seq: target.seq, isReplay: true)
        } else {
            succeed(command.origin, status: 201, found.message, isReplay: true)
        }
    }
}

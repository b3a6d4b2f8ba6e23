// Conversations in which nothing is said any more are closed, where the tenant wants that.

import Bytes
import ChatModel

/// What closes a conversation; the label of a metric.
public enum ClosingReason: Int, CaseIterable, Sendable {
    case inactive = 0, agent
}

extension ConversationOwner {
    /// Who looked for it saw it as it was stored; what counts is what is known here.
    func closeInactive(_ id: Identifier) {
        guard let state = loaded(id, for: .closeInactive(id)) else { return }
        guard isInactive(state.row), state.waiting.isEmpty, state.inFlight == nil,
            state.run == nil, state.wantedRuns.isEmpty
        else { return }
        state.waiting.append(.closing)
        pump(state)
    }

    /// Snoozed ones wait for something: they stay.
    private func isInactive(_ row: Conversation) -> Bool {
        let limit = directory[row.tenant].autoCloseSeconds * 1000
        guard limit > 0, row.status == .open || row.status == .pending else { return false }
        return row.updatedAtMilliseconds &+ limit <= nowMilliseconds
    }

    func placeClosing(
        _ item: PendingItem, in state: ConversationState, _ builder: inout UnitBuilder
    ) {
        guard builder.entries.isEmpty, isInactive(builder.row) else { return }
        let before = builder.row.handler
        builder.changeRow { $0.status = .closed }
        let change = Entry(
            id: identifiers.next(
                milliseconds: nowMilliseconds, shardKey: builder.row.id.shardKey),
            conversation: builder.row.id, seq: builder.nextSeq, kind: .status, isInbound: false,
            senderType: .system, senderID: Self.systemID, channel: builder.row.channel,
            content: Self.inactiveContent, createdAtMilliseconds: nowMilliseconds)
        builder.append(change, bodies, answersSeq: 0, session: .none)
        builder.placed.append(
            PlacedItem(
                item: item, firstEntry: 0, replyEntry: nil, entryCount: 1, handlerBefore: before))
    }

    private static let inactiveContent = ByteBlock(
        #"{"type":"event","name":"status","data":{"status":"closed","reason":"inactive"}}"#)

    /// A change of the row is durable.
    func countClosing(_ flight: InFlight, from before: Conversation) {
        let row = flight.unit.conversation
        guard row.status == .closed, before.status != .closed else { return }
        let isInactive = flight.items.contains {
            if case .closing = $0.item { true } else { false }
        }
        let reason = isInactive ? ClosingReason.inactive : .agent
        let place = Int(row.tenant.value) * ClosingReason.allCases.count + reason.rawValue
        while closings.count <= place { closings.append(0) }
        closings[place] += 1
    }
}

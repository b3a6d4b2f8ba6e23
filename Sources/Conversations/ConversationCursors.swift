// The read cursors of one conversation as its owner knows them: the end user's and those of agents.
//
//     asked ──▶ wanted (in memory) ──▶ on its way to the store ──▶ stored, and only now told
//
// One write of a conversation's cursors is on its way at a time; what is asked meanwhile goes with
// the next, however much it is. Whatever is told is stored, so no cursor is ever seen to go back.

import Bytes
import ChatModel

struct ConversationCursors {
    /// Its cursor is what is stored.
    struct Participant {
        var cursor: ReadCursor
        var wantedReadSeq: UInt64
        var wantedDeliveredSeq: UInt64

        init(_ cursor: ReadCursor) {
            self.cursor = cursor
            wantedReadSeq = cursor.readSeq
            wantedDeliveredSeq = cursor.deliveredSeq
        }

        var isAhead: Bool {
            wantedReadSeq > cursor.readSeq || wantedDeliveredSeq > cursor.deliveredSeq
        }
    }

    /// Who asked over HTTP is answered when it is stored.
    struct Waiter {
        let origin: Origin
        let userID: ByteBlock
        let seq: UInt64
    }

    private(set) var participants: [Participant] = []
    private var forgotten: [ByteBlock] = []
    var waiters: [Waiter] = []
    /// Marks of entries that are on their way to the store.
    var early: [ReadMark] = []
    /// The write that is on its way.
    var flight: CommitUnit?
    /// Something is worth a write.
    var wantsSave = false

    init(_ stored: [ReadCursor] = []) { participants = stored.map(Participant.init) }

    var isIdle: Bool {
        flight == nil && !wantsSave && waiters.isEmpty && early.isEmpty
    }

    func cursor(of userID: ByteBlock) -> ReadCursor? {
        participants.first { $0.cursor.userID.equals(userID) }?.cursor
    }

    /// Makes room by forgetting the agent that is furthest behind; nil when each of them is waited
    /// for.
    mutating func place(of userID: ByteBlock, endUser: ByteBlock) -> Int? {
        if let place = participants.firstIndex(where: { $0.cursor.userID.equals(userID) }) {
            return place
        }
        if !userID.equals(endUser) {
            let agents = participants.count { !$0.cursor.userID.equals(endUser) }
            if agents + 1 >= Limits.cursorsPerConversationMax, !forgetAgent(endUser) { return nil }
        }
        forgotten.removeAll { $0.equals(userID) }
        participants.append(Participant(ReadCursor(userID: userID)))
        return participants.count - 1
    }

    private mutating func forgetAgent(_ endUser: ByteBlock) -> Bool {
        let behind = participants.indices
            .filter {
                !participants[$0].isAhead && !participants[$0].cursor.userID.equals(endUser)
            }
            .min { participants[$0].cursor.readSeq < participants[$1].cursor.readSeq }
        guard let behind else { return false }
        forgotten.append(participants.remove(at: behind).cursor.userID)
        return true
    }

    /// True when something is ahead of what is stored now.
    mutating func want(readSeq: UInt64 = 0, deliveredSeq: UInt64, at place: Int) -> Bool {
        let known = participants[place]
        participants[place].wantedReadSeq = max(known.wantedReadSeq, readSeq)
        participants[place].wantedDeliveredSeq = max(
            known.wantedDeliveredSeq, max(readSeq, deliveredSeq))
        return participants[place].isAhead
    }

    /// What a write must hold.
    func changes() -> [CursorChange] {
        var changes: [CursorChange] = forgotten.map { .forget(userID: $0) }
        for participant in participants where participant.isAhead {
            changes.append(
                .advance(
                    ReadCursor(
                        userID: participant.cursor.userID, readSeq: participant.wantedReadSeq,
                        deliveredSeq: participant.wantedDeliveredSeq)))
        }
        return changes
    }

    /// The cursors that are further than they were known to be.
    mutating func didStore(_ changes: [CursorChange]) -> [ReadCursor] {
        var moved: [ReadCursor] = []
        for change in changes {
            switch change {
            case .forget(let userID): forgotten.removeAll { $0.equals(userID) }
            case .advance(let cursor):
                guard
                    let place = participants.firstIndex(where: {
                        $0.cursor.userID.equals(cursor.userID)
                    })
                else { continue }
                participants[place].cursor = cursor
                moved.append(cursor)
            }
        }
        return moved
    }

    /// Nothing of what was wanted is: it may be asked for again.
    mutating func giveUp() {
        wantsSave = false
        for place in participants.indices {
            participants[place] = Participant(participants[place].cursor)
        }
    }

    /// Takes out those whose wish is stored, or all of them.
    mutating func takeWaiters(all: Bool) -> [Waiter] {
        let stored = participants
        func isStored(_ waiter: Waiter) -> Bool {
            stored.contains {
                $0.cursor.userID.equals(waiter.userID) && $0.cursor.readSeq >= waiter.seq
            }
        }
        let taken = waiters.filter { all || isStored($0) }
        waiters = all ? [] : waiters.filter { !isStored($0) }
        return taken
    }
}

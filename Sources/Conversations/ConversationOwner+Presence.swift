// Presence: whether a user has a device connected, as agents see it who follow one of the user's
// conversations.
//
//     online ──last device goes──▶ leaving ──grace over──▶ offline
//        ▲                            │
//        └──── a device comes ◀───────┴──────────────────────┘
//
// In memory alone: after a restart everybody is offline until a device comes, and nobody knows when
// they were last seen.

import Bytes
import ChatModel

extension ConversationOwner {
    // MARK: Devices

    /// A core has a device of this user: a socket or an event stream.
    func attach(_ core: UInt8, _ user: UserState) {
        let wasOnline = user.isOnline
        user.devices |= 1 << UInt64(core)
        user.isLeaving = false
        if !wasOnline { announcePresence(of: user) }
    }

    /// The last device of this user has gone from a core.
    func detach(_ core: UInt8, _ key: UserKey) {
        guard let user = users[key], user.devices != 0 else { return }
        user.devices &= ~(1 << UInt64(core))
        guard user.devices == 0 else { return }
        user.leftNanoseconds = nowNanoseconds
        user.leftMilliseconds = nowMilliseconds
        // Nobody is to be told: then it need not be remembered either.
        guard !user.followed.isEmpty else { return }
        guard leaving.count < Limits.usersLeavingPerShardMax else {
            counters.leftWithoutGrace += 1
            return announcePresence(of: user)
        }
        user.isLeaving = true
        leaving.append(Leaving(key: key, sinceNanoseconds: nowNanoseconds))
    }

    /// Called about once a second: who has been away for the grace period is offline.
    public func settlePresence() {
        let grace = Limits.presenceGraceMilliseconds * 1_000_000
        let over = leaving.prefix { $0.sinceNanoseconds &+ grace <= nowNanoseconds }
        guard !over.isEmpty else { return }
        leaving.removeFirst(over.count)
        for item in over {
            // Those who were back meanwhile have left later, or not at all.
            guard let user = users[item.key], user.isLeaving,
                user.leftNanoseconds == item.sinceNanoseconds
            else { continue }
            user.isLeaving = false
            announcePresence(of: user)
        }
    }

    // MARK: Who follows

    func follow(_ state: ConversationState, _ core: UInt8) {
        if state.followers == 0 { userState(state.user).followed.append(state.row.id) }
        state.follow(core)
    }

    func forget(_ core: UInt8, _ id: Identifier, answers: Int) {
        guard let state = conversations[id], state.followers != 0 else { return }
        state.forget(core, answers: answers)
        if state.followers == 0 { users[state.user]?.followed.removeAll { $0 == id } }
    }

    // MARK: Frames

    /// To agents only: a user's own devices know.
    private func announcePresence(of user: UserState) {
        let shown = user.followed.suffix(Limits.presenceConversationsMax)
        counters.presenceNotTold += user.followed.count - shown.count
        for id in shown {
            guard let state = conversations[id] else { continue }
            deliver(
                presenceFrame(id, user.key, user), seq: 0, isInternal: true, state,
                state.followers, except: nil)
        }
    }

    func presenceFrame(_ conversation: Identifier, _ key: UserKey, _ user: UserState?) -> ByteBlock
    {
        encoder.removeAll()
        encoder.append("{\"type\":\"presence\",\"conversation_id\":\"")
        conversation.write(.conversation, into: encoder)
        encoder.append("\",\"user_id\":")
        encoder.append(json: key.userID)
        if let user, user.isOnline {
            encoder.append(",\"state\":\"online\"}")
            return encoder.block()
        }
        encoder.append(",\"state\":\"offline\"")
        if let left = user?.leftMilliseconds, left > 0 {
            encoder.append(",\"last_seen_at\":\"")
            encoder.append(timestamp: left)
            encoder.append(0x22)
        }
        encoder.append(0x7D)
        return encoder.block()
    }
}

/// Somebody whose last device went.
struct Leaving {
    let key: UserKey
    let sinceNanoseconds: UInt64
}

extension UserState {
    /// As others are shown.
    var isOnline: Bool { devices != 0 || isLeaving }
}

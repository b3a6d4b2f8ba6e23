import Bytes
import ChatModel

/// A message that waits for its reply: what the answer will be made of.
struct Waiter {
    let submission: Submission
    let conversation: Identifier
    let messageID: Identifier
    let seq: UInt64
    let message: ByteSlice
    let session: Identifier
}

/// A reply that is wanted, for one message or for several that were merged.
struct RunRequest {
    var waiters: [Waiter]

    var text: ByteBlock {
        if waiters.count == 1 { return waiters[0].submission.text }
        let writer = ByteWriter(capacity: 256)
        for (index, waiter) in waiters.enumerated() {
            if index > 0 { writer.append(0x0A) }
            writer.append(waiter.submission.text)
        }
        return writer.block()
    }
}

/// A reply that is being streamed.
struct Run {
    let id: Identifier
    let request: RunRequest
    let reply: EngineReply
    /// The handler's token when the run was started.
    let handlerToken: UInt64
    let startedNanoseconds: UInt64
    /// Bytes of the text that were sent, and how many words go into a frame.
    var sentBytes = 0
    var wordsPerFrame = 1
    var frameIndex: UInt64 = 0
    /// The text is out and the final message is on its way into the log.
    var isFinishing = false
}

/// What waits to become entries of the log.
enum PendingItem {
    case message(Submission)
    case command(Command)
    indirect case reply(Run)
    /// Nothing was said for long.
    case closing
}

/// What a unit on its way stands for, so that its outcome can be told to those who wait.
struct InFlight {
    let unit: CommitUnit
    let items: [PlacedItem]
    /// The row as it is stored, when the unit changes it; restored if the unit is refused.
    let rowBefore: Conversation?

    var changesHandler: Bool {
        guard let rowBefore else { return false }
        return rowBefore.handler != unit.conversation.handler
    }
}

/// An item with the entries that it became.
struct PlacedItem {
    let item: PendingItem
    let firstEntry: Int
    /// A reply that was committed together with its message.
    var replyEntry: Int?
    var entryCount: Int
    /// Where the answer of an HTTP client stands among the unit's bodies; empty when it is written
    /// later or goes to a socket.
    var answer = ByteRange.empty
    /// The handler before this item.
    let handlerBefore: Handler

    /// A person wrote to the end user, and waits to see that it has come.
    var isAgentsMessage: Bool {
        guard case .command(let command) = item, case .message(let message) = command.act else {
            return false
        }
        return !message.isInternal
    }
}

/// One conversation as its owner core knows it. A class, since it is reached by id and by user.
final class ConversationState {
    var row: Conversation
    let user: UserKey
    var isStored: Bool
    var waiting: [PendingItem] = []
    var inFlight: InFlight?
    /// A unit is being put together: what is enqueued meanwhile waits for the next.
    var isBuilding = false
    /// A bit for each core that has sockets which follow this conversation.
    private(set) var followers: UInt64 = 0
    /// Answers that told a core to follow, less those that it gave back.
    private var followAnswers: [(core: UInt8, count: Int)] = []
    var run: Run?
    var wantedRuns: [RunRequest] = []
    /// Messages that wait in `wantedRuns`.
    var wantedReplies: Int { wantedRuns.reduce(0) { $0 + $1.waiters.count } }
    var redactions: RecentRedactions
    /// The last stored entry that the end user may see.
    var publicSeq: UInt64 = 0
    var cursors = ConversationCursors()
    /// Second chance of the cache's clock.
    var wasTouched = true

    convenience init(_ stored: StoredConversation) {
        self.init(row: stored.row, isStored: true)
        publicSeq = stored.lastPublicSeq
        cursors = ConversationCursors(stored.cursors)
    }

    init(row: Conversation, isStored: Bool) {
        self.row = row
        user = UserKey(tenant: row.tenant, userID: row.userID)
        self.isStored = isStored
        redactions = RecentRedactions(behind: row.lastSeq)
    }

    /// Called with each answer that tells a core's socket to follow.
    func follow(_ core: UInt8) {
        followers |= 1 << UInt64(core)
        if let place = followAnswers.firstIndex(where: { $0.core == core }) {
            followAnswers[place].count += 1
        } else {
            followAnswers.append((core, 1))
        }
    }

    /// A core without a socket that follows gives back the answers that it has received. One more
    /// that is on its way to it keeps the bit: somebody may follow when it arrives.
    func forget(_ core: UInt8, answers: Int) {
        guard let place = followAnswers.firstIndex(where: { $0.core == core }) else { return }
        followAnswers[place].count -= answers
        guard followAnswers[place].count <= 0 else { return }
        followAnswers.remove(at: place)
        followers &= ~(1 << UInt64(core))
    }

    /// The last entry that is known to be stored; `row.lastSeq` is ahead of it while a unit is on
    /// its way.
    var storedSeq: UInt64 { inFlight.map { $0.unit.entries[0].seq - 1 } ?? row.lastSeq }

    /// Nothing would be lost if this were read again from the store.
    var isIdle: Bool {
        isStored && waiting.isEmpty && inFlight == nil && run == nil && wantedRuns.isEmpty
            && followers == 0 && cursors.isIdle
    }

    func assertInvariant() {
        assert(inFlight == nil || !inFlight!.unit.entries.isEmpty, "a unit holds entries")
        assert(
            run == nil || row.handler.token >= run!.handlerToken, "a handler's token never falls")
    }
}

/// A user as its owner core knows it.
final class UserState {
    let key: UserKey
    var isLoaded = false
    /// The open conversation of each channel, by the channel's raw value.
    var open: [Identifier?] = Array(repeating: nil, count: Channel.allCases.count)
    var session: Identifier?
    var sessionSeenMilliseconds: UInt64 = 0
    /// What named itself during the session.
    var deviceList: [Device] = []
    /// A bit for each core that has sockets of this user.
    var devices: UInt64 = 0
    /// Conversations of this user that somebody follows.
    var followed: [Identifier] = []
    /// The last device went, and may be back in a moment: the user is still shown as online.
    var isLeaving = false
    var leftNanoseconds: UInt64 = 0
    var leftMilliseconds: UInt64 = 0
    /// Messages that wait for the user's conversations to be read.
    var waiting: [Submission] = []
    var wasTouched = true

    init(_ key: UserKey) { self.key = key }

    /// While the user is being read something waits, so one that is not loaded may be idle too.
    var isIdle: Bool { devices == 0 && waiting.isEmpty && !isLeaving && followed.isEmpty }
}

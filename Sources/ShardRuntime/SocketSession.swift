import Bytes
import ChatModel
import Ingest
import Wire

/// A socket's place in one conversation's log.
struct Subscription {
    enum State: Equatable {
        /// The owner has been asked; `cursor` holds the client's `after_seq`.
        case asked
        /// Entries are read from the store; live ones are only noted in `headSeq`.
        case replaying
        case live
        /// The client does not want it, although it is its user's.
        case muted
    }

    var state: State
    /// The last entry that was sent.
    var cursor: UInt64
    /// The last entry that is known of.
    var headSeq: UInt64
    /// The `id` of the subscribe frame that is answered at the end of the replay.
    var frameID: ByteBlock?
    /// False for the user's own conversations that came without being asked for.
    var isFollower: Bool
    /// A page of the replay is being read.
    var isReading = false
    /// The last entry that the page being read may hold.
    var readThroughSeq: UInt64 = 0
    /// The question that was last asked for it, of the owner or of the store: an answer to one
    /// before may still be on its way.
    var question: UInt32 = 0
    /// The replay fills a hole that the client does not know of: nothing is said at its end.
    var isCatchingUp = false
}

/// A subscriber: the socket side of a connection, or what only reads: an event
/// stream, or a request that waits for an entry.
final class SocketSession {
    enum Kind { case chat, echo, broadcast, events, poll }
    enum State { case anonymous, connecting, open, closing }

    let kind: Kind
    var state: State
    var inbound: WebSocketInbound
    let deflate: DeflateParameters?
    /// Set on event streams.
    var stream: EventStream?
    /// Set on requests that wait.
    var poll: HistoryPoll?
    var principal: Principal?
    var user: UserKey?
    var shardKey: UInt16 = 0
    var deviceID: ByteBlock?
    var subscriptions: [Identifier: Subscription] = [:]
    /// Messages and commands that have no answer yet.
    var inFlight = 0
    var refusedInARow = 0
    var questionCount: UInt32 = 0
    /// Conversations in which it has started to type and not stopped.
    var typing: [Identifier] = []
    var awaitsPong = false
    var frames = FrameBudget(
        perSecond: Limits.framesPerSecondMax, burst: Limits.framesAtOnceMax)
    var isForgotten = false
    let requestID: ByteBlock

    init(kind: Kind, messageBytesMax: Int, deflate: DeflateParameters?, requestID: ByteBlock) {
        self.kind = kind
        self.deflate = deflate
        self.requestID = requestID
        inbound = WebSocketInbound(messageBytesMax: messageBytesMax, deflate: deflate)
        state =
            switch kind {
            case .chat: .anonymous
            case .events, .poll: .connecting
            case .echo, .broadcast: .open
            }
    }

    /// False for end users: what agents say among themselves is not for them.
    var seesInternal: Bool { principal?.seesInternal ?? false }

    func maySee(_ delivery: Delivery) -> Bool { !delivery.isInternal || seesInternal }

    /// Of what is no entry.
    func wants(_ delivery: Delivery) -> Bool {
        guard maySee(delivery) else { return false }
        guard let subject = delivery.unlessSubject else { return true }
        return principal.map { !$0.subject.equals(subject) } ?? true
    }
}

import Bytes

/// Where an answer goes: a connection of a core, and there an HTTP exchange or a socket's frame.
public struct Origin: Sendable, Equatable {
    public var core: UInt8
    public var isSocket: Bool
    public var token: Token
    /// Which request of the connection, counted from its start; for a socket, which question
    /// about a subscription, and 0 otherwise.
    public var ordinal: UInt32

    public init(core: UInt8, isSocket: Bool, token: Token, ordinal: UInt32) {
        self.core = core
        self.isSocket = isSocket
        self.token = token
        self.ordinal = ordinal
    }
}

/// A message on its way to the owner of its conversation: validated, with its sender's rights.
public final class Submission: Sendable {
    public let origin: Origin
    /// The client's id of the frame, for a socket.
    public let frameID: ByteBlock?
    public let principal: Principal
    public let user: UserKey
    public let shardKey: UInt16
    public let conversation: Identifier?
    public let channel: Channel
    public let contentType: ContentType
    /// Canonical JSON of the content object.
    public let content: ByteBlock
    /// What the engine reads: the text, or a pressed reply's title.
    public let text: ByteBlock
    public let clientMessageID: ByteBlock?
    public let idempotency: Digest?
    public let fingerprint: UInt64
    public let replyTo: Identifier?
    public let metadata: ByteBlock?
    /// False with `Prefer: respond-async` and for sockets: answered as soon as the message is
    /// stored.
    public let waitsForReply: Bool
    public let arrivedNanoseconds: UInt64

    public init(
        origin: Origin, frameID: ByteBlock?, principal: Principal, user: UserKey, shardKey: UInt16,
        conversation: Identifier?, channel: Channel, contentType: ContentType, content: ByteBlock,
        text: ByteBlock,
        clientMessageID: ByteBlock?, idempotency: Digest?, fingerprint: UInt64,
        replyTo: Identifier?,
        metadata: ByteBlock?, waitsForReply: Bool, arrivedNanoseconds: UInt64
    ) {
        self.origin = origin
        self.frameID = frameID
        self.principal = principal
        self.user = user
        self.shardKey = shardKey
        self.conversation = conversation
        self.channel = channel
        self.contentType = contentType
        self.content = content
        self.text = text
        self.clientMessageID = clientMessageID
        self.idempotency = idempotency
        self.fingerprint = fingerprint
        self.replyTo = replyTo
        self.metadata = metadata
        self.waitsForReply = waitsForReply
        self.arrivedNanoseconds = arrivedNanoseconds
    }

    /// True when this is the request that was stored under the same key: the same body, and the
    /// same conversation if one is named (who sends again may have learned its id meanwhile).
    public func isSame(fingerprint: UInt64, _ conversation: Identifier) -> Bool {
        self.fingerprint == fingerprint && (self.conversation ?? conversation) == conversation
    }
}

/// What an owner answers to a connection.
public struct Answer: Sendable {
    public enum Result: Sendable {
        /// `body` is the JSON of an HTTP answer or of a socket's frame. `follow` subscribes a
        /// socket to the conversation from the entry behind `seq` on.
        case success(status: Int, body: ByteSlice, isReplay: Bool, follow: Follow?)
        case failure(Problem)
    }

    /// A socket that has been let into a conversation, and the head of its log then.
    public struct Follow: Sendable {
        public let conversation: Identifier
        public let seq: UInt64
        /// Entries up to here are on their way to the store: who reads there may know them before
        /// their owner does.
        public let newestSeq: UInt64

        public init(conversation: Identifier, seq: UInt64, newestSeq: UInt64 = 0) {
            self.conversation = conversation
            self.seq = seq
            self.newestSeq = max(seq, newestSeq)
        }
    }

    public let origin: Origin
    public let frameID: ByteBlock?
    public let result: Result
    /// False for refusals of typing and cancel, which nobody waits for.
    public var isCounted = true
    /// The conversation that a subscription was refused for.
    public var about: Identifier?
    /// A conversation that is to be shown in place of the body, as the store has it now.
    public var shows: Identifier?
    /// With `shows`: of its messages, the one at this seq in place of it; 0 for none.
    public var showsSeq: UInt64 = 0
    /// The body is a frame for this subscriber alone, if it still follows `about`.
    public var isFrame = false
    /// Of the conversation that the body shows; 0 for none.
    public var version: UInt64 = 0

    public init(origin: Origin, frameID: ByteBlock?, result: Result) {
        self.origin = origin
        self.frameID = frameID
        self.result = result
    }
}

/// A frame for everybody on a core who follows the conversation or is its user.
public struct Delivery: Sendable {
    public let conversation: Identifier
    public let user: UserKey
    /// The entry's place in the log; 0 for frames that are not part of it (typing, runs).
    public let seq: UInt64
    public let payload: ByteBlock
    /// Only for sockets of who may see internal entries; others go on behind it.
    public let isInternal: Bool
    /// The socket that caused it and does not want it back.
    public let except: Origin?
    /// Not for any device of who has this name either.
    public let unlessSubject: ByteBlock?

    public init(
        conversation: Identifier, user: UserKey, seq: UInt64, payload: ByteBlock,
        isInternal: Bool = false, except: Origin?, unlessSubject: ByteBlock? = nil
    ) {
        self.unlessSubject = unlessSubject
        self.conversation = conversation
        self.user = user
        self.seq = seq
        self.payload = payload
        self.isInternal = isInternal
        self.except = except
    }
}

/// Somebody has read a conversation up to an entry.
public struct ReadMark: Sendable {
    public let origin: Origin
    public let frameID: ByteBlock?
    public let principal: Principal
    public let conversation: Identifier
    public let seq: UInt64

    public init(
        origin: Origin, frameID: ByteBlock?, principal: Principal, conversation: Identifier,
        seq: UInt64
    ) {
        self.origin = origin
        self.frameID = frameID
        self.principal = principal
        self.conversation = conversation
        self.seq = seq
    }
}

/// What a core asks of the owner of a conversation or of a user.
public enum OwnerRequest: Sendable {
    case submit(Submission)
    case command(Command)
    case subscribe(Origin, frameID: ByteBlock?, Principal, Identifier)
    /// No socket of this core follows the conversation any more. `answers` is how many answers
    /// with a `follow` have come since the core last said so: one may still be on its way.
    case forget(core: UInt8, Identifier, answers: Int)
    /// A socket of this user has come to the core; answered with the text of the user's session id.
    case connect(Origin, UserKey, shardKey: UInt16)
    /// An event stream of this user has come to the core.
    case attach(core: UInt8, UserKey)
    /// Nothing was said in it for so long that it may be closed.
    case closeInactive(Identifier)
    /// The last socket or stream of this user has gone from this core.
    case detach(core: UInt8, UserKey)
    case typing(Origin, frameID: ByteBlock?, Principal, Identifier, isStart: Bool)
    case cancel(Origin, frameID: ByteBlock?, Principal, run: Identifier)
    case read(ReadMark)
    /// A subscriber has been shown the log up to `seq`: it is told what no entry says.
    case introduce(Origin, Principal, Identifier, seq: UInt64)
    /// A socket that named its device has come, or has gone.
    case deviceCame(UserKey, ByteBlock)
    case deviceWent(UserKey, ByteBlock)
    case session(Origin, Principal, Identifier)
    case sessions(Origin, UserKey)
    case endSession(Origin, Principal, Identifier)
}

/// What an engine says to a message.
public struct EngineReply: Sendable {
    /// The content object as canonical JSON.
    public let content: ByteBlock
    /// Its plain text, streamed while the run goes on.
    public let text: ByteBlock
    /// A human is to take over.
    public let handsOff: Bool

    public init(content: ByteBlock, text: ByteBlock, handsOff: Bool) {
        self.content = content
        self.text = text
        self.handsOff = handsOff
    }
}

/// An engine that knows its answer at once, without waiting for anything.
public protocol ReplyEngine: AnyObject {
    /// nil: nothing to say.
    func reply(to text: ByteBlock, contentType: ContentType) -> EngineReply?
}

// What goes between the owner of a conversation and a message store, whatever the store is.

import Bytes

/// Names the scope and key of an idempotent request: a hash of the user, then 64 bits of the
/// SHA-256 of tenant, user and key.
public struct Digest: Hashable, Sendable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// One entry as it is stored: the columns that are searched by, and where its body stands among its
/// unit's. Plain words, so that arrays of it are copied and dropped without a look at each.
public struct StoredEntry: Sendable, BitwiseCopyable {
    public var id: Identifier
    public var seq: UInt64
    public var kind: EntryKind
    public var isInbound: Bool
    /// The sender did not wait for the reply, so that a replay of its request is answered without
    /// it too.
    public var isAcceptedOnly: Bool
    /// The end user never sees it.
    public var isInternal: Bool
    public var createdAtMilliseconds: UInt64
    /// Set on messages that a client named; unique among all messages of the store.
    public var idempotency: Digest?
    /// Of the request that the key came with; another request under the same key is refused.
    public var fingerprint: UInt64
    /// The seq of the message that this entry answers; 0 for none.
    public var answersSeq: UInt64
    public var session: Identifier
    /// The Message object of the public interface.
    public var body: ByteRange
    /// What of the body its columns do not say (`Entry.write`).
    public var part: ByteRange

    public init(
        id: Identifier, seq: UInt64, kind: EntryKind, isInbound: Bool, isAcceptedOnly: Bool = false,
        isInternal: Bool = false, createdAtMilliseconds: UInt64, idempotency: Digest?,
        fingerprint: UInt64,
        answersSeq: UInt64, session: Identifier, body: ByteRange, part: ByteRange
    ) {
        self.id = id
        self.seq = seq
        self.kind = kind
        self.isInbound = isInbound
        self.isAcceptedOnly = isAcceptedOnly
        self.isInternal = isInternal
        self.createdAtMilliseconds = createdAtMilliseconds
        self.idempotency = idempotency
        self.fingerprint = fingerprint
        self.answersSeq = answersSeq
        self.session = session
        self.body = body
        self.part = part
    }
}

/// What happens to a conversation's row together with its entries.
public enum RowChange: Sendable { case none, insert, update }

/// Entries of one conversation that become durable together or not at all. At most one such unit of
/// a conversation is on its way, so that their order holds. A unit without entries moves cursors;
/// at most one of these is on its way beside it.
public final class CommitUnit: Sendable {
    public let conversation: Conversation
    public let rowChange: RowChange
    public let entries: [StoredEntry]
    /// All their bodies; other bytes may stand between them.
    public let bodies: ByteBlock
    public let cursors: [CursorChange]
    public let submittedNanoseconds: UInt64

    public init(
        conversation: Conversation, rowChange: RowChange, entries: [StoredEntry],
        bodies: ByteBlock, cursors: [CursorChange] = [], submittedNanoseconds: UInt64
    ) {
        self.cursors = cursors
        self.conversation = conversation
        self.rowChange = rowChange
        self.entries = entries
        self.bodies = bodies
        self.submittedNanoseconds = submittedNanoseconds
    }

    public func body(of entry: StoredEntry) -> ByteSlice { ByteSlice(bodies, entry.body) }
}

/// A message that was found under an idempotency key, and the reply that it got.
public final class StoredAnswer: Sendable {
    public let conversation: Identifier
    public let messageID: Identifier
    public let seq: UInt64
    public let fingerprint: UInt64
    public let session: Identifier
    public let message: ByteSlice
    /// nil: none is stored, or the sender did not wait for it.
    public let reply: ByteSlice?

    public init(
        conversation: Identifier, messageID: Identifier, seq: UInt64, fingerprint: UInt64,
        session: Identifier,
        message: ByteSlice, reply: ByteSlice?
    ) {
        self.conversation = conversation
        self.messageID = messageID
        self.seq = seq
        self.fingerprint = fingerprint
        self.session = session
        self.message = message
        self.reply = reply
    }
}

public enum CommitOutcome: Sendable {
    case committed
    /// The entry at this index has a key that is stored already; nothing of the unit was kept.
    case duplicate(index: Int, StoredAnswer)
    /// Another writer took a seq; nothing was kept. `lastSeq` is the log's head now.
    case conflict(lastSeq: UInt64)
    /// The store cannot write; nothing was kept.
    case unavailable
}

public struct CommitResult: Sendable {
    public let unit: CommitUnit
    public let outcome: CommitOutcome

    public init(unit: CommitUnit, outcome: CommitOutcome) {
        self.unit = unit
        self.outcome = outcome
    }
}

/// What an owner reads before it can decide.
public enum OwnerRead: Sendable {
    /// The user's conversations that are not closed, newest first, at most one per channel.
    case user(UserKey)
    case conversation(Identifier)
}

public enum OwnerReadResult: Sendable {
    case user(UserKey, [StoredConversation])
    case conversation(Identifier, StoredConversation?)
    case unavailable(OwnerRead)
}

/// A conversation as its owner takes it up.
public struct StoredConversation: Sendable {
    public let row: Conversation
    /// The last entry that the end user may see; 0 for none.
    public let lastPublicSeq: UInt64
    /// The end user's and those of agents, at most `Limits.cursorsPerConversationMax`.
    public let cursors: [ReadCursor]

    public init(row: Conversation, lastPublicSeq: UInt64, cursors: [ReadCursor]) {
        self.row = row
        self.lastPublicSeq = lastPublicSeq
        self.cursors = cursors
    }
}

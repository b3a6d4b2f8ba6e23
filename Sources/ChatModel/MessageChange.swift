// What may become of a message that is in the log: it is edited, deleted or reacted to. Each of
// these is an entry of its own that names the message; nothing that is in the log is written again.

import Bytes

/// A change of one message, validated. Who asks for it, and for which conversation, is said beside.
public struct MessageChange: Sendable {
    public enum Deed: Sendable, Equatable {
        case edit, redaction
        case reaction
        /// A reaction without an emoji: the sender's last one is taken back.
        case reactionTakenBack
    }

    public let deed: Deed
    public let message: Identifier
    /// What the entry says, as canonical JSON; of an edit it is the message's new content.
    public let content: ByteBlock
    public let idempotency: Digest?
    public let fingerprint: UInt64

    public init(
        deed: Deed, message: Identifier, content: ByteBlock, idempotency: Digest? = nil,
        fingerprint: UInt64 = 0
    ) {
        self.deed = deed
        self.message = message
        self.content = content
        self.idempotency = idempotency
        self.fingerprint = fingerprint
    }

    public var entryKind: EntryKind {
        switch deed {
        case .edit: .edit
        case .redaction: .redaction
        case .reaction, .reactionTakenBack: .reaction
        }
    }

    public static func redaction(of message: Identifier) -> MessageChange {
        let writer = ByteWriter(capacity: 128)
        writer.append("{\"type\":\"event\",\"name\":\"redaction\",\"data\":{\"message_id\":\"")
        message.write(.message, into: writer)
        writer.append("\"}}")
        return MessageChange(deed: .redaction, message: message, content: writer.block())
    }

    /// An empty emoji takes the sender's reaction back.
    public static func reaction(
        to message: Identifier, emoji: ByteBlock, idempotency: Digest? = nil,
        fingerprint: UInt64 = 0
    ) -> MessageChange {
        let writer = ByteWriter(capacity: 192)
        writer.append("{\"type\":\"reaction\",\"message_id\":\"")
        message.write(.message, into: writer)
        writer.append("\",\"emoji\":")
        writer.append(json: emoji)
        writer.append(0x7D)
        return MessageChange(
            deed: emoji.count == 0 ? .reactionTakenBack : .reaction, message: message,
            content: writer.block(), idempotency: idempotency, fingerprint: fingerprint)
    }
}

/// The message that a change is about, as the store has it.
public struct ChangeTarget: Sendable {
    public let seq: UInt64
    public let senderType: SenderType
    /// The sender's id is the subject of who asks.
    public let isFromSubject: Bool
    public let isInternal: Bool
    public let isRedacted: Bool
    /// The log says already what is asked for.
    public let known: Known?
    /// Where the log ended when this was read.
    public let headSeq: UInt64

    /// What says so already.
    public struct Known: Sendable {
        /// The sender's last reaction; nil: none was ever made, or it is not about a reaction.
        public let entry: ByteSlice?
        /// It came with the same idempotency key.
        public let isReplay: Bool

        public init(entry: ByteSlice?, isReplay: Bool) {
            self.entry = entry
            self.isReplay = isReplay
        }
    }

    public init(
        seq: UInt64, senderType: SenderType, isFromSubject: Bool, isInternal: Bool,
        isRedacted: Bool, known: Known? = nil, headSeq: UInt64
    ) {
        self.seq = seq
        self.senderType = senderType
        self.isFromSubject = isFromSubject
        self.isInternal = isInternal
        self.isRedacted = isRedacted
        self.known = known
        self.headSeq = headSeq
    }
}

public enum ChangeDecision: Sendable {
    case refuse(Problem)
    /// Nothing is to be done.
    case unchanged(ChangeTarget.Known)
    case proceed
}

extension MessageChange {
    /// Whoever may see a message may react to it. Its sender may edit and delete it, and who
    /// replies for the tenant may delete any.
    public func decision(on target: ChangeTarget, by principal: Principal) -> ChangeDecision {
        let replies = principal.may(.messageReply)
        // A user may have the name of an agent or of a bot: that makes nobody's message its own.
        let isOwn =
            target.isFromSubject
            && (target.senderType == .user || replies && target.senderType == .agent)
        switch deed {
        case .edit where !isOwn:
            return .refuse(Problem(.forbidden, "Only who sent a message may edit it."))
        case .redaction where !isOwn && !replies:
            return .refuse(
                Problem(.forbidden, "Only who sent a message, or an agent, may delete it."))
        case .redaction where target.isRedacted:
            return .unchanged(ChangeTarget.Known(entry: nil, isReplay: false))
        case .edit where target.isRedacted, .reaction where target.isRedacted:
            return .refuse(Self.isRedacted)
        default: return target.known.map { .unchanged($0) } ?? .proceed
        }
    }

    /// Not a matter of time: it stays deleted.
    public static let isRedacted = Problem(.conflict, "The message was deleted.")
}

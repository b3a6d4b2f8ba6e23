// What is asked of a conversation beside a user's message: to change it, or to add an entry to it.

import Bytes

/// A field that may be left alone, cleared or set.
public enum FieldChange<Value: Sendable>: Sendable {
    case unchanged
    case cleared
    case set(Value)

    public var isChange: Bool { if case .unchanged = self { false } else { true } }
}

/// Which version of a conversation a change was decided on (If-Match).
public enum VersionCondition: Sendable {
    case none
    /// One of these; a tag that is no version stands for nothing here.
    case anyOf([UInt64])

    public func holds(for version: UInt64) -> Bool {
        switch self {
        case .none: true
        case .anyOf(let versions): versions.contains(version)
        }
    }

    public var isConditional: Bool { if case .none = self { false } else { true } }
}

/// What is to be changed of a conversation's row; what is nil or unchanged stays.
public struct ConversationPatch: Sendable {
    public var condition = VersionCondition.none
    public var status: ConversationStatus?
    public var assignee = FieldChange<ByteBlock>.unchanged
    /// A JSON array of strings, none twice; cleared for none.
    public var labels = FieldChange<ByteBlock>.unchanged
    public var priority: ConversationPriority?
    public var handler: HandlerType?
    public var handlerID: ByteBlock?
    /// A JSON object; cleared for an empty one.
    public var attributes = FieldChange<ByteBlock>.unchanged

    public init() {}
}

/// What an agent says: to the user, or to other agents.
public struct AgentMessage: Sendable {
    /// Canonical JSON of the content object.
    public let content: ByteBlock
    public let isInternal: Bool
    public let clientMessageID: ByteBlock?
    public let idempotency: Digest?
    public let fingerprint: UInt64
    public let replyTo: Identifier?
    public let metadata: ByteBlock?

    public init(
        content: ByteBlock, isInternal: Bool, clientMessageID: ByteBlock? = nil,
        idempotency: Digest? = nil, fingerprint: UInt64 = 0, replyTo: Identifier? = nil,
        metadata: ByteBlock? = nil
    ) {
        self.content = content
        self.isInternal = isInternal
        self.clientMessageID = clientMessageID
        self.idempotency = idempotency
        self.fingerprint = fingerprint
        self.replyTo = replyTo
        self.metadata = metadata
    }
}

/// A request on its way to the owner of a conversation: validated, with its sender's rights.
public final class Command: Sendable {
    public enum Act: Sendable {
        case patch(ConversationPatch)
        case message(AgentMessage)
        case change(MessageChange, of: ChangeTarget)
    }

    public let origin: Origin
    public let principal: Principal
    public let conversation: Identifier
    public let act: Act

    public init(origin: Origin, principal: Principal, conversation: Identifier, act: Act) {
        self.origin = origin
        self.principal = principal
        self.conversation = conversation
        self.act = act
    }

    /// The key under which the request may be sent again.
    public var idempotency: Digest? {
        switch act {
        case .message(let message): message.idempotency
        case .change(let change, _): change.idempotency
        case .patch: nil
        }
    }
}

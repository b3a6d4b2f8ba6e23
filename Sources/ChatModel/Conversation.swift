// A conversation as it stands: who it belongs to, its channel, status, handler and head.

import Bytes

public enum ConversationStatus: UInt8, Sendable, CaseIterable {
    case open = 0, pending, snoozed, closed

    public var name: StaticString {
        switch self {
        case .open: "open"
        case .pending: "pending"
        case .snoozed: "snoozed"
        case .closed: "closed"
        }
    }

    public init?(_ text: RawSpan) {
        for status in ConversationStatus.allCases where text.equals(status.name) {
            self = status; return
        }
        return nil
    }
}

public enum HandlerType: UInt8, Sendable {
    case bot = 0, human
}

/// Who answers a conversation. `token` is a fencing number: it grows at each change, and a reply
/// that was started under an older token is refused.
public struct Handler: Sendable, Equatable {
    public var type: HandlerType
    public var token: UInt64

    public init(type: HandlerType, token: UInt64) {
        self.type = type
        self.token = token
    }
}

/// A conversation's row: what is stored beside its log.
public struct Conversation: Sendable {
    public var id: Identifier
    public var tenant: TenantIndex
    public var userID: ByteBlock
    public var channel: Channel
    public var status: ConversationStatus
    public var handler: Handler
    public var lastSeq: UInt64
    public var createdAtMilliseconds: UInt64
    public var updatedAtMilliseconds: UInt64
    /// Grows at each change of the row (not at each entry).
    public var version: UInt64
    /// Most conversations have none, so a row carries one reference for all of them.
    private var boxedDetails: DetailsBox?

    public var details: ConversationDetails {
        get { boxedDetails?.details ?? ConversationDetails() }
        set { boxedDetails = newValue.isEmpty ? nil : DetailsBox(newValue) }
    }

    /// False while all details have their first values, which most conversations keep.
    public var hasDetails: Bool { boxedDetails != nil }

    public init(
        id: Identifier, tenant: TenantIndex, userID: ByteBlock, channel: Channel,
        status: ConversationStatus = .open, handler: Handler = Handler(type: .bot, token: 1),
        lastSeq: UInt64 = 0, createdAtMilliseconds: UInt64, updatedAtMilliseconds: UInt64,
        version: UInt64 = 1
    ) {
        self.id = id
        self.tenant = tenant
        self.userID = userID
        self.channel = channel
        self.status = status
        self.handler = handler
        self.lastSeq = lastSeq
        self.createdAtMilliseconds = createdAtMilliseconds
        self.updatedAtMilliseconds = updatedAtMilliseconds
        self.version = version
    }

    /// Whoever answers from here on, no reply that was begun before lands any more.
    public mutating func hand(to type: HandlerType, id: ByteBlock?) {
        handler = Handler(type: type, token: handler.token + 1)
        if hasDetails || id != nil { details.handlerID = id }
    }

    /// The Conversation object of the public interface. `unread` counts outbound messages behind
    /// the user's own last one and the last that it has read.
    public func write(into writer: ByteWriter, unread: UInt64) {
        writer.append("{\"id\":\"")
        id.write(.conversation, into: writer)
        writer.append("\",\"user_id\":")
        writer.append(json: userID)
        writer.append(",\"channel\":\"")
        writer.append(channel.name)
        writer.append("\",\"status\":\"")
        writer.append(status.name)
        writer.append(
            handler.type == .bot
                ? "\",\"handler\":{\"type\":\"bot\"" : "\",\"handler\":{\"type\":\"human\"")
        if let box = boxedDetails {
            box.details.write(token: handler.token, into: writer)
        } else {
            writer.append(",\"token\":")
            writer.append(decimal: handler.token)
            writer.append("},\"labels\":[],\"priority\":\"normal\",\"attributes\":{}")
        }
        writer.append(",\"last_seq\":")
        writer.append(decimal: lastSeq)
        writer.append(",\"unread\":")
        writer.append(decimal: unread)
        writer.append(",\"created_at\":\"")
        writer.append(timestamp: createdAtMilliseconds)
        writer.append("\",\"updated_at\":\"")
        writer.append(timestamp: updatedAtMilliseconds)
        writer.append("\",\"version\":")
        writer.append(decimal: version)
        writer.append(0x7D)
    }
}

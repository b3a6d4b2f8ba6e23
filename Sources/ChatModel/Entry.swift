import Bytes

/// Where a message came from or goes to. The raw value is stored.
public enum Channel: UInt8, Sendable, CaseIterable {
    case web = 0, whatsapp, messenger, slack, teams, sms, voice, http

    public var name: StaticString {
        switch self {
        case .web: "web"
        case .whatsapp: "whatsapp"
        case .messenger: "messenger"
        case .slack: "slack"
        case .teams: "teams"
        case .sms: "sms"
        case .voice: "voice"
        case .http: "http"
        }
    }

    public init?(_ text: RawSpan) {
        for channel in Channel.allCases where text.equals(channel.name) { self = channel; return }
        return nil
    }
}

/// What an entry of the log is. The raw value is stored.
public enum EntryKind: UInt8, Sendable, BitwiseCopyable {
    case message = 0, edit, redaction, reaction, status, handler, assignment, label, run

    public var name: StaticString {
        switch self {
        case .message: "message"
        case .edit: "edit"
        case .redaction: "redaction"
        case .reaction: "reaction"
        case .status: "status"
        case .handler: "handler"
        case .assignment: "assignment"
        case .label: "label"
        case .run: "run"
        }
    }
}

public enum SenderType: UInt8, Sendable {
    case user = 0, bot, agent, system

    public var name: StaticString {
        switch self {
        case .user: "user"
        case .bot: "bot"
        case .agent: "agent"
        case .system: "system"
        }
    }
}

/// The types of `content.type` (contract section 3).
public enum ContentType: UInt8, Sendable, CaseIterable {
    case text = 0, image, audio, video, file, location, contact, buttons, quickReplies, list,
        carousel
    case template, reply, reaction, event

    public var name: StaticString {
        switch self {
        case .text: "text"
        case .image: "image"
        case .audio: "audio"
        case .video: "video"
        case .file: "file"
        case .location: "location"
        case .contact: "contact"
        case .buttons: "buttons"
        case .quickReplies: "quick_replies"
        case .list: "list"
        case .carousel: "carousel"
        case .template: "template"
        case .reply: "reply"
        case .reaction: "reaction"
        case .event: "event"
        }
    }

    public init?(_ text: RawSpan) {
        for type in ContentType.allCases where text.equals(type.name) { self = type; return }
        return nil
    }
}

/// One entry of a conversation's log before it is encoded.
public struct Entry: Sendable {
    public var id: Identifier
    public var conversation: Identifier
    public var seq: UInt64
    public var kind: EntryKind
    public var isInbound: Bool
    /// Agents see it, and the end user never does.
    public var isInternal: Bool
    public var senderType: SenderType
    public var senderID: ByteBlock
    public var channel: Channel
    /// The content object as canonical JSON.
    public var content: ByteBlock
    public var replyTo: Identifier?
    public var clientMessageID: ByteBlock?
    /// The metadata object as canonical JSON; nil means `{}`.
    public var metadata: ByteBlock?
    public var createdAtMilliseconds: UInt64

    public init(
        id: Identifier, conversation: Identifier, seq: UInt64, kind: EntryKind, isInbound: Bool,
        isInternal: Bool = false, senderType: SenderType, senderID: ByteBlock, channel: Channel,
        content: ByteBlock,
        replyTo: Identifier? = nil, clientMessageID: ByteBlock? = nil, metadata: ByteBlock? = nil,
        createdAtMilliseconds: UInt64
    ) {
        self.id = id
        self.conversation = conversation
        self.seq = seq
        self.kind = kind
        self.isInbound = isInbound
        self.isInternal = isInternal
        self.senderType = senderType
        self.senderID = senderID
        self.channel = channel
        self.content = content
        self.replyTo = replyTo
        self.clientMessageID = clientMessageID
        self.metadata = metadata
        self.createdAtMilliseconds = createdAtMilliseconds
    }

    /// The Message object of the public interface. It is written once, when `seq` is known; what
    /// is answered, replayed and delivered are these same bytes. Returns where its own part stands:
    /// all between the fields that `EntryHead` can write again.
    @discardableResult
    public func write(into writer: ByteWriter) -> ByteRange {
        let head = EntryHead(
            id: id, conversation: conversation, seq: seq, kind: kind, isInbound: isInbound,
            isInternal: isInternal, createdAtMilliseconds: createdAtMilliseconds)
        head.writeBegin(into: writer)
        let start = writer.count
        writer.append(",\"sender\":{\"type\":\"")
        writer.append(senderType.name)
        writer.append("\",\"id\":")
        writer.append(json: senderID)
        writer.append("},\"channel\":\"")
        writer.append(channel.name)
        writer.append("\",\"content\":")
        writer.append(content)
        if let replyTo {
            writer.append(",\"reply_to\":\"")
            replyTo.write(.message, into: writer)
            writer.append(0x22)
        }
        if let clientMessageID {
            writer.append(",\"client_message_id\":")
            writer.append(json: clientMessageID)
        }
        writer.append(",\"metadata\":")
        if let metadata { writer.append(metadata) } else { writer.append("{}") }
        let end = writer.count
        head.writeEnd(into: writer)
        return ByteRange(start, end)
    }
}

/// The fields of an entry that stand at the two ends of its object, around its own part.
public struct EntryHead: Sendable {
    public let id: Identifier
    public let conversation: Identifier
    public let seq: UInt64
    public let kind: EntryKind
    public let isInbound: Bool
    public let isInternal: Bool
    public let createdAtMilliseconds: UInt64
    /// Shown of public messages that went out; an entry is written as `sent`.
    public var outboundStatus = OutboundStatus.sent

    public init(
        id: Identifier, conversation: Identifier, seq: UInt64, kind: EntryKind, isInbound: Bool,
        isInternal: Bool = false, createdAtMilliseconds: UInt64
    ) {
        self.id = id
        self.conversation = conversation
        self.seq = seq
        self.kind = kind
        self.isInbound = isInbound
        self.isInternal = isInternal
        self.createdAtMilliseconds = createdAtMilliseconds
    }

    /// The whole object, as `Entry.write` wrote it; returns where its own part stands.
    public func write(around part: RawSpan, into writer: ByteWriter) -> ByteRange {
        writeBegin(into: writer)
        let start = writer.count
        writer.append(part)
        let end = writer.count
        writeEnd(into: writer)
        return ByteRange(start, end)
    }

    @inline(__always)
    fileprivate func writeBegin(into writer: ByteWriter) {
        writer.append("{\"id\":\"")
        id.write(.message, into: writer)
        writer.append("\",\"conversation_id\":\"")
        conversation.write(.conversation, into: writer)
        writer.append("\",\"seq\":")
        writer.append(decimal: seq)
        writer.append(",\"kind\":\"")
        writer.append(kind.name)
        if isInternal {
            writer.append(
                "\",\"direction\":\"outbound\",\"status\":\"sent\",\"visibility\":\"internal\"")
            return
        }
        writer.append(
            isInbound
                ? "\",\"direction\":\"inbound\",\"status\":\"accepted\",\"visibility\":\"public\""
                : outboundText)
    }

    private var outboundText: StaticString {
        switch outboundStatus {
        case .sent: "\",\"direction\":\"outbound\",\"status\":\"sent\",\"visibility\":\"public\""
        case .delivered:
            "\",\"direction\":\"outbound\",\"status\":\"delivered\",\"visibility\":\"public\""
        case .read: "\",\"direction\":\"outbound\",\"status\":\"read\",\"visibility\":\"public\""
        }
    }

    @inline(__always)
    fileprivate func writeEnd(into writer: ByteWriter) {
        writer.append(",\"created_at\":\"")
        writer.append(timestamp: createdAtMilliseconds)
        writer.append("\"}")
    }
}

import Bytes
import ChatModel

/// Whose conversations a request may see.
public struct Scope: Sendable {
    public let tenant: TenantIndex
    public let tenantName: ByteBlock
    /// nil: every user's of the tenant.
    public let userID: ByteBlock?
    /// Internal entries too; never for end users.
    public let showsInternal: Bool

    public init(
        tenant: TenantIndex, tenantName: ByteBlock, userID: ByteBlock?, showsInternal: Bool = false
    ) {
        self.showsInternal = showsInternal
        self.tenant = tenant
        self.tenantName = tenantName
        self.userID = userID
    }
}

public enum PageOrder: UInt8, Sendable {
    case ascending = 0, descending

    public var reversed: PageOrder { self == .ascending ? .descending : .ascending }
}

/// Which way a page goes on from its bound.
public enum PageDirection: UInt8, Sendable {
    case forward = 0
    /// The page before: read the other way, shown in order all the same.
    case backward = 2
}

/// One conversation without its log.
public struct ConversationQuery: Sendable {
    public let origin: Origin
    public let scope: Scope
    public let conversation: Identifier

    public init(origin: Origin, scope: Scope, conversation: Identifier) {
        self.origin = origin
        self.scope = scope
        self.conversation = conversation
    }
}

/// A page of one conversation's log. The bounds are exclusive.
public struct HistoryQuery: Sendable {
    public let origin: Origin
    public let scope: Scope
    public let conversation: Identifier
    public let order: PageOrder
    public let direction: PageDirection
    public let afterSeq: UInt64?
    public let beforeSeq: UInt64?
    public let limit: Int

    public init(
        origin: Origin, scope: Scope, conversation: Identifier, order: PageOrder,
        direction: PageDirection,
        afterSeq: UInt64?, beforeSeq: UInt64?, limit: Int
    ) {
        self.origin = origin
        self.scope = scope
        self.conversation = conversation
        self.order = order
        self.direction = direction
        self.afterSeq = afterSeq
        self.beforeSeq = beforeSeq
        self.limit = limit
    }
}

/// Which conversations of a scope are listed: those that fit all that is set.
public struct ListFilter: Sendable {
    public enum Assignee: Sendable {
        case nobody
        case somebody(ByteBlock)
    }

    public var status: ConversationStatus?
    public var channel: Channel?
    public var assignee: Assignee?
    public var label: ByteBlock?
    public var handler: HandlerType?

    public init() {}
}

/// What is searched for. With it a list is in the order of the newest matches.
public struct SearchTerms: Sendable {
    /// A full-text expression that is safe to run (SearchWords); empty finds nothing.
    public let expression: ByteBlock
    public let position: SearchPosition?

    public init(expression: ByteBlock, position: SearchPosition?) {
        self.expression = expression
        self.position = position
    }
}

/// A page of conversations, by id (which is by creation time), newest first unless ascending.
public struct ListQuery: Sendable {
    public let origin: Origin
    public let scope: Scope
    public let filter: ListFilter
    public let order: PageOrder
    public let direction: PageDirection
    /// Exclusive bounds.
    public let after: Identifier?
    public let before: Identifier?
    public let limit: Int
    /// nil: all that fits the filter is listed.
    public let terms: SearchTerms?

    public init(
        origin: Origin, scope: Scope, filter: ListFilter, order: PageOrder,
        direction: PageDirection, after: Identifier?, before: Identifier?, limit: Int,
        terms: SearchTerms? = nil
    ) {
        self.terms = terms
        self.origin = origin
        self.scope = scope
        self.filter = filter
        self.order = order
        self.direction = direction
        self.after = after
        self.before = before
        self.limit = limit
    }
}

/// The entries `afterSeq + 1 ... throughSeq` of a conversation, for a socket that catches up; those
/// that are internal only if it may see them.
public struct ReplayQuery: Sendable {
    public let origin: Origin
    public let conversation: Identifier
    public let afterSeq: UInt64
    public let throughSeq: UInt64
    public let showsInternal: Bool

    public init(
        origin: Origin, conversation: Identifier, afterSeq: UInt64, throughSeq: UInt64,
        showsInternal: Bool = false
    ) {
        self.showsInternal = showsInternal
        self.origin = origin
        self.conversation = conversation
        self.afterSeq = afterSeq
        self.throughSeq = throughSeq
    }
}

/// One message as it is now.
public struct MessageQuery: Sendable {
    public let origin: Origin
    public let scope: Scope
    public let conversation: Identifier
    public let seq: UInt64
    /// The request that it answers was answered before.
    public let isReplay: Bool

    public init(
        origin: Origin, scope: Scope, conversation: Identifier, seq: UInt64, isReplay: Bool
    ) {
        self.origin = origin
        self.scope = scope
        self.conversation = conversation
        self.seq = seq
        self.isReplay = isReplay
    }
}

/// What is to be changed of a message, and by whom: the message is looked for first.
public struct TargetQuery: Sendable {
    public let origin: Origin
    public let scope: Scope
    public let principal: Principal
    public let conversation: Identifier
    public let change: MessageChange

    public init(
        origin: Origin, scope: Scope, principal: Principal, conversation: Identifier,
        change: MessageChange
    ) {
        self.origin = origin
        self.scope = scope
        self.principal = principal
        self.conversation = conversation
        self.change = change
    }

    public static let unknownConversation = Problem(.notFound, "There is no such conversation.")
    public static let unknownMessage = Problem(.notFound, "There is no such message.")
}

/// Frames for one socket, in order.
public struct ReplayPage: Sendable {
    public let origin: Origin
    public let conversation: Identifier
    /// Payloads of `message` frames; nil when the store could not be read.
    public let frames: [ByteBlock]?
    /// The seq of the last frame.
    public let lastSeq: UInt64

    public init(origin: Origin, conversation: Identifier, frames: [ByteBlock]?, lastSeq: UInt64) {
        self.origin = origin
        self.conversation = conversation
        self.frames = frames
        self.lastSeq = lastSeq
    }
}

/// Conversations of a tenant that are open or pending and have no entry behind a time.
public struct InactiveQuery: Sendable {
    public let tenantName: ByteBlock
    public let cutoffMilliseconds: UInt64
    /// Where the last page ended.
    public let after: Identifier

    public init(tenantName: ByteBlock, cutoffMilliseconds: UInt64, after: Identifier) {
        self.tenantName = tenantName
        self.cutoffMilliseconds = cutoffMilliseconds
        self.after = after
    }
}

public struct InactivePage: Sendable {
    public let found: [Identifier]
    /// The last that was looked at; nil at the end.
    public let last: Identifier?
    /// False when the store could not be read.
    public let isReadable: Bool

    public init(found: [Identifier], last: Identifier?, isReadable: Bool = true) {
        self.found = found
        self.last = last
        self.isReadable = isReadable
    }
}

public enum ReadJob: Sendable {
    case inactive(InactiveQuery)
    case owner(OwnerRead)
    case conversation(ConversationQuery)
    case history(HistoryQuery)
    case list(ListQuery)
    case replay(ReplayQuery)
    case message(MessageQuery)
    case target(TargetQuery)
    case apiKey(id: UInt64)
    /// A guest wants this user id: answered 200 when nobody has it, 403 otherwise.
    case claim(Origin, UserKey)
}

/// Positions in lists as clients see them: opaque, but checked when they come back.
///
/// Text: `h`, `l` or `s`, a digit for order and direction, then hexadecimal: 16 digits of a seq, 32
/// of an id, or 16 each of a search's two places.
public enum Cursor {
    public static func write(
        seq: UInt64, _ order: PageOrder, _ direction: PageDirection, into writer: ByteWriter
    ) {
        writer.append(0x68)
        writer.append(0x30 + order.rawValue + direction.rawValue)
        writer.append(hex: seq)
    }

    public static func write(
        id: Identifier, _ order: PageOrder, _ direction: PageDirection, into writer: ByteWriter
    ) {
        writer.append(0x6C)
        writer.append(0x30 + order.rawValue + direction.rawValue)
        writer.append(hex: id.high)
        writer.append(hex: id.low)
    }

    /// Searches know one order.
    public static func write(
        _ position: SearchPosition, _ direction: PageDirection, into writer: ByteWriter
    ) {
        writer.append(0x73)
        writer.append(0x30 + PageOrder.descending.rawValue + direction.rawValue)
        writer.append(hex: UInt64(bitPattern: position.newest))
        writer.append(hex: UInt64(bitPattern: position.place))
    }

    public static func search(
        _ text: RawSpan
    ) -> (direction: PageDirection, position: SearchPosition)? {
        guard text.byteCount == 34, text.byte(at: 0) == 0x73, let way = way(text),
            way.0 == .descending, let newest = hexadecimal(text.extracting(2..<18)),
            let place = hexadecimal(text.extracting(18..<34)),
            // Room for a step in either direction.
            newest < UInt64(Int64.max), place < UInt64(Int64.max)
        else { return nil }
        return (way.1, SearchPosition(newest: Int64(newest), place: Int64(place)))
    }

    public static func seq(
        _ text: RawSpan
    ) -> (order: PageOrder, direction: PageDirection, seq: UInt64)? {
        guard text.byteCount == 18, text.byte(at: 0) == 0x68, let way = way(text),
            let seq = hexadecimal(text.extracting(2..<18)), seq <= UInt64(Int64.max)
        else { return nil }
        return (way.0, way.1, seq)
    }

    public static func id(
        _ text: RawSpan
    ) -> (order: PageOrder, direction: PageDirection, id: Identifier)? {
        guard text.byteCount == 34, text.byte(at: 0) == 0x6C, let way = way(text),
            let high = hexadecimal(text.extracting(2..<18)),
            let low = hexadecimal(text.extracting(18..<34))
        else { return nil }
        return (way.0, way.1, Identifier(high: high, low: low))
    }

    private static func way(_ text: RawSpan) -> (PageOrder, PageDirection)? {
        let digit = text.byte(at: 1) &- 0x30
        guard digit < 4, let order = PageOrder(rawValue: digit & 1),
            let direction = PageDirection(rawValue: digit & 2)
        else { return nil }
        return (order, direction)
    }

    /// In lower case only, as it was written: a position has one spelling.
    private static func hexadecimal(_ digits: RawSpan) -> UInt64? {
        var value: UInt64 = 0
        for offset in 0..<digits.byteCount {
            let digit = digits.byte(at: offset)
            guard let nibble = hexadecimalValue(digit), digit < 0x41 || digit > 0x46 else {
                return nil
            }
            value = value << 4 | nibble
        }
        return value
    }
}

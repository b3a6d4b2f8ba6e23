// What agents note about a conversation beside its log: whose it is, how urgent, which labels it
// has.

import Bytes

public enum ConversationPriority: UInt8, Sendable, CaseIterable {
    case normal = 0, low, high, urgent

    public var name: StaticString {
        switch self {
        case .normal: "normal"
        case .low: "low"
        case .high: "high"
        case .urgent: "urgent"
        }
    }

    public init?(_ text: RawSpan) {
        for priority in ConversationPriority.allCases where text.equals(priority.name) {
            self = priority
            return
        }
        return nil
    }
}

public struct ConversationDetails: Sendable {
    public var assignee: ByteBlock?
    /// Which bot or human it is, if that was said.
    public var handlerID: ByteBlock?
    /// A JSON array of strings, none twice; nil means `[]`.
    public var labels: ByteBlock?
    public var priority = ConversationPriority.normal
    /// A JSON object; nil means `{}`.
    public var attributes: ByteBlock?

    public init() {}

    public var isEmpty: Bool {
        assignee == nil && handlerID == nil && labels == nil && priority == .normal
            && attributes == nil
    }

    /// The middle of a Conversation object, from within `handler` to `attributes`.
    func write(token: UInt64, into writer: ByteWriter) {
        if let handlerID {
            writer.append(",\"id\":")
            writer.append(json: handlerID)
        }
        writer.append(",\"token\":")
        writer.append(decimal: token)
        writer.append(0x7D)
        if let assignee {
            writer.append(",\"assignee\":")
            writer.append(json: assignee)
        }
        writer.append(",\"labels\":")
        if let labels { writer.append(labels) } else { writer.append("[]") }
        writer.append(",\"priority\":\"")
        writer.append(priority.name)
        writer.append("\",\"attributes\":")
        if let attributes { writer.append(attributes) } else { writer.append("{}") }
    }
}

/// Shared by all copies of a row until one of them is changed.
final class DetailsBox: Sendable {
    let details: ConversationDetails
    init(_ details: ConversationDetails) { self.details = details }
}

/// True when both are absent or have the same bytes.
public func areSame(_ a: ByteBlock?, _ b: ByteBlock?) -> Bool {
    switch (a, b) {
    case (nil, nil): true
    case (let a?, let b?): a.equals(b)
    default: false
    }
}

// How far somebody has come in a conversation's log.

import Bytes

/// Up to which seq one participant was given a log's entries, and up to which it has read them.
/// Both only ever grow.
public struct ReadCursor: Sendable {
    public let userID: ByteBlock
    public var readSeq: UInt64
    /// Never less than `readSeq`.
    public var deliveredSeq: UInt64

    public init(userID: ByteBlock, readSeq: UInt64 = 0, deliveredSeq: UInt64 = 0) {
        self.userID = userID
        self.readSeq = readSeq
        self.deliveredSeq = max(readSeq, deliveredSeq)
    }

    /// `{"type":"receipt",…}` of the socket's protocol (contract section 4).
    public func writeReceipt(of conversation: Identifier, into writer: ByteWriter) {
        writer.append("{\"type\":\"receipt\",\"conversation_id\":\"")
        conversation.write(.conversation, into: writer)
        writer.append("\",\"user_id\":")
        writer.append(json: userID)
        writer.append(",\"delivered_seq\":")
        writer.append(decimal: deliveredSeq)
        writer.append(",\"read_seq\":")
        writer.append(decimal: readSeq)
        writer.append(0x7D)
    }
}

/// What a unit does to one participant's cursor. A store keeps the greater of what it has and what
/// comes.
public enum CursorChange: Sendable {
    case advance(ReadCursor)
    /// There are too many of them.
    case forget(userID: ByteBlock)
}

/// What `status` says of a message that went out to the end user.
public enum OutboundStatus: Sendable {
    case sent, delivered, read

    /// Of the message at `seq`, by the end user's cursor.
    public init(of seq: UInt64, readSeq: UInt64, deliveredSeq: UInt64) {
        self = seq <= readSeq ? .read : seq <= deliveredSeq ? .delivered : .sent
    }
}

// Read cursors: those of a conversation for its owner, and the end user's for what is shown of it.

import Bytes
import ChatModel

extension MessageReader {
    /// A row with what its owner needs beside it.
    func stored(_ row: Conversation?) throws(SQLiteError) -> StoredConversation? {
        guard let row else { return nil }
        return StoredConversation(
            row: row,
            lastPublicSeq: try logs.lastPublicSeq(of: logs.tail(of: row.id), in: row.id),
            cursors: try cursors(of: row.id))
    }

    private func cursors(of conversation: Identifier) throws(SQLiteError) -> [ReadCursor] {
        let statement = cursorsOfConversation
        defer { statement.reset() }
        statement.bind(1, conversation)
        var found: [ReadCursor] = []
        while try statement.step() {
            found.append(
                ReadCursor(
                    userID: ByteBlock(copying: statement.bytes(0)),
                    readSeq: statement.unsigned(1), deliveredSeq: statement.unsigned(2)))
        }
        return found
    }

    /// How far the end user has come.
    func progress(of conversation: Identifier) throws(SQLiteError) -> LogProgress {
        let statement = cursorOfEndUser
        defer { statement.reset() }
        statement.bind(1, conversation)
        guard try statement.step() else { return .none }
        return LogProgress(readSeq: statement.unsigned(0), deliveredSeq: statement.unsigned(1))
    }
}

/// How far a conversation's end user has come: decides what is unread, and the status of what was
/// sent.
struct LogProgress: BitwiseCopyable {
    let readSeq: UInt64
    let deliveredSeq: UInt64

    static let none = LogProgress(readSeq: 0, deliveredSeq: 0)

    func status(of seq: UInt64) -> OutboundStatus {
        OutboundStatus(of: seq, readSeq: readSeq, deliveredSeq: deliveredSeq)
    }
}

// Requests for history that wait for the next entry (`Prefer: wait`), and how many of them there
// are. Owner: one core.

import ChatModel
import Stores

/// One that waits: a subscriber of its conversation that is content with one entry.
final class HistoryPoll {
    let context: RequestContext
    let query: HistoryQuery
    /// Entries behind this one are what it waits for.
    let afterSeq: UInt64
    let waitSeconds: Int

    init(context: RequestContext, query: HistoryQuery, afterSeq: UInt64, waitSeconds: Int) {
        self.context = context
        self.query = query
        self.afterSeq = afterSeq
        self.waitSeconds = waitSeconds
    }
}

/// The bounds of those that wait. Who finds no place is answered at once, as without the
/// preference (RFC 7240 section 2: a preference may be ignored).
final class PollPlaces {
    private let totalMax: Int
    private let perConversationMax: Int
    private(set) var total = 0
    private var counts: [Identifier: Int] = [:]

    init(totalMax: Int, perConversationMax: Int) {
        self.totalMax = totalMax
        self.perConversationMax = perConversationMax
    }

    /// False when a bound is reached.
    func take(_ conversation: Identifier) -> Bool {
        let count = counts[conversation] ?? 0
        guard total < totalMax, count < perConversationMax else { return false }
        total += 1
        counts[conversation] = count + 1
        return true
    }

    func giveBack(_ conversation: Identifier) {
        guard let count = counts[conversation] else {
            preconditionFailure("a place is given back once")
        }
        total -= 1
        counts[conversation] = count == 1 ? nil : count - 1
    }
}

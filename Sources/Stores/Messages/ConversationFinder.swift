// What the message store asks of a search: which conversations have entries with certain words. It
// is another room's work (Search); the store makes pages of conversations of what that finds.

import Bytes
import ChatModel
import Rings

/// Where a search goes on. `newest` is where it began, so that entries that came since then move
/// nothing; the walk goes on before or behind `place`.
public struct SearchPosition: Sendable, Equatable {
    public let newest: Int64
    public let place: Int64

    public init(newest: Int64, place: Int64) {
        self.newest = newest
        self.place = place
    }
}

/// A page of the conversations that have an entry with all of some words, the one with the newest
/// such entry first.
public struct SearchQuery: Sendable {
    public let scope: Scope
    /// A full-text expression that is safe to run (SearchWords); empty finds nothing.
    public let expression: ByteBlock
    public let position: SearchPosition?
    public let direction: PageDirection
    public let limit: Int

    public init(
        scope: Scope, expression: ByteBlock, position: SearchPosition?, direction: PageDirection,
        limit: Int
    ) {
        self.scope = scope
        self.expression = expression
        self.position = position
        self.direction = direction
        self.limit = limit
    }
}

/// A conversation, and the newest of its entries that has the words.
public struct FoundConversation: Sendable {
    public let conversation: Identifier
    public let place: Int64
    public let seq: UInt64
    public let message: Identifier
    /// Some text of the message around the words.
    public let snippet: ByteBlock

    public init(
        conversation: Identifier, place: Int64, seq: UInt64, message: Identifier,
        snippet: ByteBlock
    ) {
        self.conversation = conversation
        self.place = place
        self.seq = seq
        self.message = message
        self.snippet = snippet
    }
}

public struct FoundPage: Sendable {
    /// In the order in which they are shown.
    public var found: [FoundConversation] = []
    public var next: SearchPosition?
    public var previous: SearchPosition?

    public init() {}
}

/// Owner: the one thread that asks it.
public protocol ConversationFinder: AnyObject {
    /// Only conversations that `admits` says yes to are shown; it is asked once for each on a page.
    /// nil: there is no index to search in now.
    func find(_ query: SearchQuery, admits: (Identifier) -> Bool) -> FoundPage?
}

/// What a store is started with so that it can be searched.
public protocol SearchSource: Sendable {
    /// Rung after commits.
    var bell: Doorbell { get }
    /// A finder for one thread, which reads entries through `log`.
    func makeFinder(_ log: LogFollower) -> any ConversationFinder
}

/// Every bound that is not configuration, in one place. Each has a counter for when it was hit.
public enum Limits {
    // Identity of things that clients name.
    public static let userIDBytesMax = 128
    public static let clientMessageIDBytesMax = 128
    public static let deviceIDBytesMax = 128
    public static let requestIDBytesMax = 128
    public static let tokenBytesMax = 4096
    /// Public keys that tokens may be signed with: enough for a rotation of several issuers.
    public static let publicKeysMax = 16
    public static let keySetBytesMax = 65_536

    // Content (contract section 3).
    public static let textCharactersMax = 10_000
    public static let captionCharactersMax = 1024
    public static let urlBytesMax = 2048
    public static let titleCharactersMax = 80
    public static let shortTextCharactersMax = 256
    public static let buttonsMax = 10
    public static let quickRepliesMax = 13
    public static let cardsMax = 10
    public static let buttonsPerCardMax = 3
    public static let listSectionsMax = 10
    public static let listRowsMax = 10
    public static let metadataBytesMax = 8192
    public static let emojiBytesMax = 64
    // What agents note about a conversation.
    public static let labelsMax = 20
    public static let labelBytesMax = 64
    public static let attributesBytesMax = 8192
    public static let jsonDepthMax = 32

    // Pages and replay.
    public static let pageDefault = 50
    public static let pageMax = 200
    /// Conversations that a page of a list looks at; with fewer that fit it is short.
    public static let listScannedMax = 10_000
    // Search: the text, its words, the least that a word which goes on begins with.
    public static let searchBytesMax = 256
    public static let searchWordsMax = 16
    public static let searchPrefixBytesMin = 2
    /// Processor time of a page and matches that it looks at; then it is short.
    public static let searchNanosecondsMax: UInt64 = 30_000_000
    public static let searchMatchesMax = 16_384
    /// Searches of one core that wait; one more is refused.
    public static let searchesWaitingMax = 64
    /// The newest reactions to a message among which the sender's own is looked for. One that is
    /// not found there is entered once more.
    public static let reactionsReadMax = 256
    public static let replayEntriesMax = 1000
    public static let replayBatch = 100
    /// A page of a replay ends with the frame that reaches it, so that replays never fill an
    /// outbox.
    public static let replayPageBytes = 1 << 17

    // Read cursors of one conversation: the end user's and those of agents; and requests that wait
    // for an entry that is on its way.
    public static let cursorsPerConversationMax = 17
    public static let readsWaitingPerConversationMax = 64

    // Presence. Users who left within the grace period; more of them are offline at once. Agents
    // are told in the conversations of a user that were followed last.
    public static let presenceGraceMilliseconds: UInt64 = 5_000
    public static let usersLeavingPerShardMax = 65_536
    public static let presenceConversationsMax = 64

    // Conversations that a look for inactive ones visits at a time, and closes at most a second.
    public static let inactiveVisitedMax = 512
    public static let inactiveClosedMax = 256

    // One connection.
    public static let pipelinedRequestsMax = 32
    public static let socketMessagesInFlightMax = 64
    public static let subscriptionsPerSocketMax = 256
    /// Conversations in which one socket is typing; the first of more has stopped.
    public static let typingPerSocketMax = 8
    /// Those that named themselves and are told of.
    public static let devicesPerSessionMax = 32
    public static let outboxBytesMax = 1 << 20
    public static let echoOutboxBytesMax = 64 << 20
    public static let echoMessageBytesMax = 16 << 20

    // The process.
    /// `tenant create` refuses more, and the start does.
    public static let tenantsMax = 16_384
    /// Frames of a socket beside messages: pings, subscriptions, typing, what cannot be read.
    public static let framesPerSecondMax = 100
    public static let framesAtOnceMax = 1000
    /// A body that is sent, and an answer that is read, slower than this has stopped.
    public static let transferBytesPerSecondMin = 256

    // One core.
    public static let connectionsPerShardMax = 262_144
    /// Connections that get a 503 in place of service, and are open until it is read.
    public static let turnedAwayPerShardMax = 64
    /// Each that stalls holds 47 KB, with client certificates 32 KB more.
    public static let handshakesPerShardMax = 1024
    /// Of requests and messages that are not whole; and as many of answers that are not read.
    public static let bufferedBytesPerShardMax = 128 << 20
    public static let requestsInFlightPerShardMax = 16_384
    public static let conversationsCachedPerShard = 65_536
    public static let usersCachedPerShard = 65_536
    public static let messagesWaitingPerConversationMax = 1024
    /// Deleted messages that a conversation's owner remembers. With more, an edit that was decided
    /// before they were deleted is refused, and may be tried again.
    public static let redactionsRememberedMax = 64
    public static let entriesPerCommitUnitMax = 128
    /// A unit takes no further message when its bodies have so many bytes.
    public static let commitUnitBytesMax = 262_144
    /// Behind a reply that is streamed; with more, replies are sent whole until the queue is short
    /// again.
    public static let runsWaitingWhileStreamingMax = 4
    public static let tokenCacheEntriesPerShard = 4096

    // The process.
    /// Descriptors that connections leave to the stores and the loops.
    public static let descriptorsReserved = 192
    /// `Retry-After` of who was refused for want of room.
    public static let retryAfterFullSeconds = 5

    // Rings, in elements; powers of two.
    public static let meshRingCapacity = 4096
    public static let storeRingCapacity = 4096

    // Time.
    /// How long a body that is only counted may pause, and a finished answer may wait to be read.
    public static let idleBodyTimeoutMilliseconds: UInt64 = 30_000
    /// A connection between requests, when most places are taken.
    public static let keepAliveUnderPressureMilliseconds: UInt64 = 2_000
    public static let authenticationTimeoutMilliseconds: UInt64 = 10_000
    public static let heartbeatMilliseconds: UInt64 = 30_000
    public static let closeTimeoutMilliseconds: UInt64 = 2_000
    public static let streamFrameMilliseconds: UInt64 = 40
    public static let streamFramesMax = 50
    /// Requests of one core that wait for an entry, and those among them for the same conversation.
    public static let pollsPerShardMax = 16_384
    public static let pollsPerConversationMax = 64
    public static let pollSecondsMax = 30
    public static let eventHeartbeatMilliseconds: UInt64 = 15_000
    /// A reader whose outbox was not empty for so many heartbeats has stopped to read.
    public static let eventHeartbeatsUnreadMax = 4
    /// Clients of a stream that ended come back after this, and up to twice of it.
    public static let eventRetryMilliseconds: UInt64 = 2_000
}

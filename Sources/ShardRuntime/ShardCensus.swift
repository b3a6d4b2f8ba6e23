// How much a core holds, for who checks its bounds from outside.

import Conversations

package struct ShardCensus {
    package var connections = 0
    /// Requests and socket messages without an answer.
    package var requestsInFlight = 0
    /// Connections whose reading is paused until there is room.
    package var connectionsHeld = 0
    package var connectionsDirty = 0
    package var keyLookups = 0
    package var followedConversations = 0
    package var usersConnected = 0
    package var outboxBytesMax = 0
    package var buffersLent = 0
    /// Elements in and before the rings to each core, and to the store's writer.
    package var meshDepths: [Int] = []
    package var storeDepth = 0
    package var isCongested = false
    package var owner: OwnerCensus
}

extension Shard {
    package func census() -> ShardCensus {
        var census = ShardCensus(owner: owner.census())
        census.connections = connections.count
        census.requestsInFlight = inFlight
        census.connectionsHeld = held.count
        census.connectionsDirty = dirty.count
        census.keyLookups = keyWaiters.count
        census.followedConversations = sockets.followedCount
        census.usersConnected = sockets.userCount
        census.buffersLent = buffers.lentCount
        census.meshDepths = ports.map { $0?.depth() ?? 0 }
        census.storeDepth = store.writeDepth()
        census.isCongested = isCongested
        for token in connections.tokens() {
            census.outboxBytesMax = max(
                census.outboxBytesMax, connections[token.slot].queue.byteCount)
        }
        return census
    }
}

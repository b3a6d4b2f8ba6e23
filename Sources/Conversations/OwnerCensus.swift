// How much an owner holds, for who checks its bounds from outside.

package struct OwnerCensus {
    package var conversations = 0
    package var users = 0
    package var runs = 0
    package var keysInProgress = 0
    package var repeatedKeys = 0
    package var reads = 0
    package var unitsOnTheirWay = 0
    /// Items that wait in conversations, runs that are wanted, messages that wait for a user.
    package var waiting = 0
    /// Conversations with a bit for a core that follows them, users with a bit for a device's core.
    package var followed = 0
    package var usersWithDevices = 0
}

extension ConversationOwner {
    package func census() -> OwnerCensus {
        var census = OwnerCensus()
        census.conversations = conversations.count
        census.users = users.count
        census.runs = runs.count
        census.keysInProgress = keysInProgress.count
        census.repeatedKeys = repeatedOrigins.count
        census.reads = reading.count + unread.count
        census.unitsOnTheirWay = unitsOnTheirWay
        for state in conversations.values {
            census.waiting += state.waiting.count + state.wantedRuns.count
            if state.followers != 0 { census.followed += 1 }
        }
        for user in users.values {
            census.waiting += user.waiting.count
            if user.devices != 0 { census.usersWithDevices += 1 }
        }
        return census
    }
}

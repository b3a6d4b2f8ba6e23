// What an event stream has beyond a socket: it is a subscriber of one conversation that only reads
// (SocketSession.swift), on a connection that ends with it.

import ChatModel
import Wire

final class EventStream {
    let ordinal: UInt32
    let context: RequestContext
    let conversation: Identifier
    let framing: EventFraming
    /// Heartbeats since the outbox was last empty.
    var heartbeatsUnread = 0

    init(
        ordinal: UInt32, context: RequestContext, conversation: Identifier, framing: EventFraming
    ) {
        self.ordinal = ordinal
        self.context = context
        self.conversation = conversation
        self.framing = framing
    }
}

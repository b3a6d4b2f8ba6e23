// One connection in memory: two streams of bytes with what is on its way in each.
//
//     client ──write──▶ (on its way) ──▶ inbox ──receive──▶ server
//     client ◀──read── arrived ◀── (on its way) ◀──send── server
//
// What the server has sent and the client has not read fills the socket (`outboxBytes`).

import Bytes
import Reactor

/// The client's end.
protocol LinkEndpoint: AnyObject {
    func didConnect(_ link: Link)
    func didReceive(_ bytes: [UInt8], on link: Link)
    /// Nothing more comes: the end of the stream, or a reset.
    func didEnd(_ link: Link, wasReset: Bool)
}

final class Link {
    let number: Int
    let core: Int
    weak var endpoint: (any LinkEndpoint)?

    // The server's side.
    var descriptor: Int32 = -1
    var token = Token.none
    var isArmed = false
    var inbox: [UInt8] = []
    var inboxStart = 0
    /// The client will send nothing more.
    var didReceiveEnd = false
    var wasReset = false
    /// Said once to a server that does not read (EPOLLHUP cannot be masked).
    var didReportHangup = false
    var blockedSend: (token: Token, bytes: LentBytes)?
    /// A completion that is not reaped yet: the next of this connection must come behind it.
    var hasLateCompletion = false
    var didShutDown = false
    var isClosedByServer = false

    // The client's side.
    var isReading = true
    var arrived: [UInt8] = []
    var isClosedByClient = false
    /// The client is gone without a word, and what was on its way is lost.
    var isSilent = false
    var didEnd = false

    /// Sent by the server and not yet read by the client.
    var outstandingBytes = 0
    let capacityBytes: Int
    // The last arrivals: a stream keeps its order.
    var lastAtServer: UInt64 = 0
    var lastAtClient: UInt64 = 0

    init(number: Int, core: Int, endpoint: any LinkEndpoint, capacityBytes: Int) {
        self.number = number
        self.core = core
        self.endpoint = endpoint
        self.capacityBytes = capacityBytes
    }

    var unreadCount: Int { inbox.count - inboxStart }
    var room: Int { max(0, capacityBytes - outstandingBytes) }

    /// There is something to say to who reads.
    var isReadable: Bool { unreadCount > 0 || didReceiveEnd || wasReset }

    /// Both directions have ended, or the connection was reset.
    var isHungUp: Bool { wasReset || didReceiveEnd && didShutDown }

    func takeFromInbox(_ count: Int) -> [UInt8] {
        let bytes = Array(inbox[inboxStart..<inboxStart + count])
        inboxStart += count
        if inboxStart == inbox.count {
            inbox.removeAll(keepingCapacity: true)
            inboxStart = 0
        }
        return bytes
    }
}

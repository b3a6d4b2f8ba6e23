import API
import Bytes
import ChatModel
import Ingest
import Reactor
import Wire

/// One accepted connection: a row of the core's slab. What only some connections need at some times
/// hangs behind a reference, so that an idle one costs this row and nothing else.
struct Connection {
    enum Phase: UInt8 {
        case http
        /// The body of a request is read and counted, not kept.
        case sink
        case socket
        /// The answer to a request is an event stream, or the owner is asked whether it is.
        case events
        /// A request waits for the next entry of a conversation.
        case poll
        /// All is said; what the peer still sends is thrown away until it closes or the time is up.
        case lingering
    }

    /// Why reading is paused.
    enum Hold: UInt8 { case none, work, apiKey }

    let descriptor: Int32
    var phase = Phase.http
    var hold = Hold.none
    var isDirty = false
    var closesAfterSend = false
    /// A request was refused that could not be read: nothing behind it is.
    var isRefused = false
    var peerClosed = false
    var queue = SendQueue()
    var timer = TimerID.none
    var timerDueNanoseconds: UInt64 = 0
    /// When the connection has been quiet for too long; compared when the timer fires.
    var deadlineNanoseconds: UInt64 = 0
    /// Counts requests; answers leave in this order.
    var nextOrdinal: UInt32 = 0
    var sendOrdinal: UInt32 = 0
    var inbound: ReceiveBuffer?
    var assembler: RequestAssembler?
    var exchange: Exchange?
    var session: SocketSession?
    /// nil: plain text.
    var tls: TLSSession?
    /// Where it is counted; nil: it is being turned away and has no place.
    let place: ConnectionLedger.Place?
    /// Memory for what is not whole yet, as it was last counted.
    var heldBytes: UInt32 = 0
    /// Bytes that the peer took; wraps around.
    var sentBytes: UInt32 = 0
    /// Whether a body moves that is on its way in, and an answer that waits to be read.
    var pace: TransferPace?
    var reading: TransferPace?
    /// When the body must be whole.
    var bodyEndNanoseconds: UInt64 = 0

    init(descriptor: Int32, place: ConnectionLedger.Place?) {
        self.descriptor = descriptor
        self.place = place
    }

    var requestsInFlight: UInt32 { nextOrdinal &- sendOrdinal }
}

/// A request that waits for its answer, or whose answer waits for those before it.
struct PendingRequest {
    let ordinal: UInt32
    let head: RequestContext
    /// The whole response, once it is known.
    var response: ByteBlock?
}

/// The requests of one connection that are in flight.
final class Exchange {
    var pending: [PendingRequest] = []
    var sinkBytes: UInt64 = 0
    var sinkContext: RequestContext?

    func place(of ordinal: UInt32) -> Int? { pending.firstIndex { $0.ordinal == ordinal } }
}

/// What must be remembered of a request until it is answered.
struct RequestContext {
    let route: Route
    let method: HTTPMethod
    let requestID: RequestID
    let keepsAlive: Bool
    let saysKeepAlive: Bool
    let startedNanoseconds: UInt64
    /// Set once the credential is known.
    var tenant: TenantIndex?
    var rate: RateHeaders?
    var allowedOrigin: ByteBlock?
    /// Of `Prefer: wait`, once it was honoured.
    var waitSeconds: Int?
    /// The path for problem details; nil: the route's pattern.
    var instance: ByteBlock?

    var isHead: Bool { method == .head }
}

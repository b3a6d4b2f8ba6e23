import ChatModel
import Conversations
import Observability
import Rings

/// What one core counts. Written by the core alone, read by whichever core answers `/metrics`.
final class ShardMetrics: Sendable {
    static let tenantsMax = 100

    let requests = RequestCounts()
    let requestMicroseconds = Histogram.microseconds()
    let messageMicroseconds = Histogram.microseconds()
    let commitMicroseconds = Histogram.microseconds()
    let firstTokenMicroseconds = Histogram.microseconds()
    let lagMicroseconds = Histogram.microseconds()
    let connections = Counter()
    let sockets = Counter()
    let streams = Counter()
    let polls = Counter()
    let pollsRefused = Counter()
    let connectionsAccepted = Counter()
    let acceptFailures = Counter()
    let staleCompletions = Counter()
    let slowConsumers = Counter()
    let timeouts = Counter()
    let held = Counter()
    let duplicates = Counter()
    let conflicts = Counter()
    let fencedReplies = Counter()
    let staleChanges = Counter()
    let runs = Counter()
    let runsExpired = Counter()
    let cursorWrites = Counter()
    let leftWithoutGrace = Counter()
    let presenceNotTold = Counter()
    let conversationHits = Counter()
    let conversationMisses = Counter()
    let tokenHits = Counter()
    let tokenMisses = Counter()
    let handshakes = Counter()
    let handshakesFailed = Counter()
    let handshakesResumed = Counter()
    /// Sessions that broke after their handshake.
    let tlsFailures = Counter()
    let framesOut = Counter()
    let messagesIn = Counter()
    let chunks = Counter()
    /// `tenant * 16 + channel * 2 + direction`; the last tenant is `other`.
    let messages = AtomicWords(count: (tenantsMax + 1) * 16)
    /// By `ShedReason`.
    let shed = AtomicWords(count: ShedReason.allCases.count)
    let heldBytes = Counter()
    let outboxBytes = Counter()
    /// `tenant * 4 + scope`.
    let rateLimited = AtomicWords(count: (tenantsMax + 1) * 4)
    let conversations = AtomicWords(count: tenantsMax + 1)
    /// `tenant * 2 + reason`.
    let closings = AtomicWords(count: (tenantsMax + 1) * ClosingReason.allCases.count)
    /// To each core: mesh; then the store's writer.
    let ringDepth = AtomicWords(count: 65)

    static func place(_ tenant: TenantIndex) -> Int { min(Int(tenant.value), tenantsMax) }

    func countMessage(_ tenant: TenantIndex, _ channel: Channel, isInbound: Bool) {
        let index = Self.place(tenant) * 16 + Int(channel.rawValue) * 2 + (isInbound ? 0 : 1)
        messages.store(messages.load(index) &+ 1, at: index)
    }

    func countShed(_ reason: ShedReason) {
        shed.store(shed.load(reason.rawValue) &+ 1, at: reason.rawValue)
    }

    enum Scope: Int, CaseIterable {
        case tenant = 0, user, address
        var name: String {
            switch self {
            case .tenant: "tenant"
            case .user: "user"
            case .address: "address"
            }
        }
    }

    func countLimited(_ tenant: TenantIndex, _ scope: Scope) {
        let index = Self.place(tenant) * 4 + scope.rawValue
        rateLimited.store(rateLimited.load(index) &+ 1, at: index)
    }
}

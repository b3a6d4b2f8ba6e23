// How many frames a socket may send beside messages: pings, pongs, subscriptions, typing, and what
// cannot be read. RFC 6455 sets no bound, and each of them costs an answer or a look-up.
//
// The generic cell rate algorithm, as in `RateLimiter`: one word says when the frames so far would
// have been due at the sustained rate.

/// Owner: one socket.
public struct FrameBudget: Equatable, Sendable {
    public let perSecond: UInt64
    /// How many may come at once.
    public let burst: UInt64
    private var dueNanoseconds: UInt64 = 0

    public init(perSecond: Int, burst: Int) {
        precondition(perSecond > 0 && burst > 0, "a budget of nothing")
        self.perSecond = UInt64(perSecond)
        self.burst = UInt64(burst)
    }

    /// Takes one frame's place; false when there is none at this time.
    public mutating func take(nowNanoseconds: UInt64) -> Bool {
        let interval = 1_000_000_000 / perSecond
        let next = max(dueNanoseconds, nowNanoseconds) + interval
        guard next - nowNanoseconds <= interval * burst else { return false }
        dueNanoseconds = next
        return true
    }
}

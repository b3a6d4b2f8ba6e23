// Limits per tenant, user and address, exact over all cores of the process.
//
// The generic cell rate algorithm: one word holds the theoretical arrival time of the next request;
// a request moves it on by the emission interval, and is refused when that would leave it further
// in the future than the bucket allows. One compare-exchange a request, no lock, no background
// work. Users and addresses share a fixed table by hash (seeded, so that nobody can aim at a
// collision). A slot whose time has passed says nothing any more and may be taken over; when eight
// neighbours are all in use by others, the first is shared, which can only be too strict.

import Bytes
import ChatModel
import Rings

/// A rate: requests a minute, and how many may come at once.
public struct RateLimit: Sendable {
    public let perMinute: Int
    public let burst: Int
    let intervalNanoseconds: UInt64
    let toleranceNanoseconds: UInt64

    public init(perMinute: Int, burst: Int) {
        self.perMinute = perMinute
        self.burst = burst
        intervalNanoseconds = max(1, 60_000_000_000 / UInt64(max(1, perMinute)))
        toleranceNanoseconds = intervalNanoseconds * UInt64(max(1, burst))
    }
}

/// What a limit said to one request.
public struct RateDecision: Sendable {
    public let isAllowed: Bool
    /// Requests that may still come at once.
    public let remaining: Int
    /// Seconds until the bucket is full again.
    public let resetSeconds: Int
    /// When refused: seconds until the next is allowed, at least 1.
    public let retryAfterSeconds: Int
}

public final class RateLimiter: Sendable {
    private static let slots = 65_536
    private static let probes = 8
    private let tenants: AtomicWords
    /// Pairs of tag and arrival time.
    private let table = AtomicWords(count: slots * 2)
    private let seed: UInt64

    public init(tenantCountMax: Int, seed: UInt64) {
        tenants = AtomicWords(count: tenantCountMax)
        self.seed = seed
    }

    public func admit(tenant: TenantIndex, _ limit: RateLimit, now: UInt64) -> RateDecision {
        decide(tenants, Int(tenant.value), limit, now)
    }

    /// What `admit` would say now, with nothing taken: seconds to wait, nil when there is room.
    public func wait(
        _ key: RawSpan, scope: UInt64, _ limit: RateLimit, now: UInt64
    ) -> Int? {
        let tag = tag(key, scope)
        let first = Int(truncatingIfNeeded: tag >> 8) & (Self.slots - 1)
        for probe in 0..<Self.probes {
            let index = ((first + probe) & (Self.slots - 1)) * 2
            guard table.load(index) == tag else { continue }
            let ahead = max(table.load(index + 1), now) &+ limit.intervalNanoseconds - now
            guard ahead > limit.toleranceNanoseconds else { return nil }
            return max(1, Int((ahead - limit.toleranceNanoseconds + 999_999_999) / 1_000_000_000))
        }
        return nil
    }

    private func tag(_ key: RawSpan, _ scope: UInt64) -> UInt64 {
        key.hash(seed: seed ^ scope &* 0x9E37_79B9_7F4A_7C15) | 1
    }

    /// `scope` keeps users and addresses apart.
    public func admit(
        _ key: RawSpan, scope: UInt64, _ limit: RateLimit, now: UInt64
    ) -> RateDecision {
        decide(table, slot(for: tag(key, scope), now) + 1, limit, now)
    }

    private func slot(for tag: UInt64, _ now: UInt64) -> Int {
        let first = Int(truncatingIfNeeded: tag >> 8) & (Self.slots - 1)
        var available = -1
        for probe in 0..<Self.probes {
            let index = ((first + probe) & (Self.slots - 1)) * 2
            if table.load(index) == tag { return index }
            if available < 0, table.load(index + 1) <= now { available = index }
        }
        guard available >= 0 else { return first * 2 }
        let found = table.load(available)
        if table.compareExchange(available, expected: found, desired: tag) == found {
            return available
        }
        return table.load(available) == tag ? available : first * 2
    }

    private func decide(
        _ words: AtomicWords, _ index: Int, _ limit: RateLimit, _ now: UInt64
    ) -> RateDecision {
        var arrival = words.load(index)
        while true {
            let next = max(arrival, now) &+ limit.intervalNanoseconds
            let ahead = next - now
            if ahead > limit.toleranceNanoseconds {
                let wait = ahead - limit.toleranceNanoseconds
                return RateDecision(
                    isAllowed: false, remaining: 0,
                    resetSeconds: Int((arrival - now + 999_999_999) / 1_000_000_000),
                    retryAfterSeconds: max(1, Int((wait + 999_999_999) / 1_000_000_000)))
            }
            let found = words.compareExchange(index, expected: arrival, desired: next)
            if found == arrival {
                return RateDecision(
                    isAllowed: true,
                    remaining: Int(
                        (limit.toleranceNanoseconds - ahead) / limit.intervalNanoseconds),
                    resetSeconds: Int((ahead + 999_999_999) / 1_000_000_000), retryAfterSeconds: 0)
            }
            arrival = found
        }
    }
}

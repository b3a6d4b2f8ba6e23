import Bytes
import ChatModel
import Testing

@testable import Identity

private let second: UInt64 = 1_000_000_000
/// One request a second, five at once.
private let limit = RateLimit(perMinute: 60, burst: 5)
private let start = 1_000_000 * second

extension RateLimiter {
    fileprivate func ask(
        _ name: String, _ now: UInt64, _ limit: RateLimit = limit, scope: UInt64 = 1
    ) -> RateDecision {
        let block = ByteBlock(name)
        return admit(block.bytes, scope: scope, limit, now: now)
    }

    fileprivate func allows(_ name: String, _ now: UInt64, _ limit: RateLimit = limit) -> Bool {
        ask(name, now, limit).isAllowed
    }
}

@Suite struct RateLimiterTests {
    private let limiter = RateLimiter(tenantCountMax: 4, seed: 9)

    @Test func `A burst is admitted and nothing beyond it`() {
        for remaining in [4, 3, 2, 1, 0] {
            let decision = limiter.ask("ann", start)
            #expect(decision.isAllowed && decision.remaining == remaining)
            #expect(decision.resetSeconds == 5 - remaining)
            #expect(decision.retryAfterSeconds == 0)
        }
        for _ in 0..<10 {
            let decision = limiter.ask("ann", start)
            #expect(!decision.isAllowed && decision.remaining == 0)
            #expect(decision.resetSeconds == 5 && decision.retryAfterSeconds == 1)
        }
    }

    @Test func `To ask how long to wait takes nothing, and says what a request would be told`() {
        let name = ByteBlock("ann")
        for _ in 0..<100 {
            #expect(limiter.wait(name.bytes, scope: 1, limit, now: start) == nil)
        }
        for _ in 0..<5 { #expect(limiter.allows("ann", start)) }
        #expect(limiter.wait(name.bytes, scope: 1, limit, now: start) == 1)
        #expect(limiter.wait(name.bytes, scope: 2, limit, now: start) == nil)
        #expect(limiter.wait(name.bytes, scope: 1, limit, now: start + second) == nil)
        #expect(limiter.ask("ann", start).retryAfterSeconds == 1)
    }

    @Test func `One comes back each interval, not earlier and not more`() {
        for _ in 0..<5 { #expect(limiter.allows("ann", start)) }
        #expect(!limiter.allows("ann", start + second - 1))
        #expect(limiter.allows("ann", start + second))
        #expect(!limiter.allows("ann", start + second))
        #expect(limiter.allows("ann", start + 3 * second))
        #expect(limiter.allows("ann", start + 3 * second))
        #expect(!limiter.allows("ann", start + 3 * second))
    }

    @Test func `A refused request costs nothing`() {
        for _ in 0..<5 { _ = limiter.allows("ann", start) }
        for step in 0..<1000 {
            #expect(!limiter.allows("ann", start + UInt64(step) * second / 1001))
        }
        #expect(limiter.allows("ann", start + second))
    }

    @Test func `A bucket that rests is full and no fuller`() {
        for _ in 0..<5 { _ = limiter.allows("ann", start) }
        let later = start + 3600 * second
        for _ in 0..<5 { #expect(limiter.allows("ann", later)) }
        #expect(!limiter.allows("ann", later))
    }

    @Test func `Whoever keeps to the told waiting time is admitted`() {
        var now = start
        var random = Random(seed: 3)
        for _ in 0..<500 {
            now += random.next() % (3 * second / 2)
            let decision = limiter.ask("ann", now)
            if decision.isAllowed { continue }
            #expect(!limiter.allows("ann", now + UInt64(decision.retryAfterSeconds - 1) * second))
            now += UInt64(decision.retryAfterSeconds) * second
            #expect(limiter.allows("ann", now))
        }
    }

    @Test func `Over any time no more are admitted than rate and burst give`() {
        var random = Random(seed: 8)
        var now = start
        var admitted = 0
        while now < start + 600 * second {
            if limiter.allows("ann", now) { admitted += 1 }
            now += random.next() % (second / 3)
        }
        #expect(admitted <= 605 && admitted >= 590)
    }

    @Test func `Users, scopes and tenants have buckets of their own`() {
        for _ in 0..<5 { _ = limiter.allows("ann", start) }
        #expect(!limiter.allows("ann", start))
        #expect(limiter.ask("bob", start).remaining == 4)
        #expect(limiter.ask("ann", start, scope: 2).remaining == 4)
        for tenant in UInt16(0)..<4 {
            for remaining in [4, 3, 2, 1, 0] {
                #expect(
                    limiter.admit(tenant: TenantIndex(tenant), limit, now: start).remaining
                        == remaining)
            }
            #expect(!limiter.admit(tenant: TenantIndex(tenant), limit, now: start).isAllowed)
        }
        #expect(RateLimiter(tenantCountMax: 4, seed: 9).allows("ann", start), "nothing is global")
    }

    @Test func `Ten thousand users do not share`() {
        for user in 0..<10_000 { #expect(limiter.ask("user\(user)", start).remaining == 4) }
        for user in 0..<10_000 { #expect(limiter.ask("user\(user)", start).remaining == 3) }
    }

    @Test func `A full table is too strict for some and too lax for nobody`() {
        let one = RateLimit(perMinute: 1, burst: 1)
        var admitted: [Int] = []
        for user in 0..<120_000 where limiter.allows("user\(user)", start, one) {
            admitted.append(user)
        }
        #expect(admitted.count > 50_000 && admitted.count <= 65_536)
        for user in admitted { #expect(!limiter.allows("user\(user)", start + second, one)) }
        // When their time has passed, their places are anybody's.
        let later = start + 61 * second
        var again = 0
        for user in 200_000..<210_000 where limiter.allows("user\(user)", later, one) { again += 1 }
        #expect(again == 10_000)
    }

    @Test func `A clock that differs between cores frees nothing`() {
        for _ in 0..<5 { _ = limiter.allows("ann", start) }
        #expect(!limiter.allows("ann", start - 1))
        #expect(!limiter.allows("ann", start - 10 * second))
        #expect(limiter.allows("ann", start + second))
    }

    @Test(arguments: [(0, 0), (-1, -1), (1, 1), (Int.max, 1), (1, 1_000_000)])
    func `Any setting admits at least one request and keeps to its arithmetic`(
        _ perMinute: Int, _ burst: Int
    ) {
        let limit = RateLimit(perMinute: perMinute, burst: burst)
        #expect(limiter.allows("x", start, limit))
        if burst <= 1, perMinute <= 1 {
            let refused = limiter.ask("x", start, limit)
            #expect(!refused.isAllowed && refused.retryAfterSeconds == 60)
        }
    }
}

import Bytes
import ChatModel
import Stores
import Testing

@testable import Identity

private func read(_ text: String) -> APIKey? {
    let block = ByteBlock(text)
    return APIKey(block.bytes)
}

private let second: UInt64 = 1_000_000_000
private let made = APIKey.make(
    tenant: "acme", name: "ci", roles: [.service, .ops], nowMilliseconds: 77)

extension APIKeyCache {
    /// The principal; nil when refused or unknown.
    fileprivate func known(_ text: String, now: UInt64) -> Principal? {
        let block = ByteBlock(text)
        guard case .known(let principal) = verify(block.bytes, nowNanoseconds: now) else {
            return nil
        }
        return principal
    }

    fileprivate func asks(_ text: String, now: UInt64) -> UInt64? {
        let block = ByteBlock(text)
        guard case .unknown(let id) = verify(block.bytes, nowNanoseconds: now) else { return nil }
        return id
    }

    fileprivate func refuses(_ text: String, now: UInt64) -> Bool {
        known(text, now: now) == nil && asks(text, now: now) == nil
    }
}

@Suite struct APIKeyTextTests {
    @Test func `A new key's text holds its id, and its record only the secret's digest`() {
        let secret = String(made.text.suffix(43))
        #expect(made.text.utf8.count == 63 && made.text.hasPrefix("ck_"))
        #expect(read(made.text)?.id == made.record.id)
        #expect(decoded(secret)?.count == 32)
        let block = ByteBlock(secret)
        #expect(made.record.secretDigest == Digests.sha256(block.bytes))
        #expect(made.record.createdAtMilliseconds == 77 && !made.record.isRevoked)
        #expect(made.record.id <= UInt64(Int64.max), "SQLite's integers are signed")
    }

    @Test func `No two keys are alike`() {
        let keys = (0..<200).map { _ in
            APIKey.make(tenant: "t", name: "n", roles: [], nowMilliseconds: 0)
        }
        #expect(Set(keys.map(\.text)).count == 200)
        #expect(Set(keys.map(\.record.id)).count == 200)
    }

    @Test func `What has another form is no key`() {
        let text = made.text
        var others = [
            "", "ck_", "ck", "x", text + "A", String(text.dropLast()), String(text.dropFirst()),
        ]
        others += [
            "CK" + text.dropFirst(2), "sk" + text.dropFirst(2), "ck-" + text.dropFirst(3),
            " " + text,
        ]
        for place in 3..<19 {
            for letter in ["g", "_", " ", "-", "G", "\0"] {
                others.append(text.prefix(place) + letter + text.dropFirst(place + 1))
            }
        }
        for letter in ["-", "x", "0", "."] {
            others.append(text.prefix(19) + letter + text.dropFirst(20))
        }
        for other in others { #expect(read(other) == nil, "\(other)") }
        for count in 0..<text.count { #expect(read(String(text.prefix(count))) == nil) }
    }
}

@Suite struct APIKeyCacheTests {
    private func cache(_ timeToLiveSeconds: UInt64 = 3) -> APIKeyCache {
        APIKeyCache(directory: tenants(), timeToLiveSeconds: timeToLiveSeconds)
    }

    @Test func `A key is looked up once and then known with its roles' rights`() {
        let cache = cache()
        #expect(cache.asks(made.text, now: 0) == made.record.id)
        cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: 0)
        let principal = cache.known(made.text, now: second)
        #expect(principal?.tenant == TenantIndex(0))
        #expect(principal?.subject.text == "key:ci")
        #expect(principal?.permissions == Role.service.permissions.union(Role.ops.permissions))
        #expect(principal?.expiresAtSeconds == .max)
    }

    @Test func `Every other secret under a known id is refused`() {
        let cache = cache()
        cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: 0)
        let text = Array(made.text.utf8)
        for place in 20..<63 {
            var other = text
            other[place] = other[place] == 0x41 ? 0x42 : 0x41
            #expect(cache.refuses(String(decoding: other, as: UTF8.self), now: 1))
        }
        #expect(cache.known(made.text, now: 1) != nil)
    }

    @Test
    func `What is known is asked again after its time to live, which is at most five seconds`() {
        for (setting, seconds) in [(3, 3), (5, 5), (600, 5), (UInt64.max, 5)] as [(UInt64, UInt64)]
        {
            let cache = cache(setting)
            cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: second)
            #expect(cache.known(made.text, now: second + seconds * second - 1) != nil)
            #expect(cache.asks(made.text, now: second + seconds * second) == made.record.id)
        }
    }

    @Test func `An unknown, revoked or foreign key is refused for a second without a look-up`() {
        let revoked = APIKeyRecord(
            id: made.record.id, tenant: "acme", name: "ci", roles: [.admin],
            secretDigest: made.record.secretDigest, createdAtMilliseconds: 0, isRevoked: true)
        let foreign = APIKeyRecord(
            id: made.record.id, tenant: "gone", name: "ci", roles: [.admin],
            secretDigest: made.record.secretDigest, createdAtMilliseconds: 0, isRevoked: false)
        for record in [nil, revoked, foreign] {
            let cache = cache()
            cache.didLookUp(id: made.record.id, record, nowNanoseconds: 0)
            #expect(cache.refuses(made.text, now: 0))
            #expect(cache.refuses(made.text, now: second - 1))
            #expect(cache.asks(made.text, now: second) == made.record.id)
        }
    }

    @Test func `A revocation takes hold with the next look-up`() {
        let cache = cache()
        cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: 0)
        #expect(cache.known(made.text, now: 1) != nil)
        cache.didLookUp(id: made.record.id, nil, nowNanoseconds: 2)
        #expect(cache.refuses(made.text, now: 3))
    }

    @Test(arguments: ["", "x", "ck_", "Bearer x", "ck_0000000000000000_short"])
    func `What is no key is refused without a look-up`(_ text: String) {
        #expect(cache().refuses(text, now: 0))
    }

    @Test func `A new directory is asked anew`() {
        let cache = cache()
        cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: 0)
        cache.replaceDirectory(tenants(["globex"]))
        #expect(cache.asks(made.text, now: 1) == made.record.id)
        cache.didLookUp(id: made.record.id, made.record, nowNanoseconds: 1)
        #expect(cache.refuses(made.text, now: 2))
    }
}

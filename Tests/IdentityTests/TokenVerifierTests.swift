import Bytes
import ChatModel
import Testing

@testable import Identity

/// RFC 7515 appendix A.1.
private let rfcToken =
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    + ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
private let rfcKey =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

private struct Refusal: Sendable, CustomTestStringConvertible {
    var claims: String
    var fault: CredentialFault

    init(_ claims: String, _ fault: CredentialFault) {
        self.claims = claims
        self.fault = fault
    }

    var testDescription: String { "\(fault) \(claims)" }
}

private let refusals: [Refusal] = [
    // exp is needed, a number, and later than now (1000).
    Refusal(claims(exp: nil), .noExpiry), Refusal(claims(exp: "null"), .malformed),
    Refusal(claims(exp: "\"2000\""), .malformed), Refusal(claims(exp: "true"), .malformed),
    Refusal(claims(exp: "[2000]"), .malformed), Refusal(claims(exp: "{}"), .malformed),
    Refusal(claims(exp: "-2000"), .malformed), Refusal(claims(exp: "0"), .malformed),
    Refusal(claims(exp: "1e15"), .malformed), Refusal(claims(exp: "1e300"), .malformed),
    Refusal(claims(exp: "18446744073709551615"), .malformed), Refusal(claims(exp: "1"), .expired),
    Refusal(claims(exp: "999"), .expired), Refusal(claims(exp: "1000"), .expired),
    Refusal(claims(exp: "1000.9"), .expired),
    // nbf, when there, is a number that is not later than now.
    Refusal(claims("\"nbf\":1001"), .notYetValid), Refusal(claims("\"nbf\":1000.5"), .notYetValid),
    Refusal(claims("\"nbf\":1e300"), .notYetValid), Refusal(claims("\"nbf\":\"0\""), .malformed),
    Refusal(claims("\"nbf\":null"), .malformed), Refusal(claims("\"nbf\":[]"), .malformed),
    // tenant_id names a known tenant.
    Refusal(claims(tenant: nil), .tenant), Refusal(claims(tenant: "\"\""), .tenant),
    Refusal(claims(tenant: "\"Acme\""), .tenant), Refusal(claims(tenant: "\"acme \""), .tenant),
    Refusal(claims(tenant: "null"), .tenant), Refusal(claims(tenant: "0"), .tenant),
    Refusal(claims(tenant: "[\"acme\"]"), .tenant),
    Refusal(claims(tenant: "\"acme\\u0000\""), .tenant),
    // sub is a string of 1 to 128 bytes.
    Refusal(claims(sub: nil), .subject), Refusal(claims(sub: "\"\""), .subject),
    Refusal(claims(sub: "null"), .subject), Refusal(claims(sub: "7"), .subject),
    Refusal(claims(sub: "[\"ann\"]"), .subject),
    Refusal(claims(sub: "\"" + String(repeating: "x", count: 129) + "\""), .subject),
    Refusal(claims(sub: "\"" + String(repeating: "é", count: 65) + "\""), .subject),
    // The payload is one JSON object.
    Refusal("", .malformed), Refusal("null", .malformed), Refusal("[]", .malformed),
    Refusal("\"x\"", .malformed), Refusal("{", .malformed), Refusal(claims() + "x", .malformed),
    Refusal(claims() + claims(), .malformed), Refusal("{\"sub\":\"ann\",}", .malformed),
    Refusal(claims("\"deep\":[[[[[[[[[1]]]]]]]]]"), .malformed),
    // A claim that is named twice says two things (RFC 7519 section 4).
    Refusal(claims("\"sub\":\"bob\""), .malformed), Refusal(claims("\"exp\":1"), .malformed),
    Refusal(claims("\"tenant_id\":\"globex\""), .malformed),
]

@Suite struct TokenVerifierTests {
    @Test func `The signature of RFC 7515's example verifies, and its claims are looked at next`() {
        let key = decoded(rfcKey) ?? []
        #expect(key.count == 64)
        let verifier = verifier(key: key)
        #expect(verifier.fault(rfcToken, now: 1_300_819_379) == .tenant, "it lacks our claims")
        #expect(verifier.fault(rfcToken, now: 1_300_819_380) == .expired)
        let last = rfcToken.dropLast() + "g"
        #expect(verifier.fault(String(last), now: 1_300_819_379) == .signature)
        #expect(self.verifier().fault(rfcToken, now: 1_300_819_379) == .signature)
    }

    private func verifier(issuer: String? = nil, audience: String? = nil) -> TokenVerifier {
        IdentityTests.verifier(issuer: issuer, audience: audience)
    }

    private func verifier(key: [UInt8]) -> TokenVerifier { IdentityTests.verifier(key: key) }

    @Test func `A good token gives tenant, subject, rights and expiry`() {
        let principal = verifier().principal(
            token(claims(tenant: #""globex""#, #""roles":["ops"]"#)))
        #expect(principal?.tenant == TenantIndex(1))
        #expect(principal?.subject.text == "ann")
        #expect(principal?.permissions == Role.ops.permissions)
        #expect(principal?.expiresAtSeconds == 2000)
    }

    @Test(arguments: ["1001", "1001.5", "2e3", "999999999999999"])
    func `A token is good until its expiry`(_ exp: String) {
        #expect(verifier().fault(token(claims(exp: exp))) == nil)
    }

    @Test(arguments: ["0", "1000", "999.9", "-5"])
    func `A token is good from its nbf on`(_ nbf: String) {
        #expect(verifier().fault(token(claims("\"nbf\":\(nbf)"))) == nil)
    }

    @Test(arguments: refusals)
    private func `A token without the right claims is refused for its reason`(_ refusal: Refusal) {
        #expect(verifier().fault(token(refusal.claims)) == refusal.fault)
    }

    @Test func `A subject of exactly the limit is accepted`() {
        let name = String(repeating: "x", count: 128)
        #expect(verifier().principal(token(claims(sub: "\"\(name)\"")))?.subject.text == name)
    }

    @Test func `HS384 and HS512 verify with their own hash, and with no other`() {
        for (name, bits) in [("HS256", 256), ("HS384", 384), ("HS512", 512)] {
            for made in [256, 384, 512] {
                let text = token(header: "{\"alg\":\"\(name)\"}", claims(), bits: made)
                #expect(
                    verifier().fault(text) == (made == bits ? nil : .signature), "\(name) \(made)")
            }
        }
    }

    @Test(arguments: [
        (#"{"alg":"none"}"#, CredentialFault.algorithm), (#"{"alg":"None"}"#, .algorithm),
        (#"{"alg":"NONE"}"#, .algorithm), (#"{"alg":"nOnE"}"#, .algorithm),
        (#"{"alg":""}"#, .algorithm),
        (#"{"alg":"RS256"}"#, .algorithm), (#"{"alg":"ES256"}"#, .algorithm),
        (#"{"alg":"PS256"}"#, .algorithm), (#"{"alg":"EdDSA"}"#, .algorithm),
        (#"{"alg":"hs256"}"#, .algorithm), (#"{"alg":"HS256 "}"#, .algorithm),
        (#"{"alg":"HS1"}"#, .algorithm), (#"{"alg":"HS256\u0000"}"#, .algorithm),
        (#"{"alg":"HS256","crit":["exp"]}"#, .algorithm),
        (#"{"alg":"HS256","crit":[]}"#, .algorithm),
        (#"{"crit":null,"alg":"HS256"}"#, .algorithm),
        (#"{}"#, .malformed), (#"{"alg":null}"#, .malformed), (#"{"alg":256}"#, .malformed),
        (#"{"alg":["HS256"]}"#, .malformed), (#"{"typ":"JWT"}"#, .malformed), ("[]", .malformed),
        ("", .malformed), ("HS256", .malformed), (#"{"alg":"HS256""#, .malformed),
        (#"{"alg":"HS256","alg":"none"}"#, .malformed),
    ])
    func `A header is refused for its reason though the signature is right`(
        _ header: String, _ fault: CredentialFault
    ) {
        #expect(verifier().fault(token(header: header, claims())) == fault)
        let unsigned = encoded(header) + "." + encoded(claims()) + "."
        #expect(verifier().fault(unsigned) != nil, "without a signature it is no better")
    }

    @Test func `A token without a signature, or with an empty one, is refused`() {
        let signed = encoded(#"{"alg":"HS256"}"#) + "." + encoded(claims())
        #expect(verifier().fault(signed) == .malformed)
        #expect(verifier().fault(signed + ".") == .signature)
        #expect(verifier().fault(signed + ".AA") == .signature)
    }

    @Test func `A key that differs in one bit verifies nothing`() {
        let text = token(claims())
        for place in secret.indices {
            var other = secret
            other[place] ^= 1
            #expect(verifier(key: other).fault(text) == .signature)
        }
        #expect(verifier(key: secret + [0]).fault(text) == nil, "HMAC pads keys with zeros")
        #expect(verifier(key: secret + [1]).fault(text) == .signature)
    }

    @Test(arguments: [
        "", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "....", "e30.e30.", "e30.e30.e30",
        "Bearer x.y.z", " ", "\0", "null",
    ])
    func `What is no compact token is refused`(_ text: String) {
        #expect(verifier().fault(text) != nil)
    }

    @Test func `Every change of one character is refused, also when the token is in the cache`() {
        let verifier = verifier()
        let good = Array(token(claims()).utf8)
        #expect(verifier.principal(good) != nil)
        let letters = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0".utf8)
        var accepted: [Int] = []
        for place in good.indices {
            for letter in letters + [0x80, 0xFF] where letter != good[place] {
                var other = good
                other[place] = letter
                if verifier.principal(other) != nil { accepted.append(place) }
            }
            var shorter = good
            shorter.remove(at: place)
            if verifier.principal(shorter) != nil { accepted.append(place) }
            var longer = good
            longer.insert(0x41, at: place)
            if verifier.principal(longer) != nil { accepted.append(place) }
            if verifier.principal(Array(good[..<place])) != nil { accepted.append(place) }
        }
        for suffix in ["A", ".", "=", " ", "\n", "\0"]
        where verifier.principal(good + Array(suffix.utf8)) != nil {
            accepted.append(good.count)
        }
        #expect(accepted == [])
        #expect(verifier.principal(good) != nil, "and the good one is still good")
    }

    @Test func `Parts of two good tokens do not make a third`() {
        let parts = [claims(), claims(sub: #""admin""#, #""roles":["admin"]"#)].map {
            token($0).split(separator: ".").map(String.init)
        }
        let mixed = [parts[0][0], parts[1][1], parts[0][2]].joined(separator: ".")
        #expect(verifier().fault(mixed) == .signature)
    }

    @Test func `A token above the limit is refused before it is read`() {
        let text = token(claims("\"x\":\"\(String(repeating: "x", count: Limits.tokenBytesMax))\""))
        #expect(verifier().fault(text) == .malformed)
    }
}

@Suite struct IssuerAndAudienceTests {
    @Test(arguments: [
        (#""iss":"us""#, true), (#""iss":["x","us"]"#, true), (#""iss":"Us""#, false),
        (#""iss":"them""#, false), (#""iss":null"#, false), (#""iss":[]"#, false),
        (#""iss":1"#, false),
        (#""iss":{"us":1}"#, false), (#""iss":[["us"]]"#, false), ("", false),
        (#""iss":"""#, false),
    ])
    func `A configured issuer must be named`(_ claim: String, _ isGood: Bool) {
        #expect(verifier(issuer: "us").fault(token(claims(claim))) == (isGood ? nil : .issuer))
    }

    @Test(arguments: [
        (#""aud":"chat""#, true), (#""aud":["a","chat"]"#, true), (#""aud":["chat",1]"#, true),
        (#""aud":"chats""#, false), (#""aud":["a","b"]"#, false), (#""aud":[1]"#, false),
        ("", false),
        (#""aud":null"#, false), (#""aud":true"#, false), (#""iss":"chat""#, false),
    ])
    func `A configured audience must be named`(_ claim: String, _ isGood: Bool) {
        #expect(
            verifier(audience: "chat").fault(token(claims(claim))) == (isGood ? nil : .audience))
    }

    @Test func `Without configuration any issuer and audience do`() {
        #expect(verifier().fault(token(claims(#""iss":"x","aud":["y"]"#))) == nil)
    }
}

@Suite struct RoleClaimTests {
    @Test func `A token without roles is an end user's`() {
        #expect(verifier().principal(token(claims()))?.permissions == Role.endUser.permissions)
    }

    @Test func `Each role gives its permissions, and several give all of theirs`() {
        for role in Role.allCases {
            let text = token(claims("\"roles\":[\"\(role.rawValue)\"]"))
            #expect(verifier().principal(text)?.permissions == role.permissions)
        }
        let both = verifier().principal(token(claims(#""roles":["end_user","ops"]"#)))?.permissions
        #expect(both == Role.endUser.permissions.union(Role.ops.permissions))
    }

    @Test(arguments: [
        "[]", "[\"root\"]", "[\"Admin\"]", "[\"admin \"]", "[[\"admin\"]]", "[{\"admin\":1}]",
        "[1,null,true]",
        "\"admin\"", "null", "{\"admin\":true}", "1",
    ])
    func `Anything else gives nothing`(_ roles: String) {
        let principal = verifier().principal(token(claims("\"roles\":\(roles)")))
        #expect(principal?.permissions == [])
    }
}

@Suite struct TokenCacheTests {
    @Test
    func `A cached token is given back as the same principal until it expires, and not after`() {
        let verifier = verifier()
        let text = token(claims())
        let first = verifier.principal(text, now: 1000)
        #expect(first != nil)
        #expect(verifier.principal(text, now: 1999) === first)
        #expect(verifier.fault(text, now: 2000) == .expired)
        #expect(verifier.fault(text, now: 2000) == .expired, "also when it has left the cache")
        #expect(verifier.fault(text, now: 1000) == nil)
    }

    @Test
    func `Each look at a token counts as a hit or as a miss, one that has expired as neither`() {
        let verifier = verifier()
        let (text, other) = (token(claims()), token(claims(sub: "\"bob\"")))
        #expect(verifier.hits == 0 && verifier.misses == 0)
        _ = verifier.principal(text)
        #expect(verifier.hits == 0 && verifier.misses == 1)
        for _ in 0..<3 { _ = verifier.principal(text) }
        #expect(verifier.hits == 3 && verifier.misses == 1)
        _ = verifier.principal(other)
        #expect(verifier.hits == 3 && verifier.misses == 2)
        #expect(verifier.fault(text, now: 2000) == .expired)
        #expect(verifier.hits == 3 && verifier.misses == 2)
        #expect(verifier.fault(text, now: 2000) == .expired, "now it is verified anew")
        #expect(verifier.hits == 3 && verifier.misses == 3)
    }

    @Test func `A refused token is a miss each time, and the uncached way counts nothing`() {
        let verifier = verifier()
        let bad = token(claims(), key: hex(0x61, 32))
        for count in 1...3 {
            #expect(verifier.fault(bad) == .signature)
            #expect(verifier.hits == 0 && verifier.misses == count)
        }
        let block = ByteBlock(token(claims()))
        _ = try? verifier.verifyUncached(block.bytes, nowSeconds: 1000)
        #expect(verifier.hits == 0 && verifier.misses == 3)
    }

    @Test func `After a new directory a token is a miss once`() {
        let verifier = verifier()
        let text = token(claims())
        for _ in 0..<2 { _ = verifier.principal(text) }
        verifier.replaceDirectory(tenants())
        for _ in 0..<2 { _ = verifier.principal(text) }
        #expect(verifier.hits == 2 && verifier.misses == 2)
    }

    @Test func `A refused token is not remembered as good`() {
        let verifier = verifier()
        let text = token(claims("\"nbf\":1500"))
        #expect(verifier.fault(text, now: 1000) == .notYetValid)
        #expect(verifier.fault(text, now: 1500) == nil)
    }

    @Test func `A new directory forgets tokens of tenants that are gone`() {
        let verifier = verifier()
        let text = token(claims())
        #expect(verifier.fault(text) == nil)
        verifier.replaceDirectory(tenants(["globex"]))
        #expect(verifier.fault(text) == .tenant)
        verifier.replaceDirectory(tenants(["globex", "acme"]))
        #expect(verifier.principal(text)?.tenant == TenantIndex(1))
    }

    @Test func `More tokens than the cache holds are all verified`() {
        let verifier = verifier()
        let texts = (0..<Limits.tokenCacheEntriesPerShard + 200).map {
            token(claims(sub: "\"u\($0)\""))
        }
        for (number, text) in texts.enumerated() {
            #expect(verifier.principal(text)?.subject.text == "u\(number)")
        }
        #expect(verifier.principal(texts[0])?.subject.text == "u0")
    }

    @Test func `The uncached way agrees`() {
        let verifier = verifier()
        let block = ByteBlock(token(claims()))
        let early = try? verifier.verifyUncached(block.bytes, nowSeconds: 1999)
        let late = try? verifier.verifyUncached(block.bytes, nowSeconds: 2000)
        #expect(early != nil && late == nil)
    }
}

@Suite struct TokenIssuerTests {
    @Test func `What the issuer makes, the verifier of the same settings accepts`() {
        for (issuer, audience) in [(nil, nil), ("us", nil), (nil, "chat"), ("u\"s", "c\\h")]
            as [(String?, String?)]
        {
            let settings = TokenSettings(secret: secret, issuer: issuer, audience: audience)
            let text = TokenIssuer(settings: settings).issue(
                tenant: "globex", subject: "né \"x\"\n", roles: [.agent, .ops],
                issuedAtSeconds: 900,
                expiresAtSeconds: 1900)
            let principal = TokenVerifier(settings: settings, directory: tenants()).principal(text)
            #expect(principal?.tenant == TenantIndex(1))
            #expect(principal?.subject.text == "né \"x\"\n")
            #expect(principal?.permissions == Role.agent.permissions.union(Role.ops.permissions))
            #expect(principal?.expiresAtSeconds == 1900)
        }
    }

    @Test func `No roles are no rights`() {
        let settings = TokenSettings(secret: secret, issuer: nil, audience: nil)
        let text = TokenIssuer(settings: settings).issue(
            tenant: "acme", subject: "x", roles: [], issuedAtSeconds: 1, expiresAtSeconds: 5000)
        #expect(verifier().principal(text)?.permissions == [])
    }

    @Test func `An issuer of another secret, or for another audience, is not believed`() {
        let other = TokenSettings(secret: Array("x".utf8) + secret, issuer: "us", audience: nil)
        let text = TokenIssuer(settings: other).issue(
            tenant: "acme", subject: "x", roles: [.admin], issuedAtSeconds: 1,
            expiresAtSeconds: 5000)
        #expect(verifier().fault(text) == .signature)
        #expect(TokenVerifier(settings: other, directory: tenants()).fault(text) == nil)
        let strict = TokenSettings(secret: other.secret.array, issuer: "us", audience: "chat")
        #expect(TokenVerifier(settings: strict, directory: tenants()).fault(text) == .audience)
    }
}

// Tokens: nothing is accepted that the key has not signed as it stands, and of what it has signed,
// exactly what the rules say (RFC 7519, RFC 7515, and `TokenVerifier`'s own).

import Bytes
import ChatModel
import Glibc
import Identity
import Wire

private let key = Array("the fuzzer's key of thirty-two bytes or more".utf8)
private let now: UInt64 = 1_700_000_000
private let directory = TenantDirectory([
    Tenant(
        index: TenantIndex(0), name: "acme", allowsGuests: true, ratePerMinute: 1, burst: 1,
        userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
])
private nonisolated(unsafe) let parser = JSONParser(
    documentBytesMax: Limits.tokenBytesMax, depthMax: 8)

private func verifier() -> TokenVerifier {
    TokenVerifier(
        settings: TokenSettings(secret: key, issuer: nil, audience: nil), directory: directory,
        seed: 1)
}

/// First byte even: the rest is a token. Odd: the rest is header and payload with a 0 between
/// them, which are signed as the second byte says.
func fuzzTokens(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let isSigned = input.choice(of: 2) == 1
    let bits = [256, 384, 512][input.choice(of: 3)]
    let place = Int(input.byte()) << 8 | Int(input.byte())
    if isSigned {
        expectRules(input.rest(), bits: bits, place)
    } else {
        expectSignature(input.rest())
    }
}

private func accepts(_ token: [UInt8]) -> Principal? {
    let block = ByteBlock(token)
    return try? verifier().verify(block.bytes, nowSeconds: now)
}

// MARK: Signatures

private func expectSignature(_ token: [UInt8]) {
    guard accepts(token) != nil else { return }
    let parts = token.split(separator: 0x2E, omittingEmptySubsequences: false)
    expect(parts.count == 3, "a token has three parts")
    let signed = Array(parts[0]) + [0x2E] + parts[1]
    let isOurs = [256, 384, 512].contains { Array(parts[2]) == signature(signed, bits: $0) }
    expect(isOurs, "a token is accepted that was not signed")
}

private func encoded(_ bytes: [UInt8]) -> [UInt8] {
    let writer = ByteWriter(capacity: 64)
    let block = ByteBlock(bytes)
    Base64URL.encode(block.bytes, into: writer)
    let decoded = ByteWriter(capacity: 64)
    expect(Base64URL.decode(writer.bytes, into: decoded), "an encoding is not decoded")
    expect(decoded.bytes.array() == bytes, "an encoding is decoded to other bytes")
    return writer.bytes.array()
}

private func signature(_ signed: [UInt8], bits: Int) -> [UInt8] {
    let writer = ByteWriter(capacity: 64)
    let (secret, text) = (ByteBlock(key), ByteBlock(signed))
    expect(Digests.hmac(bits: bits, key: secret.bytes, text.bytes, into: writer), "no HMAC")
    return encoded(writer.bytes.array())
}

// MARK: Rules

private func expectRules(_ text: [UInt8], bits: Int, _ place: Int) {
    let split = text.firstIndex(of: 0) ?? text.count
    let header = Array(text[..<split])
    let payload = Array(text[split...].dropFirst())
    let signed = encoded(header) + [0x2E] + encoded(payload)
    let token = signed + [0x2E] + signature(signed, bits: bits)
    let principal = accepts(token)
    let isValid =
        token.count <= Limits.tokenBytesMax && header.allowsAlgorithm(bits) && payload.areClaims()
    expect((principal != nil) == isValid, "the rules and the verifier disagree")
    guard let principal else { return }
    // Any other last bits, and any other byte anywhere, make another token.
    var other = token
    other[place % token.count] ^= 1 << UInt8(place >> 8 & 7)
    expect(accepts(other) == nil, "a token is accepted with one bit changed")
    let cached = verifier()
    let block = ByteBlock(token)
    for _ in 0..<2 {
        let again = try? cached.verify(block.bytes, nowSeconds: now)
        expect(again?.subject.equals(principal.subject) ?? false, "the cache knows another subject")
    }
    let late = try? cached.verify(block.bytes, nowSeconds: principal.expiresAtSeconds)
    expect(late == nil, "a token outlives its end in the cache")
}

/// The members of an object that no reader could understand in two ways.
private func members(_ text: [UInt8]) -> [String: JSONNode]? {
    let parser = unsafe parser
    let block = ByteBlock(text)
    guard parser.parse(block.bytes), parser.kind(JSONParser.root) == .object,
        !parser.hasDuplicateKeys(JSONParser.root)
    else { return nil }
    var found: [String: JSONNode] = [:]
    var key = parser.first(in: JSONParser.root)
    while let current = key {
        found[parser.string(current).string()] = parser.value(of: current)
        key = parser.nextKey(after: current)
    }
    return found
}

extension Array where Element == UInt8 {
    fileprivate func allowsAlgorithm(_ bits: Int) -> Bool {
        guard let header = members(self), header["crit"] == nil, let name = header["alg"] else {
            return false
        }
        let parser = unsafe parser
        return parser.kind(name) == .string && parser.string(name).string() == "HS\(bits)"
    }

    fileprivate func areClaims() -> Bool {
        guard let claims = members(self) else { return false }
        let parser = unsafe parser
        guard let end = claims["exp"].flatMap({ parser.number($0) }), end >= Double(now) + 1,
            end < 1e15
        else { return false }
        if let start = claims["nbf"] {
            guard let time = parser.number(start), time <= Double(now) else { return false }
        }
        guard let tenant = claims["tenant_id"], parser.kind(tenant) == .string,
            parser.string(tenant).string() == "acme", let subject = claims["sub"],
            parser.kind(subject) == .string
        else { return false }
        return (1...Limits.userIDBytesMax).contains(parser.string(subject).byteCount)
    }
}

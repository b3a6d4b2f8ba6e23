// JSON Web Tokens (RFC 7519, RFC 7515): verification, with an HMAC secret or with public keys, and
// making. One verifier per core: it keeps a bounded cache of tokens that have been verified, so
// that a token costs its signature once.
//
// Refused: `none` and every algorithm without a key (a key has one algorithm of its own), a `crit`
// header, a token without `exp`, one that is not yet valid, a foreign issuer or audience when these
// are configured, and a tenant that is not known.

import Bytes
import ChatModel
import Wire

/// Why a credential is refused; told to the client, so it gives nothing away.
public enum CredentialFault: Error, Sendable {
    case missing, malformed, algorithm, signature, expired, notYetValid, noExpiry, issuer, audience
    case tenant, subject, apiKey

    public var detail: String {
        switch self {
        case .missing: "Send Authorization: Bearer <token> or X-API-Key."
        case .malformed: "The token is malformed."
        case .algorithm: "The token's algorithm is not accepted."
        case .signature: "The token's signature does not verify."
        case .expired: "The token has expired."
        case .notYetValid: "The token is not valid yet."
        case .noExpiry: "The token has no exp claim."
        case .issuer: "The token's issuer is not accepted."
        case .audience: "The token's audience is not accepted."
        case .tenant: "The token's tenant is not known."
        case .subject: "The token has no valid sub claim."
        case .apiKey: "The API key is not valid."
        }
    }
}

/// What tokens are checked against.
public struct TokenSettings: Sendable {
    public let secret: ByteBlock
    public let issuer: String?
    public let audience: String?
    /// Beside the secret: who else signs tokens.
    public let publicKeys: PublicKeys

    public init(
        secret: [UInt8], issuer: String?, audience: String?, publicKeys: PublicKeys = .none
    ) {
        self.publicKeys = publicKeys
        self.secret = ByteBlock(secret)
        self.issuer = issuer
        self.audience = audience
    }
}

public final class TokenVerifier {
    private struct Cached {
        let token: ByteBlock
        let principal: Principal
    }

    private let settings: TokenSettings
    private var directory: TenantDirectory
    private var publicKeys: PublicKeys
    private let seed: UInt64
    private var cache: [UInt64: Cached] = [:]
    private let parser = JSONParser(documentBytesMax: Limits.tokenBytesMax, depthMax: 8)
    private let scratch = ByteWriter(capacity: 4096)
    private let signature = ByteWriter(capacity: 256)
    /// Tokens that were found in the cache, or had to be verified.
    public private(set) var hits = 0
    public private(set) var misses = 0

    /// `seed` keeps whoever makes tokens from aiming at places of the cache.
    public init(
        settings: TokenSettings, directory: TenantDirectory, seed: UInt64 = Digests.randomSeed()
    ) {
        self.seed = seed
        self.settings = settings
        publicKeys = settings.publicKeys
        self.directory = directory
    }

    /// What an old key signed is verified anew.
    public func replacePublicKeys(_ keys: PublicKeys) {
        publicKeys = keys
        cache.removeAll()
    }

    /// Tenants may have gone or changed: nothing that was verified against the old directory is
    /// kept.
    public func replaceDirectory(_ directory: TenantDirectory) {
        self.directory = directory
        cache.removeAll()
    }

    /// The principal of a compact token (`header.payload.signature`).
    public func verify(_ token: RawSpan, nowSeconds: UInt64) throws(CredentialFault) -> Principal {
        let hash = token.hash(seed: seed)
        if let known = cache[hash] {
            let cachedToken = known.token
            if Digests.equalInConstantTime(cachedToken.bytes, token) {
                guard known.principal.expiresAtSeconds > nowSeconds else {
                    cache[hash] = nil
                    throw .expired
                }
                hits += 1
                return known.principal
            }
        }
        misses += 1
        let principal = try verifyAnew(token, nowSeconds)
        if cache.count >= Limits.tokenCacheEntriesPerShard {
            cache.removeAll(keepingCapacity: true)
        }
        cache[hash] = Cached(token: ByteBlock(copying: token), principal: principal)
        return principal
    }

    /// The same without the cache, for a time of the caller's choice.
    public func verifyUncached(
        _ token: RawSpan, nowSeconds: UInt64
    ) throws(CredentialFault) -> Principal {
        try verifyAnew(token, nowSeconds)
    }

    private func verifyAnew(_ token: RawSpan, _ now: UInt64) throws(CredentialFault) -> Principal {
        guard token.byteCount <= Limits.tokenBytesMax else { throw .malformed }
        let first = token.firstOffset(of: 0x2E)
        guard first < token.byteCount else { throw .malformed }
        let second = token.firstOffset(of: 0x2E, from: first + 1)
        guard second < token.byteCount,
            token.firstOffset(of: 0x2E, from: second + 1) == token.byteCount
        else {
            throw .malformed
        }
        let signing = try signing(token.extracting(0..<first))
        let scratch = scratch
        scratch.removeAll()
        guard Base64URL.decode(token.extracting(second + 1..<token.byteCount), into: scratch) else {
            throw .malformed
        }
        guard verifies(scratch.bytes, of: token.extracting(0..<second), signing) else {
            throw .signature
        }
        return try claims(token.extracting(first + 1..<second), now)
    }

    /// How a token says that it is signed.
    private enum Signing {
        case secret(bits: Int)
        case publicKey(PublicKey.Algorithm, name: ByteBlock?)
    }

    private func verifies(_ given: RawSpan, of message: RawSpan, _ signing: Signing) -> Bool {
        switch signing {
        case .publicKey(let algorithm, let name):
            return publicKeys.verify(given, of: message, algorithm, name: name)
        case .secret(let bits):
            let (secret, signature) = (settings.secret, signature)
            signature.removeAll()
            return Digests.hmac(bits: bits, key: secret.bytes, message, into: signature)
                && Digests.equalInConstantTime(signature.bytes, given)
        }
    }

    private func document(_ encoded: RawSpan) -> Bool {
        let scratch = scratch
        scratch.removeAll()
        guard Base64URL.decode(encoded, into: scratch), parser.parse(scratch.bytes) else {
            return false
        }
        // RFC 7519 section 4: a claim that is named twice says two things; refuse.
        return parser.kind(JSONParser.root) == .object && !parser.hasDuplicateKeys(JSONParser.root)
    }

    private func signing(_ header: RawSpan) throws(CredentialFault) -> Signing {
        guard document(header) else { throw .malformed }
        let parser = parser
        guard parser.field(JSONParser.root, "crit") == nil else { throw .algorithm }
        guard let name = parser.field(JSONParser.root, "alg"), parser.kind(name) == .string else {
            throw .malformed
        }
        let text = parser.string(name)
        if text.equals("HS256") { return .secret(bits: 256) }
        if text.equals("HS384") { return .secret(bits: 384) }
        if text.equals("HS512") { return .secret(bits: 512) }
        for algorithm in PublicKey.Algorithm.allCases where text.equals(algorithm.name) {
            guard publicKeys.has(algorithm) else { break }
            return .publicKey(algorithm, name: try keyName(parser))
        }
        throw .algorithm
    }

    /// RFC 7515 section 4.1.4.
    private func keyName(_ parser: JSONParser) throws(CredentialFault) -> ByteBlock? {
        guard let node = parser.field(JSONParser.root, "kid") else { return nil }
        guard parser.kind(node) == .string else { throw .malformed }
        return ByteBlock(copying: parser.string(node))
    }

    private func claims(_ payload: RawSpan, _ now: UInt64) throws(CredentialFault) -> Principal {
        guard document(payload) else { throw .malformed }
        let parser = parser
        let root = JSONParser.root
        guard let expiryNode = parser.field(root, "exp") else { throw .noExpiry }
        guard let expiry = parser.number(expiryNode), expiry > 0, expiry < 1e15 else {
            throw .malformed
        }
        guard UInt64(expiry) > now else { throw .expired }
        if let node = parser.field(root, "nbf") {
            guard let start = parser.number(node) else { throw .malformed }
            guard start <= Double(now) else { throw .notYetValid }
        }
        if let issuer = settings.issuer, !names(parser.field(root, "iss"), issuer) { throw .issuer }
        if let audience = settings.audience, !names(parser.field(root, "aud"), audience) {
            throw .audience
        }
        guard let tenantNode = parser.field(root, "tenant_id"), parser.kind(tenantNode) == .string,
            let tenant = directory.find(parser.string(tenantNode))
        else { throw .tenant }
        guard let subjectNode = parser.field(root, "sub"), parser.kind(subjectNode) == .string
        else { throw .subject }
        let subject = ByteBlock(copying: parser.string(subjectNode))
        guard subject.count > 0, subject.count <= Limits.userIDBytesMax else { throw .subject }
        return Principal(
            tenant: tenant.index, subject: subject,
            permissions: permissions(parser.field(root, "roles")),
            expiresAtSeconds: UInt64(expiry))
    }

    /// True when the claim is this string, or an array that holds it (RFC 7519 section 4.1.3).
    private func names(_ claim: JSONNode?, _ wanted: String) -> Bool {
        guard let claim else { return false }
        let parser = parser
        if parser.kind(claim) == .string { return parser.string(claim).string() == wanted }
        guard parser.kind(claim) == .array else { return false }
        var element = parser.first(in: claim)
        while let current = element {
            if parser.kind(current) == .string, parser.string(current).string() == wanted {
                return true
            }
            element = parser.nextElement(after: current)
        }
        return false
    }

    /// Unknown roles give nothing; a token without the claim is an end user's.
    private func permissions(_ claim: JSONNode?) -> Permissions {
        guard let claim else { return Role.endUser.permissions }
        let parser = parser
        guard parser.kind(claim) == .array else { return [] }
        var granted: Permissions = []
        var element = parser.first(in: claim)
        while let current = element {
            if parser.kind(current) == .string,
                let role = Role(rawValue: parser.string(current).string())
            {
                granted.formUnion(role.permissions)
            }
            element = parser.nextElement(after: current)
        }
        return granted
    }
}

/// Makes HS256 tokens: guests', and those of the command line.
public struct TokenIssuer {
    public let settings: TokenSettings

    public init(settings: TokenSettings) { self.settings = settings }

    public func issue(
        tenant: String, subject: String, roles: [Role], issuedAtSeconds: UInt64,
        expiresAtSeconds: UInt64
    ) -> String {
        let claims = ByteWriter(capacity: 512)
        claims.append("{\"sub\":")
        claims.append(json: subject)
        claims.append(",\"tenant_id\":")
        claims.append(json: tenant)
        claims.append(",\"roles\":[")
        for (index, role) in roles.enumerated() {
            if index > 0 { claims.append(0x2C) }
            claims.append(json: role.rawValue)
        }
        claims.append("],\"iat\":")
        claims.append(decimal: issuedAtSeconds)
        claims.append(",\"exp\":")
        claims.append(decimal: expiresAtSeconds)
        if let issuer = settings.issuer {
            claims.append(",\"iss\":")
            claims.append(json: issuer)
        }
        if let audience = settings.audience {
            claims.append(",\"aud\":")
            claims.append(json: audience)
        }
        claims.append(0x7D)
        let token = ByteWriter(capacity: 1024)
        let header = ByteBlock("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")
        Base64URL.encode(header.bytes, into: token)
        token.append(0x2E)
        Base64URL.encode(claims.bytes, into: token)
        let signature = ByteWriter(capacity: 64)
        let secret = settings.secret
        let made = Digests.hmac(bits: 256, key: secret.bytes, token.bytes, into: signature)
        precondition(made, "libcrypto refused an HMAC")
        token.append(0x2E)
        Base64URL.encode(signature.bytes, into: token)
        return token.string()
    }
}

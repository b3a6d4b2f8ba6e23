// API keys: `ck_<16 hex of id>_<43 characters of secret>`. Only the secret's SHA-256 is stored.

import Bytes
import ChatModel
import Stores

public struct APIKey {
    public let id: UInt64
    /// Offset of the secret in the text.
    let secretStart: Int

    static let idDigits = 16
    static let secretCharacters = 43

    /// nil for anything that cannot be a key.
    public init?(_ text: RawSpan) {
        guard text.byteCount == 3 + Self.idDigits + 1 + Self.secretCharacters,
            text.hasPrefix("ck_"),
            text.byte(at: 3 + Self.idDigits) == 0x5F
        else { return nil }
        var value: UInt64 = 0
        for offset in 3..<3 + Self.idDigits {
            guard let nibble = hexadecimalValue(text.byte(at: offset)) else { return nil }
            value = value << 4 | nibble
        }
        id = value
        secretStart = 4 + Self.idDigits
    }

    /// A new key: its record for the directory, and its text, which is shown once.
    public static func make(
        tenant: String, name: String, roles: [Role], nowMilliseconds: UInt64,
        expiresAtSeconds: UInt64 = .max
    ) -> (record: APIKeyRecord, text: String) {
        let id = Digests.randomSeed() & 0x7FFF_FFFF_FFFF_FFFF
        let writer = ByteWriter(capacity: 96)
        let secretBytes = ByteBlock(Digests.random(32))
        Base64URL.encode(secretBytes.bytes, into: writer)
        let secret = writer.block()
        writer.removeAll()
        writer.append("ck_")
        writer.append(hex: id)
        writer.append(0x5F)
        writer.append(secret)
        let record = APIKeyRecord(
            id: id, tenant: tenant, name: name, roles: roles,
            secretDigest: Digests.sha256(secret.bytes),
            createdAtMilliseconds: nowMilliseconds, expiresAtSeconds: expiresAtSeconds,
            isRevoked: false)
        return (record, writer.string())
    }
}

/// Owner: one core. Keys that were looked up, for as long as `CONFIG_CACHE_TTL`; unknown ones are
/// remembered for a second, so that a bad key does not reach the directory with each request.
public final class APIKeyCache {
    private struct Cached {
        let principal: Principal?
        let digest: ByteBlock
        let validUntilNanoseconds: UInt64
    }

    public enum Outcome {
        case known(Principal)
        case refused
        /// Ask the directory for this id and call `didLookUp`.
        case unknown(id: UInt64)
    }

    private var directory: TenantDirectory
    private let timeToLiveNanoseconds: UInt64
    private var cache: [UInt64: Cached] = [:]
    private static let entriesMax = 4096

    public init(directory: TenantDirectory, timeToLiveSeconds: UInt64) {
        self.directory = directory
        // A key that was looked up must be valid for the request that waited for it.
        timeToLiveNanoseconds = max(min(timeToLiveSeconds, 5) * 1_000_000_000, 100_000_000)
    }

    /// Tenants or keys may have changed: all keys are looked up again.
    public func replaceDirectory(_ directory: TenantDirectory) {
        self.directory = directory
        cache.removeAll()
    }

    public func verify(_ text: RawSpan, nowNanoseconds: UInt64) -> Outcome {
        guard let key = APIKey(text) else { return .refused }
        guard let cached = cache[key.id], cached.validUntilNanoseconds > nowNanoseconds else {
            return .unknown(id: key.id)
        }
        guard let principal = cached.principal else { return .refused }
        let sent = ByteBlock(Digests.sha256(text.extracting(key.secretStart..<text.byteCount)))
        let digest = cached.digest
        return Digests.equalInConstantTime(sent.bytes, digest.bytes) ? .known(principal) : .refused
    }

    public func didLookUp(id: UInt64, _ record: APIKeyRecord?, nowNanoseconds: UInt64) {
        if cache.count >= Self.entriesMax { cache.removeAll(keepingCapacity: true) }
        guard let record, !record.isRevoked, let tenant = directory.find(named: record.tenant)
        else {
            cache[id] = Cached(
                principal: nil, digest: ByteBlock(""),
                validUntilNanoseconds: nowNanoseconds + 1_000_000_000)
            return
        }
        var permissions: Permissions = []
        for role in record.roles { permissions.formUnion(role.permissions) }
        let principal = Principal(
            tenant: tenant.index, subject: ByteBlock("key:\(record.name)"),
            permissions: permissions,
            expiresAtSeconds: record.expiresAtSeconds, apiKey: id)
        cache[id] = Cached(
            principal: principal, digest: ByteBlock(record.secretDigest),
            validUntilNanoseconds: nowNanoseconds + timeToLiveNanoseconds)
    }
}

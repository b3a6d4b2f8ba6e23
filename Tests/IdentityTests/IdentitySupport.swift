import Bytes
import ChatModel

@testable import Identity

extension ByteBlock {
    var text: String { bytes.string() }
    var array: [UInt8] { bytes.array() }
}

func bytes(_ hexadecimal: String) -> [UInt8] {
    let digits = Array(hexadecimal.utf8)
    return stride(from: 0, to: digits.count, by: 2).map {
        UInt8(hexadecimalValue(digits[$0])! << 4 | hexadecimalValue(digits[$0 + 1])!)
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    let writer = ByteWriter(capacity: 128)
    for byte in bytes { writer.append(hex: UInt64(byte), digits: 2) }
    return writer.string()
}

func hex(_ byte: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: byte, count: count) }

func encoded(_ bytes: [UInt8]) -> String {
    let writer = ByteWriter(capacity: 16)
    let block = ByteBlock(bytes)
    Base64URL.encode(block.bytes, into: writer)
    return writer.string()
}

func encoded(_ text: String) -> String { encoded(Array(text.utf8)) }

func decoded(_ text: String) -> [UInt8]? {
    let writer = ByteWriter(capacity: 16)
    let block = ByteBlock(text)
    return Base64URL.decode(block.bytes, into: writer) ? writer.block().array : nil
}

func hmac(_ bits: Int, _ key: [UInt8], _ message: [UInt8]) -> [UInt8]? {
    let writer = ByteWriter(capacity: 64)
    let (secret, text) = (ByteBlock(key), ByteBlock(message))
    return Digests.hmac(bits: bits, key: secret.bytes, text.bytes, into: writer)
        ? writer.block().array : nil
}

let secret = Array("a secret of at least thirty-two bytes".utf8)

func tenants(_ names: [String] = ["acme", "globex"]) -> TenantDirectory {
    TenantDirectory(
        names.enumerated().map { index, name in
            Tenant(
                index: TenantIndex(UInt16(index)), name: name, allowsGuests: true, ratePerMinute: 1,
                burst: 1, userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
        })
}

/// A signed compact token of any header and payload.
func token(
    header: String = #"{"alg":"HS256"}"#, _ payload: String, bits: Int = 256, key: [UInt8] = secret
) -> String {
    let signed = encoded(header) + "." + encoded(payload)
    return signed + "." + encoded(hmac(bits, key, Array(signed.utf8)) ?? [])
}

/// A payload of the contract's claims; nil leaves one out, and text is put in as it is.
func claims(
    sub: String? = #""ann""#, tenant: String? = #""acme""#, exp: String? = "2000",
    _ others: String = ""
) -> String {
    var members: [String] = []
    if let sub { members.append("\"sub\":" + sub) }
    if let tenant { members.append("\"tenant_id\":" + tenant) }
    if let exp { members.append("\"exp\":" + exp) }
    if !others.isEmpty { members.append(others) }
    return "{" + members.joined(separator: ",") + "}"
}

func verifier(
    issuer: String? = nil, audience: String? = nil, key: [UInt8] = secret
) -> TokenVerifier {
    TokenVerifier(
        settings: TokenSettings(secret: key, issuer: issuer, audience: audience),
        directory: tenants())
}

extension TokenVerifier {
    func principal(_ token: [UInt8], now: UInt64 = 1000) -> Principal? {
        let block = ByteBlock(token)
        return try? verify(block.bytes, nowSeconds: now)
    }

    func principal(_ token: String, now: UInt64 = 1000) -> Principal? {
        principal(Array(token.utf8), now: now)
    }

    /// Why a token is refused; nil when it is accepted.
    func fault(_ token: String, now: UInt64 = 1000) -> CredentialFault? {
        let block = ByteBlock(token)
        do throws(CredentialFault) {
            _ = try verify(block.bytes, nowSeconds: now)
            return nil
        } catch {
            return error
        }
    }
}

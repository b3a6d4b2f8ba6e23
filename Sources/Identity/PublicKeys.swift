// Public keys that tokens are verified with (RFC 7518 section 3, RFC 8037), out of PEM text or a
// JSON Web Key Set (RFC 7517). All cores share them: they never change.

import Bytes
import CCrypto
import ChatModel
import Wire

/// One key, and the one algorithm that it is for: a key that could be used in two ways would let a
/// token choose.
@safe public final class PublicKey: @unchecked Sendable {
    public enum Algorithm: Sendable, CaseIterable {
        /// RSA of 2048 to 8192 bits, PKCS #1 v1.5 with SHA-256.
        case rs256
        /// P-256 with SHA-256.
        case es256
        /// Ed25519.
        case edDSA

        public var name: StaticString {
            switch self {
            case .rs256: "RS256"
            case .es256: "ES256"
            case .edDSA: "EdDSA"
            }
        }
    }

    public let algorithm: Algorithm
    /// What a token's header calls it; nil for keys out of PEM, which fit any `kid`.
    public let name: ByteBlock?
    // Safety: owned by this object; libcrypto only reads it.
    private let pointer: OpaquePointer

    /// Takes the key over.
    fileprivate init(_ pointer: OpaquePointer, name: ByteBlock?) {
        unsafe self.pointer = unsafe pointer
        self.name = name
        algorithm =
            switch unsafe Int(cc_key_kind(pointer)) {
            case CC_KEY_P256: .es256
            case CC_KEY_ED25519: .edDSA
            default: .rs256
            }
    }

    deinit { unsafe cc_key_free(pointer) }

    public func verifies(_ signature: RawSpan, of message: RawSpan) -> Bool {
        // Safety: libcrypto reads both spans within their counts.
        unsafe message.withUnsafeBytes { message in
            unsafe signature.withUnsafeBytes { signature in
                unsafe cc_key_verify(
                    pointer, message.baseAddress, message.count, signature.baseAddress,
                    signature.count) == 1
            }
        }
    }
}

/// Why a text holds no keys.
public enum PublicKeyFault: Error, Equatable, Sendable {
    case noKey, privateKey, unknownKey, weakKey, tooMany

    public var detail: String {
        switch self {
        case .noKey: "it holds no public key"
        case .privateKey: "it holds a private key, which does not belong there"
        case .unknownKey: "it holds a key that is none of RSA, P-256 and Ed25519"
        case .weakKey: "it holds an RSA key of less than 2048 or more than 8192 bits"
        case .tooMany: "it holds more than \(Limits.publicKeysMax) keys"
        }
    }
}

public struct PublicKeys: Sendable {
    public let keys: [PublicKey]

    public static let none = PublicKeys(keys: [])

    init(keys: [PublicKey]) { self.keys = keys }

    /// Blocks named PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE (RFC 7468); what is around them is
    /// skipped. At most `Limits.publicKeysMax`, and at least one.
    public init(pem text: [UInt8]) throws(PublicKeyFault) {
        guard !text.isEmpty else { throw .noKey }
        let room = Limits.publicKeysMax
        var found = unsafe [OpaquePointer?](repeating: nil, count: room)
        var fault: Int32 = 0
        // Safety: libcrypto reads the text and writes as many pointers as there is room for.
        let count = unsafe text.withUnsafeBytes { bytes in
            unsafe cc_keys_from_pem(
                bytes.baseAddress.unsafelyUnwrapped, bytes.count, &found, room, &fault)
        }
        guard count > 0 else { throw Self.fault(Int(fault)) }
        keys = unsafe found.prefix(count).compactMap { pointer in
            unsafe pointer.map { unsafe PublicKey($0, name: nil) }
        }
    }

    private static func fault(_ code: Int) -> PublicKeyFault {
        switch code {
        case CC_KEYS_PRIVATE: .privateKey
        case CC_KEYS_UNKNOWN: .unknownKey
        case CC_KEYS_WEAK: .weakKey
        case CC_KEYS_MANY: .tooMany
        default: .noKey
        }
    }

    /// The keys of a JSON Web Key Set that are for signatures and of a kind that is known; others
    /// are passed over, as RFC 7517 section 5 asks. nil: the text is no such set.
    public init?(jwks text: RawSpan) {
        let parser = JSONParser(documentBytesMax: Limits.keySetBytesMax, depthMax: 8)
        guard parser.parse(text), parser.kind(JSONParser.root) == .object,
            let list = parser.field(JSONParser.root, "keys"), parser.kind(list) == .array
        else { return nil }
        var keys: [PublicKey] = []
        var element = parser.first(in: list)
        while let node = element, keys.count < Limits.publicKeysMax {
            if let key = Self.key(parser, node) { keys.append(key) }
            element = parser.nextElement(after: node)
        }
        self.keys = keys
    }

    private static func key(_ parser: JSONParser, _ node: JSONNode) -> PublicKey? {
        guard parser.kind(node) == .object else { return nil }
        let source = JSONWebKey(parser: parser, node: node)
        if source.text("use") != nil, !source.says("use", "sig") { return nil }
        guard let key = source.key() else { return nil }
        // A key that says what it is for is for nothing else.
        if source.text("alg") != nil, !source.says("alg", key.algorithm.name) { return nil }
        return key
    }

    /// True when one of the keys that the header may mean made the signature.
    func verify(
        _ signature: RawSpan, of message: RawSpan, _ algorithm: PublicKey.Algorithm,
        name: ByteBlock?
    ) -> Bool {
        for key in keys where key.algorithm == algorithm {
            if let name, let own = key.name, !own.equals(name) { continue }
            if key.verifies(signature, of: message) { return true }
        }
        return false
    }

    func has(_ algorithm: PublicKey.Algorithm) -> Bool {
        keys.contains { $0.algorithm == algorithm }
    }
}

/// One key of a set, as it is written (RFC 7518 section 6, RFC 8037 section 2).
private struct JSONWebKey {
    let parser: JSONParser
    let node: JSONNode

    func text(_ name: StaticString) -> ByteBlock? {
        guard let field = parser.field(node, name), parser.kind(field) == .string else {
            return nil
        }
        return ByteBlock(copying: parser.string(field))
    }

    func says(_ name: StaticString, _ wanted: StaticString) -> Bool {
        text(name).map { $0.bytes.equals(wanted) } ?? false
    }

    private func number(_ name: StaticString) -> ByteBlock? {
        guard let text = text(name) else { return nil }
        let writer = ByteWriter(capacity: 1024)
        guard Base64URL.decode(text.bytes, into: writer), writer.count > 0 else { return nil }
        return writer.block()
    }

    func key() -> PublicKey? {
        if says("kty", "RSA") { return rsa() }
        if says("kty", "EC"), says("crv", "P-256") { return p256() }
        if says("kty", "OKP"), says("crv", "Ed25519") { return ed25519() }
        return nil
    }

    private func rsa() -> PublicKey? {
        guard let n = number("n"), let e = number("e") else { return nil }
        // Safety: libcrypto reads both within their counts, which are not zero.
        let made = unsafe n.bytes.withUnsafeBytes { n in
            unsafe e.bytes.withUnsafeBytes { e in
                unsafe cc_key_from_rsa(
                    n.baseAddress.unsafelyUnwrapped, n.count, e.baseAddress.unsafelyUnwrapped,
                    e.count)
            }
        }
        return unsafe made.map { unsafe PublicKey($0, name: text("kid")) }
    }

    private func p256() -> PublicKey? {
        guard let x = number("x"), let y = number("y"), x.count == 32, y.count == 32 else {
            return nil
        }
        // Safety: libcrypto reads 32 bytes of each, which they have.
        let made = unsafe x.bytes.withUnsafeBytes { x in
            unsafe y.bytes.withUnsafeBytes { y in
                unsafe cc_key_from_p256(
                    x.baseAddress.unsafelyUnwrapped, y.baseAddress.unsafelyUnwrapped)
            }
        }
        return unsafe made.map { unsafe PublicKey($0, name: text("kid")) }
    }

    private func ed25519() -> PublicKey? {
        guard let x = number("x"), x.count == 32 else { return nil }
        // Safety: libcrypto reads 32 bytes, which it has.
        let made = unsafe x.bytes.withUnsafeBytes { x in
            unsafe cc_key_from_ed25519(x.baseAddress.unsafelyUnwrapped)
        }
        return unsafe made.map { unsafe PublicKey($0, name: text("kid")) }
    }
}

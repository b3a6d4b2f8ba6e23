import Bytes
import ChatModel
import Testing

@testable import Identity

private func keys(pem text: String) throws(PublicKeyFault) -> PublicKeys {
    try PublicKeys(pem: Array(text.utf8))
}

private func keys(jwks text: String) -> PublicKeys? {
    let block = ByteBlock(text)
    return PublicKeys(jwks: block.bytes)
}

private func set(_ members: String...) -> String {
    #"{"keys":["# + members.joined(separator: ",") + "]}"
}

private func verifier(_ keys: PublicKeys) -> TokenVerifier {
    TokenVerifier(
        settings: TokenSettings(secret: secret, issuer: nil, audience: nil, publicKeys: keys),
        directory: tenants())
}

/// The same token with one character of its signature changed: at its beginning, where every bit
/// counts.
private func forged(_ token: String) -> String {
    var parts = token.split(separator: ".").map(String.init)
    parts[2] = (parts[2].hasPrefix("A") ? "B" : "A") + parts[2].dropFirst()
    return parts.joined(separator: ".")
}

@Suite struct PublicKeysTests {
    @Test(arguments: signingExamples)
    func `A token that another library signed verifies with its key`(_ example: SigningExample) {
        let fromPEM = try? keys(pem: "A key:\n" + example.pem + "\nand nothing else.\n")
        #expect(fromPEM?.keys.map { "\($0.algorithm.name)" } == [example.name])
        let fromSet = keys(jwks: set(example.jwk))
        for keys in [fromPEM, fromSet].compactMap({ $0 }) {
            let verifier = verifier(keys)
            #expect(verifier.principal(example.token)?.subject.text == "ann")
            #expect(verifier.fault(example.tokenWithoutName) == nil)
            #expect(verifier.fault(forged(example.token)) == .signature)
            #expect(verifier.fault(example.token, now: 2000) == .expired)
            #expect(verifier.fault(token(claims())) == nil, "the secret holds beside the keys")
        }
        #expect(fromPEM != nil && fromSet != nil)
    }

    @Test func `The examples of RFC 7515 verify`() {
        for (key, token) in rfcExamples {
            let verifier = verifier(keys(jwks: set(key)) ?? .none)
            #expect(verifier.fault(token, now: 1_300_819_379) == .tenant, "it lacks our claims")
            #expect(verifier.fault(token, now: 1_300_819_380) == .expired)
            #expect(verifier.fault(forged(token), now: 1_300_819_379) == .signature)
        }
    }

    @Test func `A key is for one algorithm`() {
        for example in signingExamples {
            for other in signingExamples where other.name != example.name {
                let verifier = verifier(keys(jwks: set(other.jwk)) ?? .none)
                #expect(verifier.fault(example.token) == .algorithm)
            }
        }
    }

    @Test(arguments: signingExamples)
    func `A public key is no secret to sign with`(_ example: SigningExample) {
        let verifier = verifier((try? keys(pem: example.pem)) ?? .none)
        for text in [example.pem, example.pem + "\n", example.jwk] {
            #expect(verifier.fault(token(claims(), key: Array(text.utf8))) == .signature)
        }
        let header = #"{"alg":"\#(example.name)"}"#
        #expect(verifier.fault(token(header: header, claims())) == .signature)
        #expect(verifier.fault(encoded(header) + "." + encoded(claims()) + ".") != nil)
    }

    @Test func `A name in the header chooses among the keys that have one`() {
        let example = signingExamples[1]
        let other = example.jwk.replacing("k-1", with: "k-2")
        #expect(verifier(keys(jwks: set(other)) ?? .none).fault(example.token) == .signature)
        #expect(verifier(keys(jwks: set(other)) ?? .none).fault(example.tokenWithoutName) == nil)
        let both = verifier(keys(jwks: set(other, example.jwk)) ?? .none)
        #expect(both.fault(example.token) == nil)
    }

    @Test func `New keys are in force at once`() {
        let example = signingExamples[2]
        let verifier = verifier(.none)
        #expect(verifier.fault(example.token) == .algorithm)
        verifier.replacePublicKeys(keys(jwks: set(example.jwk)) ?? .none)
        #expect(verifier.fault(example.token) == nil)
        verifier.replacePublicKeys(.none)
        #expect(verifier.fault(example.token) == .algorithm)
    }

    @Test func `Several blocks are several keys, to a bound`() {
        let all = signingExamples.map(\.pem).joined(separator: "\n")
        #expect((try? keys(pem: all))?.keys.count == 3)
        let many = Array(repeating: signingExamples[2].pem, count: Limits.publicKeysMax)
        #expect((try? keys(pem: many.joined(separator: "\n")))?.keys.count == many.count)
        #expect(throws: PublicKeyFault.tooMany) {
            try keys(pem: (many + [signingExamples[2].pem]).joined(separator: "\n"))
        }
    }

    @Test func `What is no usable key is refused for its reason`() {
        let block = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        let good = signingExamples[0].pem + "\n"
        let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
        for (text, fault) in [
            ("", PublicKeyFault.noKey), ("no key", .noKey), (block, .privateKey),
            (good + block, .privateKey), (weakKey, .weakKey), (unknownKey, .unknownKey),
            (broken, .unknownKey), (good + unknownKey, .unknownKey),
        ] {
            #expect(throws: fault) { try keys(pem: text) }
        }
    }

    @Test func `Keys of a set that are not for us are passed over`() {
        let rsa = signingExamples[0].jwk
        let curve = signingExamples[1].jwk
        for (member, count) in [
            (rsa, 1), (rsa.dropLast() + #","use":"sig","alg":"RS256"}"#, 1),
            (rsa.dropLast() + #","use":"enc"}"#, 0), (rsa.dropLast() + #","alg":"RS512"}"#, 0),
            (rsa.dropLast() + #","use":7}"#, 1), (curve.replacing("P-256", with: "P-384"), 0),
            (curve.replacing(#""x": "n"#, with: #""x": "o"#), 0), ("{}", 0), ("null", 0), ("7", 0),
            (#"{"kty":"RSA"}"#, 0), (#"{"kty":"RSA","n":"","e":"AQAB"}"#, 0),
            (#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, 0), (#"{"kty":"oct","k":"AAAA"}"#, 0),
            (#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, 0),
        ] as [(any StringProtocol, Int)] {
            #expect(keys(jwks: set(String(member)))?.keys.count == count, "\(member)")
        }
    }

    @Test(arguments: ["", "{}", "[]", #"{"keys":{}}"#, #"{"keys":null}"#, "{\"keys\":["])
    func `What is no key set is none`(_ text: String) { #expect(keys(jwks: text) == nil) }
}

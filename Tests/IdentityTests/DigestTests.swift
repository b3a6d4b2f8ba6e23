import Bytes
import Testing

@testable import Identity

/// RFC 4231 section 4; case 5 is left out, as it truncates.
private struct Vector: Sendable {
    var key: [UInt8]
    var message: [UInt8]
    var sha256: String
    var sha384: String
    var sha512: String
}

private let vectors: [Vector] = [
    Vector(
        key: hex(0x0b, 20), message: Array("Hi There".utf8),
        sha256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        sha384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076e"
            + "de7f4af152e8b2fa9cb6",
        sha512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8"
            + "a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
    Vector(
        key: bytes("4a656665"), message: Array("what do ya want for nothing?".utf8),
        sha256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        sha384: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69"
            + "e2c78b3239ecfab21649",
        sha512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a"
            + "994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    Vector(
        key: hex(0xaa, 20), message: hex(0xdd, 50),
        sha256: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        sha384: "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc138"
            + "14b94e3ab6e101a34f27",
        sha512: "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a7"
            + "22c806b485a47e67c807b946a337bee8942674278859e13292fb"),
    Vector(
        key: bytes("0102030405060708090a0b0c0d0e0f10111213141516171819"), message: hex(0xcd, 50),
        sha256: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        sha384: "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7"
            + "d679ccf8a386c674cffb",
        sha512: "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa2"
            + "5eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"),
    Vector(
        key: hex(0xaa, 131),
        message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
        sha256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        sha384: "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030"
            + "fe8296248df163f44952",
        sha512: "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f"
            + "2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
    Vector(
        key: hex(0xaa, 131),
        message: Array(
            ("This is a test using a larger than block-size key and a larger than bl"
                + "ock-size data. The key needs to be hashed before being used by the HMA"
                + "C algorithm.").utf8),
        sha256: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        sha384: "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799"
            + "176d3860e6110c46523e",
        sha512: "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c49"
            + "82b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
]

private func sha256(_ text: String) -> String {
    let block = ByteBlock(text)
    return hexadecimal(Digests.sha256(block.bytes))
}

private func sha1(_ text: String) -> String {
    let writer = ByteWriter(capacity: 16)
    let block = ByteBlock(text)
    Digests.base64SHA1(block.bytes, into: writer)
    return writer.string()
}

private func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    let (x, y) = (ByteBlock(a), ByteBlock(b))
    return Digests.equalInConstantTime(x.bytes, y.bytes)
}

@Suite struct DigestTests {
    @Test func `The accept value of RFC 6455's example comes out`() {
        #expect(
            sha1("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
                == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(sha1("") == "2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
        #expect(sha1("abc") == "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=")
    }

    @Test func `SHA-256 gives the values of FIPS 180`() {
        #expect(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    }

    @Test func `A short digest is the first half of the SHA-256`() {
        let block = ByteBlock("abc")
        let digest = Digests.digest(block.bytes)
        #expect(digest.high == 0xba78_16bf_8f01_cfea)
        #expect(digest.low == 0x4141_40de_5dae_2223)
    }

    @Test func `HMAC gives the values of RFC 4231 in all three sizes`() {
        #expect(vectors.count == 6)
        for vector in vectors {
            #expect(hmac(256, vector.key, vector.message).map(hexadecimal) == vector.sha256)
            #expect(hmac(384, vector.key, vector.message).map(hexadecimal) == vector.sha384)
            #expect(hmac(512, vector.key, vector.message).map(hexadecimal) == vector.sha512)
        }
        #expect(vectors[0].sha256.hasPrefix("b0344c61d8db38535ca8afceaf0bf12b"))
    }

    @Test(arguments: [0, 1, 128, 160, 224, 255, 257, 1024, -256])
    func `No other size of HMAC is made`(_ bits: Int) {
        #expect(hmac(bits, [1], [2]) == nil)
    }

    @Test func `Equal bytes are equal, and every difference is seen`() {
        let value = Array("0123456789abcdef0123456789abcdef".utf8)
        #expect(areEqual(value, value))
        for place in value.indices {
            for bit in 0..<8 {
                var other = value
                other[place] ^= 1 << bit
                #expect(!areEqual(value, other))
            }
            #expect(!areEqual(value, Array(value[..<place])))
            #expect(!areEqual(Array(value[..<place]), value))
        }
        #expect(!areEqual([], []), "nothing is no proof of anything")
    }

    @Test func `Random bytes come in the asked number and do not repeat`() {
        #expect(Digests.random(0) == [])
        #expect(Digests.random(33).count == 33)
        #expect(Set((0..<100).map { _ in Digests.randomSeed() }).count == 100)
    }
}

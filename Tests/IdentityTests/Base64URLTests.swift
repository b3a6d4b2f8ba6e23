import Bytes
import ChatModel
import Testing

@testable import Identity

private let alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

@Suite struct Base64URLTests {
    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ])
    func `The vectors of RFC 4648 come out, without padding`(_ text: String, _ wanted: String) {
        #expect(encoded(text) == wanted)
        #expect(decoded(wanted) == Array(text.utf8))
    }

    @Test func `The URL alphabet is used`() {
        #expect(encoded([0xFB, 0xFF, 0xBF]) == "-_-_")
        #expect(decoded("-_-_") == [0xFB, 0xFF, 0xBF])
    }

    @Test func `Bytes of every length come back`() {
        var random = Random(seed: 4)
        for count in 0...260 {
            for _ in 0..<4 {
                let value = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                let text = encoded(value)
                #expect(text.utf8.count == (count * 4 + 2) / 3)
                #expect(decoded(text) == value)
            }
        }
    }

    @Test func `A length that leaves one character over is refused`() {
        for count in 0..<100 {
            let text = String(repeating: "A", count: count)
            #expect((decoded(text) == nil) == (count % 4 == 1))
        }
    }

    @Test func `A value has one spelling: leftover bits must be zero`() {
        for (place, letter) in alphabet.enumerated() {
            let last = String(UnicodeScalar(letter))
            #expect(
                (decoded("A" + last) != nil) == (place % 16 == 0), "\(last) holds 4 leftover bits")
            #expect(
                (decoded("AA" + last) != nil) == (place % 4 == 0), "\(last) holds 2 leftover bits")
            #expect(decoded("AAA" + last) != nil)
            #expect((decoded("____A" + last) != nil) == (place % 16 == 0))
        }
    }

    @Test func `A foreign character is refused at every place`() {
        for byte in UInt8.min...UInt8.max where !alphabet.contains(byte) {
            for place in 0..<8 {
                var text = Array("AAAAAAAA".utf8)
                text[place] = byte
                let (block, writer) = (ByteBlock(text), ByteWriter(capacity: 16))
                let isDecoded = Base64URL.decode(block.bytes, into: writer)
                #expect(!isDecoded, "byte \(byte) at \(place)")
            }
        }
    }

    @Test(arguments: [
        "Zg==", "Zm8=", "Zm9v====", "Zm 9v", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9v.",
    ])
    func `Padding, blanks and the other alphabet are refused`(_ text: String) {
        #expect(decoded(text) == nil)
    }
}

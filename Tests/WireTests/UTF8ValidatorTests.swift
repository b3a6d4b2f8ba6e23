import Bytes
import Testing

@testable import Wire

/// Feeds `bytes` cut at `cuts`; the index of the piece that was refused, nil when none was.
private func refusedPiece(_ bytes: [UInt8], cuts: [Int] = []) -> (piece: Int?, isComplete: Bool) {
    var validator = UTF8Validator()
    var start = 0
    for (piece, cut) in (cuts + [bytes.count]).enumerated() {
        let block = ByteBlock(Array(bytes[start..<cut]))
        if !validator.feed(block.bytes) {
            let letter = ByteBlock([0x41])
            let isTaken = validator.feed(letter.bytes)
            #expect(!isTaken, "a refusal is final")
            return (piece, validator.isComplete)
        }
        start = cut
    }
    return (nil, validator.isComplete)
}

private func isValid(_ bytes: [UInt8]) -> Bool {
    let block = ByteBlock(bytes)
    return UTF8Validator.isValid(block.bytes)
}

/// The standard library as the oracle.
private func isWellFormed(_ bytes: [UInt8]) -> Bool {
    String(validating: bytes, as: UTF8.self) != nil
}

@Suite struct UTF8ValidatorTests {
    // Autobahn 6.5 to 6.21, after Kuhn's stress test.
    static let valid: [String] = [
        "", "48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d382121", "cebae1bdb9cf83cebcceb5",
        "00", "c280", "e0a080", "f0908080", "7f", "dfbf", "efbfbf", "f48fbfbf", "ed9fbf", "ee8080",
        "efbfbd", "efbfbe", "f09fbfbf", "f3bfbfbf", "f1808080",
    ]
    static let invalid: [(bytes: String, badIndex: Int)] = [
        // Stray continuations.
        ("80", 0), ("bf", 0), ("8080", 0), ("6180", 1), ("c2a9a9", 2), ("e282acac", 3),
        // Leads with something else behind them.
        ("c020", 0), ("c220", 1), ("dfdf", 1), ("e02080", 1), ("e1a020", 2), ("f0908020", 3),
        ("f19041", 2), ("c2c2", 1), ("e2e282ac", 1),
        // Overlong forms.
        ("c0af", 0), ("c1bf", 0), ("e080af", 1), ("e09fbf", 1), ("f08080af", 1), ("f08fbfbf", 1),
        ("f8888080af", 0), ("fc8480808080", 0), ("c080", 0), ("e08080", 1),
        // Surrogates, alone and in pairs.
        ("eda080", 1), ("edadbf", 1), ("edbfbf", 1), ("eda080edb080", 1), ("edafbfedbfbf", 1),
        // Past U+10FFFF, and bytes that never occur.
        ("f4908080", 1), ("f5808080", 0), ("f7bfbfbf", 0), ("fe", 0), ("ff", 0), ("fbbfbfbfbf", 0),
        ("cebae1bdb9cf83cebcceb5eda080656469746564", 12),
        ("cebae1bdb9cf83cebcceb5f4908080656469746564", 12),
    ]
    static let incomplete = [
        "c2", "e2", "e282", "f0", "f090", "f09080", "f48f", "ed9f", "61c3",
        "cebae1bdb9cf83cebcceb5f4",
    ]

    @Test func wellFormedTextPassesHoweverItIsCut() {
        for digits in Self.valid {
            let bytes = hex(digits)
            #expect(isValid(bytes), "\(digits)")
            for cut in 0...bytes.count {
                let outcome = refusedPiece(bytes, cuts: [cut])
                #expect(outcome.piece == nil && outcome.isComplete, "\(digits) at \(cut)")
            }
        }
    }

    @Test func aBadByteIsRefusedWhenItComesAndNotBefore() {
        for (digits, badIndex) in Self.invalid {
            let bytes = hex(digits)
            #expect(!isValid(bytes), "\(digits)")
            #expect(!isWellFormed(bytes), "\(digits) is no good as a test")
            let bytewise = refusedPiece(bytes, cuts: Array(1..<max(bytes.count, 1)))
            #expect(bytewise.piece == badIndex, "\(digits)")
            #expect(!bytewise.isComplete)
            for cut in 0...bytes.count {
                let outcome = refusedPiece(bytes, cuts: [cut])
                #expect(outcome.piece == (cut > badIndex ? 0 : 1), "\(digits) at \(cut)")
            }
        }
    }

    @Test func aCharacterCutShortIsNoErrorButNotComplete() {
        for digits in Self.incomplete {
            let outcome = refusedPiece(hex(digits))
            #expect(outcome.piece == nil && !outcome.isComplete, "\(digits)")
            #expect(!isValid(hex(digits)), "\(digits)")
        }
    }

    @Test func everyPairOfBytesIsJudgedAsTheStandardLibraryDoes() {
        var wrong: [[UInt8]] = []
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let pair = [first, second]
                if isValid(pair) != isWellFormed(pair) { wrong.append(pair) }
            }
        }
        #expect(wrong == [])
    }

    /// Also behind text, where whole words are looked at, and with text behind.
    @Test func everyKindOfSequenceIsJudgedAsTheStandardLibraryDoes() {
        let edges: [UInt8] = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
            0xE1,
            0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF,
        ]
        var wrong: [[UInt8]] = []
        for a in edges {
            for b in edges {
                for c in edges {
                    for d in edges {
                        let bytes = [a, b, c, d, 0xD0, 0xB9, 0x20, 0x20]
                        if isValid(bytes) != isWellFormed(bytes) { wrong.append(bytes) }
                    }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test func randomTextWithOneBrokenByteIsJudgedAsTheStandardLibraryDoes() {
        var random = Seeded(6)
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz  яжщ€漢😀\u{7FF}\u{FFFF}\u{10FFFF}")
        var invalidCount = 0
        for _ in 0..<3000 {
            let count = random.below(60)
            let string = String((0..<count).map { _ in alphabet[random.below(alphabet.count)] })
            var bytes = Array(string.utf8)
            #expect(isValid(bytes))
            if bytes.isEmpty { continue }
            bytes[random.below(bytes.count)] = UInt8(random.next() & 0xFF)
            let expected = isWellFormed(bytes)
            if !expected { invalidCount += 1 }
            #expect(isValid(bytes) == expected, "\(bytes)")
            let cut = random.below(bytes.count + 1)
            let outcome = refusedPiece(bytes, cuts: [cut])
            #expect((outcome.piece == nil && outcome.isComplete) == expected, "\(bytes) at \(cut)")
        }
        #expect(invalidCount > 1000)
    }

    @Test func oneBadByteIsFoundAtEveryPlaceOfALongASCIIText() {
        for count in [15, 16, 17, 31, 32, 33, 100] {
            for place in 0..<count {
                var bytes = [UInt8](repeating: 0x61, count: count)
                bytes[place] = 0xFF
                #expect(!isValid(bytes), "\(place) of \(count)")
                bytes[place] = 0x7F
                #expect(isValid(bytes), "\(place) of \(count)")
            }
        }
    }

    @Test func theStateIsFourBytes() { #expect(MemoryLayout<UTF8Validator>.size == 4) }
}

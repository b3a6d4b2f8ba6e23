import TestSupport
import Testing

@testable import Bytes

/// JSON escaping one byte at a time, by the letter of RFC 8259 section 7.
private func simplyEscaped(_ bytes: [UInt8]) -> [UInt8] {
    let short: [UInt8: Character] = [
        0x08: "b", 0x09: "t", 0x0A: "n", 0x0C: "f", 0x0D: "r", 0x22: "\"", 0x5C: "\\",
    ]
    var result: [UInt8] = [0x22]
    for byte in bytes {
        if let letter = short[byte] {
            result += unsafe [0x5C, letter.asciiValue.unsafelyUnwrapped]
        } else if byte < 0x20 {
            let digits = String(byte, radix: 16)
            result +=
                Array("\\u".utf8) + Array(repeating: 0x30, count: 4 - digits.utf8.count)
                + Array(digits.utf8)
        } else {
            result.append(byte)
        }
    }
    return result + [0x22]
}

private func written(_ body: (ByteWriter) -> Void) -> String {
    let writer = ByteWriter(capacity: 0)
    body(writer)
    return writer.string()
}

private func json(_ bytes: [UInt8]) -> [UInt8] {
    let writer = ByteWriter(capacity: 0)
    writer.append(json: bytes.raw)
    return writer.bytes.array()
}

@Suite struct ByteWriterTests {
    // MARK: Numbers

    @Test(
        "An unsigned number is written as Swift writes it",
        arguments: [
            0, 1, 9, 10, 11, 99, 100, 101, 12_345, UInt64(UInt32.max), 1 << 63, .max - 1, .max,
        ]) func unsignedDecimal(_ value: UInt64)
    {
        #expect(written { $0.append(decimal: value) } == String(value))
    }

    @Test("Each power of ten and its neighbours have the right number of digits") func powersOfTen()
    {
        var power: UInt64 = 1
        for _ in 0..<20 {
            for value in [power - 1, power, power + 1] {
                #expect(written { $0.append(decimal: value) } == String(value))
            }
            power = power.multipliedReportingOverflow(by: 10).partialValue
        }
    }

    @Test(
        "A signed number is written with its sign, down to the smallest",
        arguments: [
            0, -1, -9, -10, 10, .min, .min + 1, .max,
        ]) func signedDecimal(_ value: Int)
    {
        #expect(written { $0.append(decimal: value) } == String(value))
    }

    @Test("A number of fixed width is padded with zeros and cut to its lowest digits")
    func fixedWidth() {
        #expect(written { $0.append(decimal: 7, digits: 3) } == "007")
        #expect(written { $0.append(decimal: 0, digits: 1) } == "0")
        #expect(written { $0.append(decimal: 123, digits: 3) } == "123")
        #expect(written { $0.append(decimal: 1234, digits: 3) } == "234")
        #expect(written { $0.append(decimal: 5, digits: 0) } == "")
        #expect(written { $0.append(decimal: .max, digits: 20) } == String(UInt64.max))
    }

    @Test("Hexadecimal digits are lower case, padded, and of the lowest bits") func hex() {
        #expect(written { $0.append(hex: 0x0123_4567_89AB_CDEF) } == "0123456789abcdef")
        #expect(written { $0.append(hex: .max) } == "ffffffffffffffff")
        #expect(written { $0.append(hex: 0x9A, digits: 4) } == "009a")
        #expect(written { $0.append(hex: 0xABCD, digits: 2) } == "cd")
        #expect(written { $0.append(hex: 1, digits: 0) } == "")
    }

    // MARK: JSON

    @Test("Each ASCII byte alone is escaped as RFC 8259 says", arguments: UInt8(0)...127)
    func eachByteEscaped(_ byte: UInt8) {
        #expect(json([byte]) == simplyEscaped([byte]))
    }

    @Test("Short escapes are used where JSON has them, and four lower-case digits elsewhere")
    func escapesByName() {
        #expect(written { $0.append(json: "\u{8}\u{9}\n\u{c}\r\"\\/") } == #""\b\t\n\f\r\"\\/""#)
        #expect(written { $0.append(json: "\u{0}\u{1f}\u{7f}") } == "\"\\u0000\\u001f\u{7f}\"")
    }

    @Test("An empty string is two quotes") func emptyString() {
        #expect(json([]) == [0x22, 0x22])
        #expect(written { $0.append(json: "") } == "\"\"")
    }

    @Test(
        "A byte to escape is found at every offset of strings around the vector's width",
        arguments: [0x00, 0x0A, 0x1F, 0x22, 0x5C] as [UInt8])
    func escapeAtEveryOffset(_ byte: UInt8) {
        for count in 1...50 {
            for offset in 0..<count {
                var bytes = [UInt8](repeating: 0x61, count: count)
                bytes[offset] = byte
                guard json(bytes) == simplyEscaped(bytes) else {
                    Issue.record("\(count) bytes with \(byte) at \(offset)")
                    return
                }
            }
        }
    }

    @Test("Two bytes to escape at any distance are both escaped") func twoEscapes() {
        for first in 0..<34 {
            for second in first..<34 {
                var bytes = [UInt8](repeating: 0x7A, count: 35)
                bytes[first] = 0x22
                bytes[second] = 0x0B
                guard json(bytes) == simplyEscaped(bytes) else {
                    Issue.record("escapes at \(first) and \(second)")
                    return
                }
            }
        }
    }

    @Test("Long strings of any bytes are escaped alike at each of the sixteen alignments")
    func longStringsAtEveryAlignment() {
        var chance = Seeded.fromEnvironment(or: 1)
        for alignment in 0..<16 {
            for count in [0, 1, 15, 16, 17, 31, 32, 33, 255, 1000, 4097] {
                // Half the rounds are dense in escapes; the others have one in about a hundred.
                let dense = chance.below(2) == 0
                let bytes = (0..<alignment + count).map { _ in
                    dense ? UInt8(chance.below(0x60)) : UInt8(max(0x1E, chance.below(256)))
                }
                let writer = ByteWriter(capacity: 0)
                writer.append(json: bytes.raw.extracting(alignment..<alignment + count))
                let expected = simplyEscaped(Array(bytes[alignment...]))
                guard writer.bytes.array() == expected else {
                    Issue.record("seed \(chance.seed), alignment \(alignment), \(count) bytes")
                    return
                }
            }
        }
    }

    @Test("Bytes with the top bit set are kept, so that UTF-8 stays what it was") func utf8Kept() {
        let text = "héllo \u{1F44B} 世界 — plain text after it"
        #expect(written { $0.append(json: text) } == "\"\(text)\"")
        #expect(written { $0.append(json: ByteBlock(text)) } == "\"\(text)\"")
    }

    // MARK: Text, spans, blocks

    @Test("Every kind of text is appended in order") func appendsInOrder() {
        let text = written {
            $0.append(UInt8(0x61))
            $0.append("bc" as StaticString)
            $0.append(Array("de".utf8).raw)
            $0.append(ByteBlock("fg"))
            $0.append(string: "hé")
            $0.append([UInt8]().raw)
            $0.append("" as StaticString)
            $0.append(string: "")
        }
        #expect(text == "abcdefghé")
    }

    @Test("A masked append XORs with the mask from its own first byte on", arguments: 0...9)
    func maskedAppend(_ before: Int) {
        let payload = (0..<77).map { UInt8($0 * 3) }
        let mask: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        let writer = ByteWriter(capacity: 0)
        for _ in 0..<before { writer.append(UInt8(0xEE)) }
        writer.append(payload.raw, mask: 0x7856_3412)
        let masked = payload.enumerated().map { $1 ^ mask[$0 % 4] }
        #expect(writer.bytes.array() == Array(repeating: 0xEE, count: before) + masked)
    }

    @Test("Of lent room, only what was initialised is kept") func lentRoom() {
        let writer = ByteWriter(capacity: 0)
        writer.append("ab" as StaticString)
        let free = writer.append(upTo: 8) { output in
            output.append(0x63)
            output.append(0x64)
            return output.freeCapacity
        }
        #expect(free == 6)
        writer.append(upTo: 0) { _ in }
        writer.append(UInt8(0x65))
        #expect(writer.string() == "abcde")
    }

    // MARK: Growth and truncation

    @Test("What was written survives every growth") func growth() {
        let writer = ByteWriter(capacity: 1)
        var model: [UInt8] = []
        for index in 0..<5000 {
            writer.append(UInt8(truncatingIfNeeded: index))
            model.append(UInt8(truncatingIfNeeded: index))
        }
        #expect(writer.count == 5000)
        #expect(writer.bytes.array() == model)
    }

    @Test("A reservation larger than twice the capacity is met at once") func largeReservation() {
        let writer = ByteWriter(capacity: 4)
        writer.append("abc" as StaticString)
        writer.reserve(10_000)
        #expect(writer.spareBytes >= 10_000)
        let capacity = writer.capacityBytes
        writer.append(upTo: 10_000) {
            unsafe $0.append(repeating: 0x78, count: 10_000, as: UInt8.self)
        }
        #expect(writer.capacityBytes == capacity)
        #expect(writer.string() == "abc" + String(repeating: "x", count: 10_000))
    }

    @Test("Removing everything keeps the memory and starts over") func removeAll() {
        let writer = ByteWriter(capacity: 16)
        for _ in 0..<100 { writer.append(UInt8(0x61)) }
        let capacity = writer.capacityBytes
        writer.removeAll()
        #expect(writer.count == 0)
        #expect(writer.bytes.array() == [])
        writer.append("b" as StaticString)
        #expect(writer.string() == "b")
        #expect(writer.capacityBytes == capacity)
    }

    @Test("Truncation drops everything from there on") func truncation() {
        let writer = ByteWriter()
        writer.append("abcdef" as StaticString)
        writer.truncate(to: 6)
        #expect(writer.string() == "abcdef")
        writer.truncate(to: 2)
        writer.append(UInt8(0x7A))
        #expect(writer.string() == "abz")
        writer.truncate(to: 0)
        #expect(writer.count == 0)
    }

    @Test("Truncation past the written bytes traps") func truncationTraps() async {
        await #expect(processExitsWith: .failure) {
            let writer = ByteWriter()
            writer.append("ab" as StaticString)
            writer.truncate(to: 3)
        }
    }

    @Test("A bounded writer traps when it is asked to grow past its limit, and not before")
    func limitTraps() async {
        let writer = ByteWriter(capacity: 4, limitBytes: 16)
        for _ in 0..<16 { writer.append(UInt8(0x61)) }
        #expect(writer.count == 16)
        await #expect(processExitsWith: .failure) {
            let writer = ByteWriter(capacity: 4, limitBytes: 16)
            for _ in 0..<17 { writer.append(UInt8(0x61)) }
        }
    }

    @Test("A block is a copy that later writing does not change") func blockIsACopy() {
        let writer = ByteWriter()
        writer.append("first" as StaticString)
        let block = writer.block()
        writer.removeAll()
        writer.append("other" as StaticString)
        #expect(block.bytes.string() == "first")
    }
}

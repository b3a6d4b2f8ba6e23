import TestSupport
import Testing

@testable import Bytes

@Suite struct RawSpanLoadsTests {
    // MARK: Loads

    @Test("Loads are little-endian and unaligned at every offset") func loads() {
        let bytes = (0..<32).map { UInt8(truncatingIfNeeded: 0xF0 + $0 * 5) }
        let span = bytes.raw
        for offset in 0...24 {
            let expected = bytes[offset..<offset + 8].reversed().reduce(UInt64(0)) {
                $0 << 8 | UInt64($1)
            }
            let byte = span.byte(at: offset)
            let (two, four, eight) = (
                span.load16(at: offset), span.load32(at: offset), span.load64(at: offset)
            )
            #expect(byte == bytes[offset])
            #expect(two == UInt16(truncatingIfNeeded: expected))
            #expect(four == UInt32(truncatingIfNeeded: expected))
            #expect(eight == expected)
        }
    }

    @Test("A load that would pass the end by one byte traps") func loadsTrap() async {
        await #expect(processExitsWith: .failure) {
            _ = [UInt8](repeating: 0, count: 8).raw.byte(at: 8)
        }
        await #expect(processExitsWith: .failure) {
            _ = [UInt8](repeating: 0, count: 8).raw.load16(at: 7)
        }
        await #expect(processExitsWith: .failure) {
            _ = [UInt8](repeating: 0, count: 8).raw.load32(at: 5)
        }
        await #expect(processExitsWith: .failure) {
            _ = [UInt8](repeating: 0, count: 8).raw.load64(at: 1)
        }
        await #expect(processExitsWith: .failure) {
            _ = [UInt8](repeating: 0, count: 8).raw.byte(at: -1)
        }
    }

    // MARK: Search

    @Test("A byte is found at every position of every length up to 70, from every start")
    func firstOffset() {
        for count in 0...70 {
            for position in 0...count {
                var bytes = [UInt8](repeating: 0x61, count: count)
                if position < count { bytes[position] = 0x0D }
                let span = bytes.raw
                for start in 0...count {
                    let found = span.firstOffset(of: 0x0D, from: start)
                    guard found == (start <= position ? position : count) else {
                        Issue.record("\(count) bytes, one at \(position), from \(start): \(found)")
                        return
                    }
                }
            }
        }
    }

    @Test("Of several the first is found, and bytes outside the span are not seen")
    func firstOfSeveral() {
        let bytes = [UInt8](repeating: 0x2C, count: 64)
        for start in 0..<64 {
            let inside = bytes.raw.firstOffset(of: 0x2C, from: start)
            #expect(inside == start)
        }
        let padded = [UInt8](repeating: 0x61, count: 20) + [0x2C]
        let found = padded.raw.extracting(0..<20).firstOffset(of: 0x2C)
        #expect(found == 20)
    }

    @Test("A byte with the top bit set is found like any other") func highByte() {
        for position in 0..<40 {
            var bytes = [UInt8](repeating: 0x7F, count: 40)
            bytes[position] = 0xFF
            let found = bytes.raw.firstOffset(of: 0xFF)
            #expect(found == position)
        }
    }

    @Test(
        "Every byte value is a control or is not, in the vector and in the tail",
        arguments: [8, 40])
    func controlValues(_ count: Int) {
        for value in UInt8.min...UInt8.max {
            var bytes = [UInt8](repeating: 0x61, count: count)
            bytes[5] = value
            let found = bytes.raw.firstControlOffset(in: ByteRange(0, count))
            let isControl = value < 0x20 && value != 0x09 || value == 0x7F
            #expect(found == (isControl ? 5 : count), "byte \(value)")
        }
    }

    @Test("A control byte is found at every position of every range up to 70, and not outside it")
    func firstControlOffset() {
        for position in 0..<70 {
            var bytes = [UInt8](repeating: 0x09, count: 70)
            bytes[position] = 0x7F
            let span = bytes.raw
            for start in 0...70 {
                for end in start...70 {
                    let found = span.firstControlOffset(in: ByteRange(start, end))
                    guard found == ((start..<end).contains(position) ? position : end) else {
                        Issue.record("control at \(position), range \(start)..<\(end): \(found)")
                        return
                    }
                }
            }
        }
    }

    @Test("A byte that is not ASCII is found at every position of every length up to 70")
    func firstNonASCIIOffset() {
        for count in 0...70 {
            for position in 0...count {
                var bytes = [UInt8](repeating: 0x7F, count: count)
                if position < count { bytes[position] = 0x80 }
                for start in 0...count {
                    let found = bytes.raw.firstNonASCIIOffset(from: start)
                    guard found == (start <= position ? position : count) else {
                        Issue.record("\(count) bytes, one at \(position), from \(start): \(found)")
                        return
                    }
                }
            }
        }
    }

    // MARK: Comparison

    @Test("Spans are equal only when every byte is, at every length up to 40") func equals() {
        for count in 0...40 {
            let bytes = (0..<count).map { UInt8($0) }
            let copy = bytes + [0xAA]
            let same = bytes.raw.equals(copy.raw.extracting(0..<count))
            let longer = bytes.raw.equals(copy.raw)
            #expect(same)
            #expect(!longer)
            for position in 0..<count {
                var other = bytes
                other[position] ^= 0x80
                let equal = bytes.raw.equals(other.raw)
                #expect(!equal, "\(count) bytes, other at \(position)")
            }
        }
    }

    @Test("Comparison with text minds case, length and every byte") func equalsText() {
        func equals(_ bytes: String, _ text: StaticString) -> Bool {
            Array(bytes.utf8).raw.equals(text)
        }
        #expect(equals("", ""))
        #expect(equals("GET", "GET"))
        for other in ["get", "GE", "GETS", "GEX", "XET", ""] { #expect(!equals(other, "GET")) }
    }

    @Test("A prefix may be the whole, but not more") func hasPrefix() {
        func has(_ bytes: String, _ text: StaticString) -> Bool {
            Array(bytes.utf8).raw.hasPrefix(text)
        }
        #expect(has("HTTP/1.1", "HTTP/"))
        #expect(has("HTTP/", "HTTP/"))
        #expect(has("x", ""))
        for other in ["HTTP", "http/", "XHTTP/", ""] { #expect(!has(other, "HTTP/")) }
    }

    @Test("Only letters are folded when case is ignored") func equalsIgnoringCase() {
        func equals(_ bytes: [UInt8], _ text: StaticString) -> Bool {
            bytes.raw.equalsIgnoringCase(text)
        }
        for value in UInt8.min...UInt8.max {
            let folded = (0x41...0x5A).contains(value) ? value + 0x20 : value
            #expect(RawSpan.lowercased(value) == folded)
            #expect(
                equals([0x48, value], "hz") == (value == 0x5A || value == 0x7A), "byte \(value)")
            #expect(equals([value], "[") == (value == 0x5B), "byte \(value)")
        }
        #expect(!equals(Array("upgrad".utf8), "upgrade"))
        #expect(!equals(Array("upgrade!".utf8), "upgrade"))
    }

    // MARK: Text

    @Test(
        "Only leading and trailing spaces and tabs are trimmed",
        arguments: [
            ("", ""), (" ", ""), ("\t \t", ""), ("a", "a"), (" a", "a"), ("a ", "a"),
            ("\t a b\t ", "a b"),
            ("\na\r", "\na\r"), ("a\tb", "a\tb"),
        ]) func trimmed(_ text: String, _ expected: String)
    {
        let trimmed = Array(text.utf8).raw.trimmed().string()
        #expect(trimmed == expected)
    }

    @Test("A decimal of 64 bits is read to the last, one more is refused") func decimals() {
        func decimal(_ text: String) -> UInt64? { Array(text.utf8).raw.decimal() }
        #expect(decimal("0") == 0)
        #expect(decimal("00") == 0)
        #expect(decimal("10") == 10)
        #expect(decimal("00000000000000000001") == 1)
        #expect(decimal("18446744073709551615") == .max)
        #expect(decimal("18446744073709551616") == nil)
        #expect(decimal("18446744073709551620") == nil)
        #expect(decimal("20000000000000000000") == nil)
        #expect(decimal("99999999999999999999") == nil)
        #expect(decimal("000000000000000000001") == nil, "21 digits")
    }

    @Test(
        "What is not only digits is no decimal",
        arguments: [
            "", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1/", "1:", "١", "a", "\0",
        ]) func notDecimal(_ text: String)
    {
        let value = Array(text.utf8).raw.decimal()
        #expect(value == nil)
    }

    @Test("A string is repaired, an array is exact") func copies() {
        let bytes: [UInt8] = [0x61, 0xFF, 0x62]
        let (text, array) = (bytes.raw.string(), bytes.raw.array())
        #expect(text == "a\u{FFFD}b")
        #expect(array == bytes)
    }

    @Test("A hash depends on the seed, the length and each bit, and on nothing else") func hash() {
        for count in 0...33 {
            let bytes = [UInt8](repeating: 0, count: count)
            let hash = bytes.raw.hash(seed: 1)
            let again = ([0xFF] + bytes).raw.extracting(1..<count + 1).hash(seed: 1)
            let seeded = bytes.raw.hash(seed: 2)
            let longer = (bytes + [0]).raw.hash(seed: 1)
            #expect(hash == again)
            #expect(hash != seeded)
            #expect(hash != longer)
            for bit in 0..<count * 8 {
                var other = bytes
                other[bit / 8] ^= 1 << (bit % 8)
                let changed = other.raw.hash(seed: 1)
                #expect(hash != changed)
            }
        }
    }

    // MARK: XOR

    @Test("XOR does what a simple loop does, at every alignment and length, and nothing outside")
    func xor() {
        var chance = Seeded.fromEnvironment(or: 2)
        let lengths = Array(0...70) + [127, 128, 129, 191, 192, 193, 1000]
        for mask in [
            0, 0xFFFF_FFFF, 0x0102_0304, 0x8000_0001, UInt32(truncatingIfNeeded: chance.next()),
        ] {
            for start in 0..<17 {
                for count in lengths {
                    let bytes = chance.bytes(start + count + 17)
                    var expected = bytes
                    for index in 0..<count {
                        expected[start + index] ^= UInt8(
                            truncatingIfNeeded: mask >> UInt32(8 * (index % 4)))
                    }
                    var result = bytes
                    var span = result.mutableSpan
                    var raw = unsafe span.mutableBytes
                    raw.xor(start..<start + count, mask: mask)
                    guard result == expected else {
                        Issue.record(
                            "seed \(chance.seed), mask \(mask), start \(start), \(count) bytes")
                        return
                    }
                }
            }
        }
    }

    @Test("XOR past the end of the span traps") func xorTraps() async {
        await #expect(processExitsWith: .failure) {
            var bytes = [UInt8](repeating: 0, count: 8)
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw.xor(4..<9, mask: 1)
        }
    }
}

@Suite struct RawSpanTokensTests {
    private func matches(_ bytes: [UInt8], _ name: StaticString) -> Bool {
        bytes.raw.equalsFoldedToken(name)
    }

    @Test("A name is recognised in any case, at each length from 1 to 24") func anyCase() {
        let names: [StaticString] = [
            "a", "te", "age", "host", "range", "expect", "upgrade", "location", "x-request",
            "connection",
            "retry-after", "content-type", "authorization-9", "transfer-encoding",
            "sec-websocket-protocol",
            "sec-websocket-extensions",
        ]
        for name in names {
            let lower = Array(name.description.utf8)
            #expect(matches(lower, name))
            #expect(matches(Array(name.description.uppercased().utf8), name))
            for position in lower.indices {
                var other = lower
                other[position] = lower[position] == 0x71 ? 0x72 : 0x71
                #expect(!matches(other, name), "\(name) with another byte at \(position)")
            }
            #expect(!matches(lower + [0x61], name))
            #expect(!matches(Array(lower.dropLast()), name))
        }
    }

    @Test("No token character but a letter's other case is taken for it, at every length")
    func noFalseFold() {
        let separators = Set("\"(),/:;<=>?@[\\]{}".utf8)
        let tokens = (UInt8(0x21)...0x7E).filter { !separators.contains($0) }
        let names: [StaticString] = ["a-1", "ab-12", "abcdefg-1", "abcdefgh-12345678z"]
        for name in names {
            let lower = Array(name.description.utf8)
            for position in lower.indices {
                for value in tokens {
                    var other = lower
                    other[position] = value
                    #expect(matches(other, name) == (RawSpan.lowercased(value) == lower[position]))
                }
            }
        }
    }

    @Test("An inline array holds a text only with its very count") func inlineArray() {
        let array: InlineArray<4, UInt8> = [0x61, 0x62, 0x63, 0x64]
        #expect(array.holds("abc", inFirst: 3))
        #expect(array.holds("abcd", inFirst: 4))
        #expect(array.holds("", inFirst: 0))
        #expect(!array.holds("abc", inFirst: 4))
        #expect(!array.holds("abcd", inFirst: 3))
        #expect(!array.holds("abd", inFirst: 3))
    }
}

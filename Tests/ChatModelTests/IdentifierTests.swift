import Bytes
import Testing

@testable import ChatModel

private func read(_ text: String, _ kind: IdentifierKind) -> Identifier? {
    let block = ByteBlock(text)
    return Identifier(block.bytes, kind: kind)
}

private func readBare(_ bytes: [UInt8]) -> Identifier? {
    let block = ByteBlock(bytes)
    return Identifier(uuid: block.bytes)
}

private let kinds: [IdentifierKind] = [.message, .conversation, .session, .run]
private let sample = Identifier(high: 0x0192_A3B4_C5D6_7E8F, low: 0x9A0B_1C2D_3E4F_5061)
private let sampleText = "0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"

@Suite struct IdentifierTextTests {
    @Test func `The text has the 8-4-4-4-12 form in lower case behind the kind's prefix`() {
        #expect(sample.text(.message) == "msg_" + sampleText)
        #expect(sample.text(.conversation) == "conv_" + sampleText)
        #expect(sample.text(.session) == "sess_" + sampleText)
        #expect(sample.text(.run) == "run_" + sampleText)
        #expect(
            Identifier(high: 0, low: 0).text(.run) == "run_00000000-0000-0000-0000-000000000000")
    }

    @Test func `Any 128 bits come back from their text`() {
        var random = Random(seed: 1)
        var ids = [Identifier(high: 0, low: 0), Identifier(high: .max, low: .max), sample]
        for bit in 0..<64 {
            ids.append(Identifier(high: 1 << UInt64(bit), low: 0))
            ids.append(Identifier(high: 0, low: 1 << UInt64(bit)))
        }
        for _ in 0..<500 { ids.append(Identifier(high: random.next(), low: random.next())) }
        for id in ids {
            for kind in kinds { #expect(read(id.text(kind), kind) == id) }
        }
    }

    @Test func `Upper-case digits are read as well`() {
        #expect(read("msg_" + sampleText.uppercased(), .message) == sample)
    }

    @Test func `An identifier of one kind is none of another kind`() {
        for written in kinds {
            for asked in kinds where asked.prefix.description != written.prefix.description {
                #expect(read(sample.text(written), asked) == nil)
            }
        }
    }

    @Test(arguments: [
        "", "m", "msg", "msg_", "msg_0", sampleText, "_" + sampleText, "Msg_" + sampleText,
        "MSG_" + sampleText, "msg-" + sampleText, " msg_" + sampleText, "msg_" + sampleText + " ",
        "msg_" + sampleText + "0", "msg_" + sampleText.dropLast(), "msg_" + sampleText.dropFirst(),
        "msg_" + sampleText.replacing("-", with: ""), "msg_{" + sampleText + "}",
        "msg_0192a3b4c5d6-7e8f-9a0b-1c2d3e4f50610", "msg_0192a3b-4c5d6-7e8f-9a0b-1c2d3e4f5061",
        "msg_0192a3b4-c5d67-e8f-9a0b-1c2d3e4f5061", "msg_0192a3b4-c5d6-7e8f9-a0b-1c2d3e4f5061",
        "msg_0192a3b4-c5d6-7e8f-9a0b1-c2d3e4f5061", "msg_0192a3b4_c5d6_7e8f_9a0b_1c2d3e4f5061",
        "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f506g", "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f50 1",
        "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f50é", "msg_urn:uuid:0192a3b4-c5d6-7e8f-9a0b-1c2d3e",
        "msg_+192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061", "msg_0x92a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061",
    ])
    func `A malformed identifier is refused`(_ text: String) {
        #expect(read(text, .message) == nil)
    }

    @Test func `Only hexadecimal digits and the four dashes may stand at each place`() {
        let good = Array(sampleText.utf8)
        for place in 0..<good.count {
            for byte in UInt8.min...UInt8.max {
                var bytes = good
                bytes[place] = byte
                let isDash = [8, 13, 18, 23].contains(place)
                let character = Character(UnicodeScalar(byte))
                let isAllowed = isDash ? byte == 0x2D : byte < 0x80 && character.isHexDigit
                #expect((readBare(bytes) != nil) == isAllowed, "byte \(byte) at \(place)")
            }
        }
    }

    @Test func `Every shorter text is refused`() {
        let text = Array(sampleText.utf8)
        for count in 0..<text.count { #expect(readBare(Array(text[..<count])) == nil) }
    }

    @Test func `A hexadecimal digit has its value and nothing else has one`() {
        var found: [UInt8: UInt64] = [:]
        for byte in UInt8.min...UInt8.max {
            if let value = hexadecimalValue(byte) { found[byte] = value }
        }
        var wanted: [UInt8: UInt64] = [:]
        for (value, digit) in "0123456789abcdef".utf8.enumerated() { wanted[digit] = UInt64(value) }
        for (value, digit) in "ABCDEF".utf8.enumerated() { wanted[digit] = UInt64(value) + 10 }
        #expect(found == wanted)
    }
}

private func isBefore(_ a: Identifier, _ b: Identifier) -> Bool {
    a.high < b.high || (a.high == b.high && a.low < b.low)
}

@Suite struct IdentifierSourceTests {
    @Test func `An identifier is a UUID of version 7 and of the RFC's variant`() {
        var source = IdentifierSource(seed: 7)
        for step in UInt64(0)..<10_000 {
            let id = source.next(milliseconds: 1_700_000_000_000 + step / 50, shardKey: 9)
            #expect(id.high >> 12 & 0xF == 7)
            #expect(id.low >> 62 == 0b10)
        }
    }

    @Test func `The shard key and the time are read back`() {
        var source = IdentifierSource(seed: 3)
        for (step, key) in [UInt16.min, 1, 0x7FFF, 0x8000, .max, 0xA5A5].enumerated() {
            let time = UInt64(1_700_000_000_000 + step)
            let id = source.next(milliseconds: time, shardKey: key)
            #expect(id.shardKey == key)
            #expect(id.milliseconds == time)
        }
    }

    @Test func `Later identifiers are greater, as numbers and as text`() {
        var source = IdentifierSource(seed: 11)
        var last = source.next(milliseconds: 1, shardKey: .max)
        for step in UInt64(2)..<5000 {
            let next = source.next(milliseconds: step, shardKey: UInt16(truncatingIfNeeded: ~step))
            #expect(isBefore(last, next))
            #expect(last.text(.message) < next.text(.message))
            last = next
        }
    }

    @Test(arguments: [1, 2, 3, 99] as [UInt64])
    func `They grow strictly while the clock stands still, past what one millisecond holds`(
        _ seed: UInt64
    ) {
        var source = IdentifierSource(seed: seed)
        var last = source.next(milliseconds: 1000, shardKey: 5)
        for _ in 0..<20_000 {
            let next = source.next(milliseconds: 1000, shardKey: 5)
            #expect(next.high > last.high)
            last = next
        }
        #expect(last.milliseconds > 1000, "4096 ids fill a millisecond; time has to step on")
        #expect(last.milliseconds <= 1000 + 20_000 / 4096 + 1)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `They grow strictly whatever the clock does`(_ seed: UInt64) {
        var source = IdentifierSource(seed: seed)
        var random = Random(seed: seed &+ 100)
        var time: UInt64 = 50_000
        var last = source.next(milliseconds: time, shardKey: 0)
        for _ in 0..<5000 {
            switch random.next() % 4 {
            case 0: time += random.next() % 3
            case 1: time -= min(time, random.next() % 5000)
            case 2: time = random.next() % 100_000
            default: break
            }
            let next = source.next(
                milliseconds: time, shardKey: UInt16(truncatingIfNeeded: random.next()))
            #expect(next.high > last.high)
            last = next
        }
    }

    @Test func `Two sources of different seeds do not meet in one millisecond`() {
        var lows: Set<UInt64> = []
        for seed in UInt64(0)..<2000 {
            var source = IdentifierSource(seed: seed)
            lows.insert(source.next(milliseconds: 1, shardKey: 0).low)
        }
        #expect(lows.count == 2000)
    }

    @Test func `The same seed makes the same identifiers`() {
        var a = IdentifierSource(seed: 42)
        var b = IdentifierSource(seed: 42)
        for step in UInt64(0)..<100 {
            #expect(
                a.next(milliseconds: step / 3, shardKey: 1)
                    == b.next(milliseconds: step / 3, shardKey: 1))
        }
    }
}

import Bytes
import Testing

@testable import Wire

private let negotiated = DeflateParameters()
private let noContext = DeflateParameters(clientNoContextTakeover: true)

/// A compressed frame: RSV1 set.
private func packed(_ opcode: UInt8, _ payload: [UInt8], fin: Bool = true) -> [UInt8] {
    frame(opcode, payload, fin: fin, reserved: 4)
}

@Suite struct PermessageDeflateTests {
    // MARK: zlib against others

    @Test func whatPythonCompressedInflatesWithEveryWindow() throws {
        for (bits, first, second) in DeflateVectors.all {
            let inflater = Inflater(windowBits: bits, keepsContext: true)
            let plain = try inflated(first, by: inflater)
            #expect(plain == DeflateVectors.first, "\(bits) bits")
            let next = try inflated(second, by: inflater)
            #expect(next == DeflateVectors.second, "\(bits) bits")
        }
    }

    @Test func theExamplesOfRFC7692InflateAndFragmentsOfThem() throws {
        let hello = Array("Hello".utf8)
        // 7.2.3.1 one block; 7.2.3.3 stored; 7.2.3.4 final; 7.2.3.5 two blocks.
        for digits in [
            "f248cdc9c90700", "000500faff48656c6c6f00", "f348cdc9c9070000",
            "f248050000 00ffffcac9c90700",
        ] {
            let bytes = hex(digits)
            #expect(try inflated(bytes) == hello, "\(digits)")
            expect(packed(1, bytes), [.text("Hello")], deflate: negotiated)
            for cut in 0...bytes.count {
                let stream =
                    packed(1, Array(bytes[..<cut]), fin: false) + frame(9, [1])
                    + more(Array(bytes[cut...]), fin: true)
                expect(stream, [.ping([1]), .text("Hello")], deflate: negotiated)
            }
        }
    }

    @Test func storedAndFixedBlocksOfPythonInflate() {
        expect(
            packed(1, hex("001000efff6772c3bcc39f206469636820f09f988000")),
            [.text("grüß dich 😀")], deflate: negotiated)
        expect(
            packed(1, hex("4a2f3abce7f07c8594cce40c1d85740447e1c3fc190d0000")),
            [.text("grüß dich, grüß dich 😀")], deflate: negotiated)
    }

    @Test func theDeflaterWritesTheExamplesOfRFC7692() {
        let hello = Array("Hello".utf8)
        let deflater = Deflater(windowBits: 15)
        #expect(deflated(hello, by: deflater) == hex("f248cdc9c90700"))
        #expect(deflated(hello, by: deflater, keepContext: false) == hex("f200110000"))
        #expect(deflated(hello, by: deflater, keepContext: false) == hex("f248cdc9c90700"))
        #expect(deflated([], by: deflater) == [0])
        #expect(deflated([], by: deflater) == [0])
        #expect(deflated(hello, by: deflater) == hex("f248cdc9c90700"))
        #expect(deflated(hello, by: deflater) == hex("f200110000"))
    }

    @Test func everyWindowRoundTripsMessagesLargerThanIt() throws {
        var random = Seeded(3)
        for bits: UInt8 in 9...15 {
            for memoryLevel: Int32 in [1, 8, 9] {
                let deflater = Deflater(windowBits: bits, level: 6, memoryLevel: memoryLevel)
                let inflater = Inflater(windowBits: bits, keepsContext: true)
                let part = random.bytes(300)
                for count in [0, 1, 2, 40, 200] {
                    let message = (0..<count).flatMap { _ in
                        part + random.bytes(random.below(3) * 400)
                    }
                    let plain = try inflated(
                        deflated(message, by: deflater), by: inflater, limitBytes: message.count)
                    #expect(plain == message, "\(bits) bits, \(count) parts")
                }
            }
        }
    }

    @Test func aContextThatWasDroppedCannotBeReferredTo() throws {
        let (_, first, second) = DeflateVectors.all[6]
        let inflater = Inflater(windowBits: 15, keepsContext: false)
        #expect(try inflated(first, by: inflater) == DeflateVectors.first)
        #expect(throws: WebSocketError.badDeflate) { try inflated(second, by: inflater) }
    }

    @Test func aReferencePastTheAgreedWindowIsRefused() throws {
        var random = Seeded(8)
        let part = random.bytes(1000)
        let deflater = Deflater(windowBits: 15)
        let inflater = Inflater(windowBits: 9, keepsContext: true)
        #expect(try inflated(deflated(part, by: deflater), by: inflater) == part)
        let second = deflated(part, by: deflater)
        #expect(throws: WebSocketError.badDeflate) { try inflated(second, by: inflater) }
    }

    // MARK: Corrupt streams and bombs

    @Test func aByteTooManyIsToldBeforeAFaultBehindItHoweverTheyCome() {
        // One literal, then a stored block whose length does not match its complement.
        let stream = hex("7a000005001e7ab3")
        for cut in 0...stream.count {
            let inflater = Inflater(windowBits: 15, keepsContext: true)
            let writer = ByteWriter(capacity: 16)
            #expect(throws: WebSocketError.inflatedTooBig, "cut at \(cut)") {
                for piece in [stream[..<cut], stream[cut...]] {
                    let block = ByteBlock(Array(piece))
                    try inflater.inflate(
                        block.bytes, into: writer, limitBytes: 0, endOfMessage: false)
                }
            }
        }
    }

    @Test func streamsThatAreNoDeflateAreRefused() {
        for digits in [
            "", "ff", "07", "06", "000500faff4865", "000500fa0048656c6c6f00", "f248cdc9",
            "f348cdc9c90700ff", "0001", "020801", "f248cdc9c90700010000",
        ] {
            let bytes = hex(digits)
            #expect(throws: WebSocketError.badDeflate, "\(digits)") { try inflated(bytes) }
            expect(packed(2, bytes), [.error(.badDeflate)], deflate: negotiated)
        }
    }

    @Test func aCompressedMessageCutShortIsRefused() throws {
        let (_, first, _) = DeflateVectors.all[6]
        for count in 0..<first.count - 1 {
            #expect(throws: WebSocketError.badDeflate, "\(count) bytes") {
                try inflated(Array(first[..<count]))
            }
        }
        #expect(try inflated(first) == DeflateVectors.first)
    }

    @Test func everyFlippedBitIsTakenAlikeHoweverTheStreamIsCut() {
        let plain = "a message, a message, a message that repeats itself: a message"
        let good = deflated(Array(plain.utf8), by: Deflater(windowBits: 15))
        var refusals = 0
        var unchanged = 0
        for bit in 0..<good.count * 8 {
            var bytes = good
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            let stream = packed(1, bytes) + frame(9, [])
            let whole = run(stream, messageBytesMax: 2000, deflate: negotiated).seen
            if whole == [.text(plain), .ping([])] { unchanged += 1 }
            if case .error? = whole.last { refusals += 1 }
            let each = Array(stream.indices)
            let bytewise = run(stream, cuts: each, messageBytesMax: 2000, deflate: negotiated)
            #expect(bytewise.seen == whole, "bit \(bit)")
        }
        #expect(refusals > good.count)
        // The empty block at the end is filled up to a byte with bits that mean nothing.
        #expect(unchanged <= 7)
    }

    @Test func aBombIsRefusedAtTheLimitAndNotInflatedPastIt() throws {
        let plain = [UInt8](repeating: 0x61, count: 1_000_000)
        let bomb = deflated(plain, by: Deflater(windowBits: 15, level: 9))
        #expect(bomb.count < 1100)
        for limit in [1, 1023, 1024, 1025, 65_536, 999_999] {
            let writer = ByteWriter(capacity: 16)
            #expect(throws: WebSocketError.inflatedTooBig) {
                try inflated(bomb, into: writer, limitBytes: limit)
            }
            #expect(writer.count == limit)
        }
        #expect(try inflated(bomb, limitBytes: 1_000_000) == plain)
        expect(
            packed(2, bomb), [.error(.inflatedTooBig)], messageBytesMax: 999_999,
            deflate: negotiated)
    }

    @Test func aMessageThatInflatesToExactlyTheLimitPasses() {
        for count in [1, 1024, 2000, 4096] {
            let plain = [UInt8](repeating: 0x61, count: count)
            let bytes = deflated(plain, by: Deflater(windowBits: 15))
            expect(
                packed(2, bytes), [.binary(plain)], messageBytesMax: count, deflate: negotiated)
            let over = deflated(plain + [0x61], by: Deflater(windowBits: 15))
            expect(
                packed(2, over), [.error(.inflatedTooBig)], messageBytesMax: count,
                deflate: negotiated)
        }
    }

    @Test func emptyBlocksWithoutEndAreRefusedByTheirNumber() {
        let empty: [UInt8] = [0, 0, 0, 0xFF, 0xFF]
        let many = (0..<40).flatMap { _ in empty }
        // 100 bytes of message may take 100 + 12 + 64 on the wire.
        expect(
            packed(2, many), [.error(.frameTooBig)], messageBytesMax: 100, deflate: negotiated)
        let some = Array(many[..<100])
        expect(
            packed(2, some, fin: false) + more(some, fin: true), [.error(.messageTooBig)],
            messageBytesMax: 100, deflate: negotiated)
        expect(
            packed(2, some, fin: false) + more([0], fin: true), [.binary([])],
            messageBytesMax: 100, deflate: negotiated)
    }

    @Test func aPlainMessageHasNoMoreRoomBecauseCompressionWasAgreed() {
        let bytes = [UInt8](repeating: 1, count: 101)
        for stream in [frame(2, bytes), frame(2, bytes, fin: false)] {
            expect(
                stream, [.error(.messageTooBig)], messageBytesMax: 100, deflate: negotiated)
        }
        let limit = Array(bytes.dropLast())
        expect(frame(2, limit), [.binary(limit)], messageBytesMax: 100, deflate: negotiated)
    }

    @Test func bytesThatCannotBeCompressedPassAtTheLimit() {
        let plain = Seeded(4).noise(70_000)
        let bytes = deflated(plain, by: Deflater(windowBits: 9, level: 1, memoryLevel: 1))
        #expect(bytes.count > plain.count)
        expect(
            packed(2, bytes), [.binary(plain)], messageBytesMax: plain.count, deflate: negotiated)
    }

    // MARK: On a socket (Autobahn 12.x, 13.x)

    @Test func compressedAndPlainMessagesMixOnOneSocket() {
        let deflater = Deflater(windowBits: 15)
        let words = Array("once more, once more".utf8)
        let first = deflated(words, by: deflater)
        let second = deflated(words, by: deflater)
        #expect(second.count < first.count)
        let stream =
            packed(1, first) + text("plain") + packed(1, second) + frame(9, [5]) + packed(1, [0])
        expect(
            stream,
            [
                .text("once more, once more"), .text("plain"), .text("once more, once more"),
                .ping([5]), .text(""),
            ], deflate: negotiated)
        // Without the context the second message cannot be read.
        expect(
            packed(1, first) + packed(1, second),
            [.text("once more, once more"), .error(.badDeflate)], deflate: noContext)
    }

    @Test func withoutContextAnIdleSocketHoldsNoInflater() {
        let deflater = Deflater(windowBits: 15)
        let message = deflated(Array("again".utf8), by: deflater, keepContext: false)
        let stream = packed(1, message) + packed(1, message)
        expect(stream, [.text("again"), .text("again")], deflate: noContext)
        let dropped = run(stream, deflate: noContext)
        #expect(dropped.inbound.inflater == nil)
        #expect(dropped.pool.inflatersKept == 1 && dropped.pool.writersKept == 1)
        let kept = run(stream, deflate: negotiated)
        #expect(kept.inbound.inflater != nil && kept.pool.inflatersKept == 0)
        #expect(run(text("plain"), deflate: negotiated).inbound.inflater == nil)
    }

    @Test func windowsBelowTheOneThatTheSocketAgreedOnAreRead() {
        for bits: UInt8 in 9...15 {
            let deflater = Deflater(windowBits: bits)
            let stream = (0..<3).flatMap { _ in
                packed(2, deflated(DeflateVectors.first, by: deflater))
            }
            let expected = [Seen](repeating: .binary(DeflateVectors.first), count: 3)
            for parameters in [DeflateParameters(clientMaxWindowBits: bits), negotiated] {
                #expect(run(stream, deflate: parameters).seen == expected)
                let cuts = Array(stride(from: 0, to: stream.count, by: 7))
                #expect(run(stream, cuts: cuts, deflate: parameters).seen == expected)
            }
        }
    }

    @Test func aFinalBlockEndsNothingButItself() {
        let final = hex("2bc9485548cd4bd151c8ad54482bca04320100")
        let expected = Seen.text("the end, my friend")
        for parameters in [negotiated, noContext] {
            expect(
                packed(1, final) + packed(1, final) + text("x"), [expected, expected, .text("x")],
                deflate: parameters)
            // Without the empty block behind it.
            let bare = Array(final.dropLast())
            expect(
                packed(1, bare) + packed(1, final), [expected, expected], deflate: parameters)
            expect(
                packed(1, bare + final), [.text("the end, my friendthe end, my friend")],
                deflate: parameters)
        }
    }

    @Test func aWindowOutlivesAFinalBlock() {
        // "Hello" in a final block, then the RFC's second message, which refers to it.
        // The final block stands with the empty block behind it, and without.
        for first in ["f348cdc9c9070000", "f348cdc9c90700"] {
            expect(
                packed(1, hex(first)) + packed(1, hex("f200110000")),
                [.text("Hello"), .text("Hello")], deflate: negotiated)
        }
    }

    @Test func inflatedTextIsCheckedAsItComes() {
        expect(
            packed(1, hex("faff4f212fbf44a124b5a20400")), [.error(.invalidUTF8)],
            deflate: negotiated)
        let half = deflated([0x61, 0xE2, 0x82], by: Deflater(windowBits: 15))
        expect(packed(1, half), [.error(.invalidUTF8)], deflate: negotiated)
        expect(packed(2, half), [.binary([0x61, 0xE2, 0x82])], deflate: negotiated)
        // A stored block with a bad byte in front, of which most is still to come.
        let early = packed(1, hex("006400 9bff 61ff"), fin: false)
        expect(early, [.error(.invalidUTF8)], deflate: negotiated)
    }

    @Test func rsv1AnywhereButOnAFirstDataFrameIsRefused() {
        let hello = hex("f248cdc9c90700")
        expect(packed(1, hello), [.error(.reservedBitsSet)])
        for opcode: UInt8 in [8, 9, 10] {
            expect(packed(opcode, []), [.error(.reservedBitsSet)], deflate: negotiated)
        }
        expect(
            packed(1, hello, fin: false) + packed(0, []), [.error(.reservedBitsSet)],
            deflate: negotiated)
        expect(
            text("a", fin: false) + packed(0, hello), [.error(.reservedBitsSet)],
            deflate: negotiated)
        for reserved: UInt8 in [1, 2, 3, 5, 6, 7] {
            expect(
                frame(1, hello, reserved: reserved), [.error(.reservedBitsSet)],
                deflate: negotiated)
        }
        expect(
            packed(1, hello, fin: false) + packed(1, hello), [.error(.expectedContinuation)],
            deflate: negotiated)
    }
}

extension Seeded {
    fileprivate func noise(_ count: Int) -> [UInt8] {
        var copy = self
        return copy.bytes(count)
    }
}

import Bytes
import Testing

@testable import Wire

private let ascii = Array("the quick brown fox jumps over the lazy dog".utf8)

private func payload(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 95 + 32) } }

@Suite struct WebSocketInboundTests {
    // MARK: Messages in one frame (Autobahn 1.x)

    @Test func messagesOfEveryLengthFormArrive() {
        for count in [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
            let bytes = payload(count)
            expect(
                frame(1, bytes) + frame(2, bytes),
                [.text(String(decoding: bytes, as: UTF8.self)), .binary(bytes)])
        }
    }

    @Test func aWholeFrameIsUnmaskedInPlaceWithoutTouchingThePool() throws {
        var caller = Caller()
        let bytes = frame(2, ascii) + frame(1, ascii)
        let buffer = ReceiveBuffer(capacity: 256)
        let block = ByteBlock(bytes)
        buffer.append(block.bytes)
        var span = buffer.bytes
        let first = try caller.inbound.next(&span, from: 0, assembling: caller.pool)
        let range = ByteRange(6, 6 + ascii.count)
        #expect(first.event == .message(isText: false, payload: .inPlace(range)))
        #expect(first.next == 6 + ascii.count)
        let unmasked = span.bytes.part(range).array()
        #expect(unmasked == ascii)
        let second = try caller.inbound.next(&span, from: first.next, assembling: caller.pool)
        let place = ByteRange(first.next + 6, bytes.count)
        #expect(second.event == .message(isText: true, payload: .inPlace(place)))
        #expect(second.next == bytes.count)
        #expect(caller.inbound.assembly == nil)
        #expect(caller.pool.writersKept == 0)
    }

    @Test func everyMaskIsAppliedFromItsFirstByteAcrossCuts() {
        for mask: [UInt8] in [
            [0, 0, 0, 0], [1, 2, 4, 8], [255, 0, 255, 1], [255, 255, 255, 255],
        ] {
            expect(frame(2, payload(100), mask: mask), [.binary(payload(100))])
        }
    }

    @Test func threePiecesArriveAsOneWhereverTheyAreCut() {
        let stream = frame(2, payload(40)) + more(payload(0), fin: true)
        let expected: [Seen] = [.binary(payload(40)), .error(.unexpectedContinuation)]
        for first in 0...stream.count {
            for second in first...stream.count {
                #expect(run(stream, cuts: [first, second]).seen == expected)
            }
        }
    }

    // MARK: Pings and pongs (Autobahn 2.x)

    @Test func pingsAndPongsOfUpTo125BytesArrive() {
        for count in [0, 1, 124, 125] {
            expect(
                frame(9, payload(count)) + frame(10, payload(count)),
                [.ping(payload(count)), .pong(payload(count))])
        }
        expect(frame(9, [0, 0xFF, 0xFE, 0xFD]), [.ping([0, 0xFF, 0xFE, 0xFD])])
    }

    @Test func aPingOf126BytesIsRefused() {
        expect(frame(10, []) + frame(9, payload(126)), [.pong([]), .error(.controlFrameTooLong)])
    }

    @Test func tenPingsArriveInOrder() {
        let stream = (0..<10).flatMap { frame(9, [UInt8($0)]) }
        expect(stream, (0..<10).map { .ping([UInt8($0)]) })
    }

    // MARK: Reserved bits and opcodes (Autobahn 3.x, 4.x)

    @Test func reservedBitsAreRefusedBehindAGoodMessage() {
        for reserved: UInt8 in 1...7 {
            for opcode: UInt8 in [1, 2, 8, 9, 10] {
                expect(
                    text("ok") + frame(opcode, ascii, reserved: reserved) + frame(9, []),
                    [.text("ok"), .error(.reservedBitsSet)])
            }
        }
    }

    @Test func reservedOpcodesAreRefusedAlsoBetweenFragments() {
        for opcode: UInt8 in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            expect(
                text("ok") + frame(opcode, ascii) + frame(9, []),
                [.text("ok"), .error(.unknownOpcode)])
            expect(text("o", fin: false) + frame(opcode, []), [.error(.unknownOpcode)])
        }
    }

    // MARK: Fragments (Autobahn 5.x)

    @Test func fragmentsBecomeOneMessageWithControlFramesDeliveredBetween() {
        let stream =
            frame(1, Array("frag".utf8), fin: false) + frame(9, [1, 2])
            + more(Array("ment".utf8), fin: false) + frame(10, []) + frame(9, payload(125))
            + more(Array("ed".utf8), fin: true) + text("after")
        expect(
            stream,
            [.ping([1, 2]), .pong([]), .ping(payload(125)), .text("fragmented"), .text("after")])
    }

    @Test func fragmentsWithoutNumberAreRefusedUnlessTheyBringSomething() {
        let empty = more([], fin: false)
        let start = frame(2, [], fin: false)
        let most = start + [UInt8](repeating: 0, count: 1023).flatMap { _ in empty }
        #expect(run(most).seen == [])
        #expect(run(most + empty).seen == [.error(.tooManyFragments)])
        #expect(run(most + more([], fin: true)).seen == [.error(.tooManyFragments)])
        // Each 16 bytes bring one more.
        let paid = start + (0..<5000).flatMap { _ in more(payload(16), fin: false) }
        let seen = run(paid + more([], fin: true)).seen
        #expect(seen == [.binary((0..<5000).flatMap { _ in payload(16) })])
        // The next message begins anew.
        let twice = start + (0..<1022).flatMap { _ in empty } + more([], fin: true)
        #expect(run(twice + twice).seen == [.binary([]), .binary([])])
        #expect(WebSocketError.tooManyFragments.closeCode == 1008)
    }

    @Test func emptyFragmentsAreFragments() {
        let none: [UInt8] = []
        expect(
            text("", fin: false) + more(none, fin: false) + more(none, fin: true), [.text("")])
        expect(
            frame(2, [], fin: false) + more([7], fin: false) + more(none, fin: true) + frame(2, []),
            [.binary([7]), .binary([])])
    }

    @Test func fragmentsOutOfOrderAreRefused() {
        expect(more(ascii, fin: true), [.error(.unexpectedContinuation)])
        expect(more(ascii, fin: false), [.error(.unexpectedContinuation)])
        expect(text("a") + more(ascii, fin: true), [.text("a"), .error(.unexpectedContinuation)])
        expect(text("a", fin: false) + text("b"), [.error(.expectedContinuation)])
        expect(text("a", fin: false) + frame(2, [1], fin: false), [.error(.expectedContinuation)])
        expect(
            text("a", fin: false) + frame(9, []) + frame(2, []),
            [.ping([]), .error(.expectedContinuation)])
        expect(
            text("a", fin: false) + more([0x62], fin: true) + more([0x63], fin: true),
            [.text("ab"), .error(.unexpectedContinuation)])
        expect(frame(9, [], fin: false), [.error(.fragmentedControlFrame)])
        expect(text("a", fin: false) + frame(8, [], fin: false), [.error(.fragmentedControlFrame)])
    }

    @Test func anUnmaskedFrameIsRefusedAlsoBetweenFragments() {
        expect(frame(1, ascii, mask: nil), [.error(.unmaskedClientFrame)])
        expect(
            text("a", fin: false) + frame(0, [0x62], mask: nil), [.error(.unmaskedClientFrame)])
    }

    // MARK: UTF-8 (Autobahn 6.x)

    @Test func wellFormedTextArrivesAlsoInFragmentsThatSplitCharacters() {
        for digits in UTF8ValidatorTests.valid {
            let bytes = hex(digits)
            let expected = Seen.text(String(decoding: bytes, as: UTF8.self))
            expect(frame(1, bytes), [expected])
            for cut in 0...bytes.count {
                expect(
                    frame(1, Array(bytes[..<cut]), fin: false) + frame(9, [])
                        + more(Array(bytes[cut...]), fin: true), [.ping([]), expected])
            }
        }
    }

    @Test func badTextIsRefusedInOneFrameAndInFragments() {
        for (digits, _) in UTF8ValidatorTests.invalid {
            let bytes = hex(digits)
            expect(frame(1, bytes), [.error(.invalidUTF8)])
            expect(frame(2, bytes), [.binary(bytes)])
            for cut in 0...bytes.count {
                let stream =
                    frame(1, Array(bytes[..<cut]), fin: false)
                    + more(Array(bytes[cut...]), fin: true)
                expect(stream, [.error(.invalidUTF8)])
            }
        }
    }

    @Test func aMessageMayNotEndInsideACharacter() {
        for digits in UTF8ValidatorTests.incomplete {
            let bytes = hex(digits)
            expect(frame(1, bytes), [.error(.invalidUTF8)])
            expect(frame(1, bytes, fin: false) + more([], fin: true), [.error(.invalidUTF8)])
        }
        // The next message does not continue the character.
        expect(frame(1, [0x41]) + frame(1, [0x80]), [.text("A"), .error(.invalidUTF8)])
    }

    @Test func badTextIsRefusedAtItsByteNotAtTheEndOfTheFrame() {
        let bytes = ascii + [0xED, 0xA0, 0x80] + ascii
        let badByte = ascii.count + 1
        let whole = frame(1, bytes)
        let early = Array(whole[...(6 + badByte)])
        expect(early, [.error(.invalidUTF8)])
        #expect(run(Array(early.dropLast())).seen == [])
        let fragmented = frame(1, ascii, fin: false) + more([0xED, 0xA0, 0x80] + ascii, fin: true)
        let fragment = Array(fragmented[...(6 + ascii.count + 6 + 1)])
        expect(fragment, [.error(.invalidUTF8)])
        #expect(run(Array(fragment.dropLast())).seen == [])
    }

    // MARK: Close (Autobahn 7.x)

    @Test func everyCloseCodeIsTakenOrRefusedByTheRegistry() {
        for code in UInt16.min...UInt16.max {
            let isValid =
                [1000, 1001, 1002, 1003].contains(code) || (code >= 1007 && code <= 1014)
                || (code >= 3000 && code < 5000)
            let expected: Seen = isValid ? .close(code, "") : .error(.badCloseCode)
            #expect(run(closeFrame(code)).seen == [expected])
        }
    }

    @Test func closeCodesAreTakenHoweverTheFrameIsCut() {
        for code: UInt16 in [1000, 1014, 3000, 4999] {
            expect(closeFrame(code, Array("bye €".utf8)), [.close(code, "bye €")])
        }
        for code: UInt16 in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            expect(closeFrame(code, Array("bye".utf8)), [.error(.badCloseCode)])
        }
    }

    @Test func closeBodiesOfAllSizesAreCheckedAndNothingIsParsedBehind() {
        let after = text("never") + frame(3, [])
        expect(frame(8, []) + after, [.close(nil, "")])
        expect(frame(8, [3]) + after, [.error(.badCloseBody)])
        expect(
            closeFrame(1000, payload(123)) + after,
            [
                .close(1000, String(decoding: payload(123), as: UTF8.self))
            ])
        expect(closeFrame(1000, payload(124)) + after, [.error(.controlFrameTooLong)])
        expect(closeFrame(1000, [0xCE, 0xBA, 0xED, 0xA0, 0x80]) + after, [.error(.invalidUTF8)])
        expect(closeFrame(1000, [0xE2, 0x82]) + after, [.error(.invalidUTF8)])
        expect(text("a", fin: false) + frame(8, []) + more([0x62], fin: true), [.close(nil, "")])
    }

    @Test func afterAnErrorOrAnEndNothingIsParsed() {
        for stream in [frame(3, []), closeFrame(1000)] {
            var caller = run(stream)
            let count = caller.seen.count
            caller.receive((text("late") + frame(9, []))[...])
            #expect(caller.seen.count == count)
            #expect(caller.inbound.assembly == nil && caller.inbound.inflater == nil)
        }
    }

    @Test func anErrorGivesTheGatheredPartBackToThePool() {
        let caller = run(text("abc", fin: false) + frame(3, []))
        #expect(caller.seen == [.error(.unknownOpcode)])
        #expect(caller.pool.writersKept == 1)
        #expect(caller.inbound.assembly == nil)
    }

    // MARK: Limits and memory (Autobahn 9.x)

    @Test func aMessageOfTheLimitPassesAndOneByteMoreIsRefusedAtItsHeader() {
        for limit in [1, 125, 126, 1000, 65_535, 65_536, 100_000] {
            let bytes = payload(limit)
            expect(frame(2, bytes), [.binary(bytes)], messageBytesMax: limit)
            let header = frame(2, [], mask: [1, 2, 3, 4], length: UInt64(limit + 1))
            expect(header, [.error(.frameTooBig)], messageBytesMax: limit)
        }
    }

    @Test func fragmentsOverTheLimitAreRefusedAtTheHeaderThatShowsIt() {
        let start = frame(2, payload(60), fin: false) + frame(9, [])
        expect(
            start + more(payload(40), fin: true), [.ping([]), .binary(payload(60) + payload(40))],
            messageBytesMax: 100)
        expect(
            start + frame(0, [], fin: false, length: 41), [.ping([]), .error(.messageTooBig)],
            messageBytesMax: 100)
        expect(
            start + more(payload(40), fin: false) + frame(0, [], fin: true, length: 1),
            [.ping([]), .error(.messageTooBig)], messageBytesMax: 100)
    }

    @Test func theLimitStartsAnewWithEachMessage() {
        let stream = frame(2, payload(60), fin: false) + more(payload(40), fin: true)
        let message = Seen.binary(payload(60) + payload(40))
        expect(stream + stream, [message, message], messageBytesMax: 100)
    }

    @Test func aLargeFrameIsTakenInAsItComesSoThatTheCallerKeepsNothing() {
        let bytes = Seeded(9).filled(3 << 20)
        let stream = frame(2, bytes)
        let cuts = Array(stride(from: 14, to: stream.count, by: 16_383))
        let caller = run(stream, cuts: cuts, messageBytesMax: 16 << 20)
        #expect(caller.seen == [.binary(bytes)])
        #expect(caller.keptBytesMax == 0)
        #expect(caller.inPlaceCount == 0)
        // Larger than the pool keeps.
        #expect(caller.pool.writersKept == 0)
    }

    @Test func anAnnouncedLengthIsNotAllocatedBeforeItComes() throws {
        let caller = run(
            frame(2, [1], mask: [1, 2, 3, 4], length: 16 << 20), messageBytesMax: 16 << 20)
        let writer = try #require(caller.inbound.assembly)
        #expect(writer.count == 1)
        #expect(writer.capacityBytes <= 4096)
    }

    @Test func anIdleSocketIsSmallAndHoldsNothing() {
        #expect(MemoryLayout<WebSocketInbound>.size <= 64)
        let caller = run(text("ab", fin: false) + more([0x63], fin: true))
        #expect(caller.seen == [.text("abc")])
        #expect(caller.inbound.assembly == nil && caller.inbound.inflater == nil)
        #expect(caller.pool.writersKept == 1)
    }

    @Test func gatheredMessagesShareOneBufferOfThePool() {
        var caller = Caller()
        let first = caller.pool.takeWriter()
        caller.pool.giveBack(first)
        for _ in 0..<3 {
            caller.receive(text("ab", fin: false)[...])
            #expect(caller.inbound.assembly === first)
            caller.receive(more([0x63], fin: true)[...])
        }
        #expect(caller.seen == [.text("abc"), .text("abc"), .text("abc")])
        #expect(caller.pool.writersKept == 1)
    }

    @Test func thePoolKeepsNeitherLargeNorManyBuffers() {
        let pool = WebSocketAssemblyPool(buffersKeptMax: 2, writerBytesKeptMax: 4096)
        for capacity in [4096, 4097, 1024, 1024] { pool.giveBack(ByteWriter(capacity: capacity)) }
        #expect(pool.writersKept == 2)
        for _ in 0..<3 { pool.giveBack(Inflater(windowBits: 15, keepsContext: false)) }
        #expect(pool.inflatersKept == 2)
    }

    @Test func anAssembledMessageThatIsNotTakenIsDropped() throws {
        var caller = Caller()
        let buffer = ReceiveBuffer(capacity: 256)
        let part = text("old", fin: false) + more([0x21], fin: true)
        let block = ByteBlock(part + text("ne", fin: false) + more([0x77], fin: true))
        buffer.append(block.bytes)
        var bytes = buffer.bytes
        let step = try caller.inbound.next(&bytes, from: 0, assembling: caller.pool)
        #expect(step.event == .message(isText: true, payload: .assembled))
        let last = try caller.inbound.next(&bytes, from: step.next, assembling: caller.pool)
        #expect(last.event == .message(isText: true, payload: .assembled))
        #expect(caller.inbound.takeAssembled().string() == "new")
    }

    // MARK: Garbage

    @Test func randomBytesNeverTrapAndAreSeenAlikeHoweverTheyAreCut() {
        var random = Seeded(77)
        var errors = Set<String>()
        for _ in 0..<2000 {
            let stream = randomStream(&random)
            let deflate: DeflateParameters? = random.below(2) == 0 ? nil : DeflateParameters()
            let whole = run(stream, messageBytesMax: 300, deflate: deflate).seen
            if case .error(let error)? = whole.last { errors.insert("\(error)") }
            let cuts = (0..<random.below(6)).map { _ in random.below(stream.count + 1) }.sorted()
            #expect(run(stream, cuts: cuts, messageBytesMax: 300, deflate: deflate).seen == whole)
            let each = Array(stream.indices)
            #expect(run(stream, cuts: each, messageBytesMax: 300, deflate: deflate).seen == whole)
        }
        // The generator reaches most of what can be refused.
        #expect(errors.count >= 11, "\(errors.sorted())")
    }

    /// A few frames, mostly good ones, then perhaps a broken byte or plain noise.
    private func randomStream(_ random: inout Seeded) -> [UInt8] {
        var stream: [UInt8] = []
        for _ in 0..<random.below(6) {
            let opcode: UInt8 = [0, 0, 1, 1, 2, 8, 9, 10][random.below(8)]
            let count = [0, 1, 2, 5, 125, 126, 200][random.below(7)]
            let body = random.below(2) == 0 ? random.bytes(count) : payload(count)
            stream += frame(
                opcode, body, fin: opcode > 7 || random.below(2) == 0,
                reserved: random.below(4) == 0 ? 4 : 0, mask: random.bytes(4))
        }
        switch random.below(3) {
        case 0 where !stream.isEmpty:
            stream[random.below(stream.count)] ^= 1 << UInt8(random.below(8))
        case 1: stream += random.bytes(random.below(40))
        default: break
        }
        return stream
    }
}

extension Seeded {
    fileprivate func filled(_ count: Int) -> [UInt8] {
        var copy = self
        return copy.bytes(count)
    }
}

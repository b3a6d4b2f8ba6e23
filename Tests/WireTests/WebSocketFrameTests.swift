import Bytes
import Testing

@testable import Wire

private func parse(
    _ bytes: [UInt8], role: WebSocketRole = .server, max: Int = 1 << 40, deflate: Bool = false
) -> Result<WebSocketFrameOutcome, WebSocketError> {
    let block = ByteBlock(bytes)
    do throws(WebSocketError) {
        return .success(
            try parseWebSocketFrameHeader(
                block.bytes, role: role, payloadBytesMax: max, deflateNegotiated: deflate))
    } catch {
        return .failure(error)
    }
}

/// The outcome, checked to be the same whatever follows, and to be asked for before.
private func expectRefusal(
    _ bytes: [UInt8], _ error: WebSocketError, atByte count: Int, role: WebSocketRole = .server,
    max: Int = 1 << 40, deflate: Bool = false, _ place: SourceLocation = #_sourceLocation
) {
    for length in 0...bytes.count {
        let outcome = parse(Array(bytes[..<length]), role: role, max: max, deflate: deflate)
        if length >= count {
            #expect(outcome == .failure(error), "\(length) bytes", sourceLocation: place)
        } else if case .success(.needsMoreBytes(let total)) = outcome {
            #expect(total > length && total <= 14, "\(length) bytes", sourceLocation: place)
        } else {
            Issue.record("refused with \(length) bytes: \(outcome)", sourceLocation: place)
        }
    }
}

@Suite struct WebSocketFrameTests {
    @Test func headersOfAllLengthFormsAreParsedAndAskForWhatTheyNeed() {
        let lengths: [(bytes: UInt64, header: Int)] = [
            (0, 6), (1, 6), (125, 6), (126, 8), (127, 8), (128, 8), (65_535, 8), (65_536, 14),
            (65_537, 14), (1 << 32, 14), (1 << 40, 14),
        ]
        for (length, headerBytes) in lengths {
            let bytes = frame(2, [], mask: [1, 2, 3, 4], length: length)
            #expect(bytes.count == headerBytes)
            let header = WebSocketFrameHeader(
                fin: true, rsv1: false, opcode: .binary, mask: 0x0403_0201,
                headerBytes: headerBytes, payloadBytes: Int(length))
            #expect(parse(bytes) == .success(.header(header)))
            #expect(parse(bytes + [9, 9, 9]) == .success(.header(header)))
            for count in 0..<headerBytes {
                let total = count < 2 ? 6 : headerBytes
                #expect(
                    parse(Array(bytes[..<count])) == .success(.needsMoreBytes(total: total)),
                    "\(count) bytes of \(length)")
            }
        }
    }

    @Test func aClientReadsPlainFrames() {
        for (length, headerBytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let bytes = frame(1, [], mask: nil, length: UInt64(length))
            let header = WebSocketFrameHeader(
                fin: true, rsv1: false, opcode: .text, mask: 0, headerBytes: headerBytes,
                payloadBytes: length)
            #expect(parse(bytes, role: .client) == .success(.header(header)))
            for count in 0..<headerBytes {
                let total = count < 2 ? 2 : headerBytes
                #expect(
                    parse(Array(bytes[..<count]), role: .client)
                        == .success(.needsMoreBytes(total: total)))
            }
        }
    }

    @Test func everyFirstByteIsAcceptedOrRefusedByTheRFCsTable() {
        for deflate in [false, true] {
            for first in UInt8.min...UInt8.max {
                let opcode = first & 15
                let isControl = (8...10).contains(opcode)
                let isKnown = opcode <= 2 || isControl
                let rsv1IsBad = first & 0x40 != 0 && (!deflate || ![1, 2].contains(opcode))
                let expected: WebSocketError? =
                    first & 0x30 != 0
                    ? .reservedBitsSet
                    : !isKnown
                        ? .unknownOpcode
                        : rsv1IsBad
                            ? .reservedBitsSet
                            : isControl && first & 0x80 == 0 ? .fragmentedControlFrame : nil
                let bytes = [first, 0x80, 0, 0, 0, 0]
                if let expected {
                    expectRefusal(bytes, expected, atByte: 1, deflate: deflate)
                } else if case .success(.header(let header)) = parse(bytes, deflate: deflate) {
                    #expect(header.opcode.rawValue == opcode)
                    #expect(header.fin == (first & 0x80 != 0))
                    #expect(header.rsv1 == (first & 0x40 != 0))
                } else {
                    Issue.record("\(first) was not taken")
                }
            }
        }
    }

    @Test func theWrongMaskingIsRefusedAtTheSecondByte() {
        for opcode: UInt8 in [0, 1, 2, 8, 9, 10] {
            for length: UInt64 in [0, 125] {
                expectRefusal(
                    frame(opcode, [], mask: nil, length: length), .unmaskedClientFrame, atByte: 2)
                expectRefusal(
                    frame(opcode, [], length: length), .maskedServerFrame, atByte: 2, role: .client)
            }
        }
    }

    @Test func longControlFramesAreRefusedAtTheSecondByte() {
        for opcode: UInt8 in [8, 9, 10] {
            for length: UInt64 in [126, 127, 65_535, 65_536] {
                expectRefusal(
                    frame(opcode, [], length: length), .controlFrameTooLong, atByte: 2)
            }
            #expect(
                parse(frame(opcode, [], length: 5, form: 126)) == .failure(.controlFrameTooLong))
        }
    }

    @Test func lengthsThatHaveAShorterFormAreRefused() {
        for length: UInt64 in [0, 1, 124, 125] {
            expectRefusal(frame(2, [], length: length, form: 126), .nonMinimalLength, atByte: 4)
        }
        for length: UInt64 in [0, 125, 126, 65_534, 65_535] {
            expectRefusal(frame(2, [], length: length, form: 127), .nonMinimalLength, atByte: 10)
        }
    }

    @Test func theTopBitOfALengthIsRefusedAtItsFirstByte() {
        for length: UInt64 in [1 << 63, UInt64.max, 1 << 63 | 70_000] {
            expectRefusal(
                frame(2, [], length: length, form: 127), .lengthTopBitSet, atByte: 3, max: .max)
        }
        let largest = frame(2, [], length: UInt64.max >> 1)
        guard case .success(.header(let header)) = parse(largest, max: .max) else {
            Issue.record("the largest length is a length")
            return
        }
        #expect(header.payloadBytes == Int.max)
    }

    @Test func aFrameOverTheLimitIsRefusedBeforeItsMaskHasCome() {
        expectRefusal(frame(2, [], length: 101), .frameTooBig, atByte: 2, max: 100)
        expectRefusal(frame(2, [], length: 126), .frameTooBig, atByte: 2, max: 125)
        expectRefusal(frame(2, [], length: 1001), .frameTooBig, atByte: 4, max: 1000)
        expectRefusal(frame(2, [], length: 65_536), .frameTooBig, atByte: 2, max: 65_535)
        expectRefusal(frame(2, [], length: 65_537), .frameTooBig, atByte: 10, max: 65_536)
        expectRefusal(frame(0, [], length: 1 << 62), .frameTooBig, atByte: 10, max: 1 << 30)
    }

    @Test func aFrameAtTheLimitAndControlFramesPassIt() {
        for limit in [0, 100, 125, 126, 65_535, 65_536] {
            let bytes = frame(2, [], length: UInt64(limit))
            guard case .success(.header) = parse(bytes, max: limit) else {
                Issue.record("\(limit) bytes are within \(limit)")
                continue
            }
        }
        guard case .success(.header) = parse(frame(9, [], length: 125), max: 10) else {
            Issue.record("the limit is for data")
            return
        }
    }

    @Test func randomBytesNeverTrapAndGrowingInputNeverContradictsItself() {
        var random = Seeded(1)
        var refusals = 0
        for _ in 0..<20_000 {
            let bytes = random.bytes(16)
            let role: WebSocketRole = random.below(2) == 0 ? .server : .client
            let limit = random.below(2) == 0 ? 1000 : Int.max
            let final = parse(bytes, role: role, max: limit, deflate: true)
            if case .failure = final { refusals += 1 }
            for count in 0..<16 {
                let early = parse(Array(bytes[..<count]), role: role, max: limit, deflate: true)
                if case .success(.needsMoreBytes(let total)) = early {
                    #expect(total > count)
                } else {
                    #expect(early == final)
                }
            }
        }
        #expect(refusals > 1000 && refusals < 20_000)
    }

    @Test func everyErrorHasACloseCodeAndADetailThatFitsACloseFrame() {
        for error in WebSocketError.allCases {
            #expect([1002, 1007, 1008, 1009].contains(error.closeCode))
            #expect((1...123).contains(error.detail.utf8CodeUnitCount))
        }
        #expect(WebSocketError.invalidUTF8.closeCode == 1007)
        #expect(WebSocketError.badDeflate.closeCode == 1007)
        #expect(WebSocketError.messageTooBig.closeCode == 1009)
        #expect(WebSocketError.frameTooBig.closeCode == 1009)
        #expect(WebSocketError.inflatedTooBig.closeCode == 1009)
        #expect(WebSocketError.badCloseCode.closeCode == 1002)
        let details = Set(WebSocketError.allCases.map { "\($0.detail)" })
        #expect(details.count == WebSocketError.allCases.count)
    }
}

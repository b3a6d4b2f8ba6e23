import Bytes
import Testing

@testable import Wire

private func written(_ body: (ByteWriter) -> Void) -> [UInt8] {
    let writer = ByteWriter(capacity: 8)
    body(writer)
    return writer.bytes.array()
}

private func payload(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 95 + 32) } }

@Suite struct WebSocketOutboundTests {
    @Test func serverFramesArePlainAndUseTheShortestLength() {
        for count in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let block = ByteBlock(payload(count))
            #expect(
                written { WebSocketEncoder.text(block.bytes, into: $0) }
                    == frame(1, payload(count), mask: nil))
            #expect(
                written { WebSocketEncoder.binary(block.bytes, into: $0) }
                    == frame(2, payload(count), mask: nil))
        }
        for count in [0, 1, 125] {
            let block = ByteBlock(payload(count))
            #expect(
                written { WebSocketEncoder.ping(block.bytes, into: $0) }
                    == frame(9, payload(count), mask: nil))
            #expect(
                written { WebSocketEncoder.pong(block.bytes, into: $0) }
                    == frame(10, payload(count), mask: nil))
        }
    }

    @Test func framesAreAppendedBehindWhatIsThere() {
        let hello = ByteBlock("Hello")
        let bytes = written {
            WebSocketEncoder.text(hello.bytes, into: $0)
            WebSocketEncoder.ping(hello.bytes, into: $0)
        }
        // RFC 6455 section 5.7.
        #expect(bytes == hex("810548656c6c6f") + hex("890548656c6c6f"))
    }

    @Test func theMaskedExampleOfRFC6455IsWritten() {
        let hello = ByteBlock("Hello")
        let bytes = written {
            WebSocketEncoder.masked(.text, hello.bytes, mask: 0x3D21_FA37, into: $0)
        }
        #expect(bytes == hex("818537fa213d7f9f4d5158"))
    }

    @Test func headersCarryTheirBits() {
        for (fin, rsv1, first) in [
            (true, false, 0x81), (false, false, 0x01), (true, true, 0xC1), (false, true, 0x41),
        ] as [(Bool, Bool, UInt8)] {
            let bytes = written {
                WebSocketEncoder.header(
                    .text, fin: fin, rsv1: rsv1, payloadBytes: 1 << 20, into: $0)
            }
            #expect(bytes == [first, 127, 0, 0, 0, 0, 0, 16, 0, 0])
        }
        let last = written { WebSocketEncoder.header(.continuation, payloadBytes: 300, into: $0) }
        #expect(last == [0x80, 126, 1, 44])
    }

    @Test func closeFramesCarryCodeAndReason() {
        let reason = ByteBlock("done")
        let empty = ByteBlock("")
        #expect(
            written { WebSocketEncoder.close(code: nil, reason: empty.bytes, into: $0) } == [
                0x88, 0,
            ])
        #expect(
            written { WebSocketEncoder.close(code: 1000, reason: reason.bytes, into: $0) }
                == [0x88, 6, 3, 0xE8] + Array("done".utf8))
        for error in WebSocketError.allCases {
            let bytes = written { WebSocketEncoder.close(for: error, into: $0) }
            let code = error.closeCode
            #expect(
                bytes == [0x88, UInt8(bytes.count - 2), UInt8(code >> 8), UInt8(code & 0xFF)]
                    + Array("\(error.detail)".utf8))
        }
    }

    @Test func whatAClientWritesIsWhatAServerReads() {
        var random = Seeded(2)
        var stream: [UInt8] = []
        var expected: [Seen] = []
        for count in [0, 1, 5, 125, 126, 65_535, 65_536] {
            let block = ByteBlock(payload(count))
            let mask = UInt32(truncatingIfNeeded: random.next())
            let string = String(decoding: payload(count), as: UTF8.self)
            stream += written { writer in
                WebSocketEncoder.masked(.text, block.bytes, mask: mask, into: writer)
                WebSocketEncoder.masked(.binary, block.bytes, mask: mask, fin: false, into: writer)
                WebSocketEncoder.masked(.continuation, block.bytes, mask: ~mask, into: writer)
                if count <= 125 {
                    WebSocketEncoder.masked(.ping, block.bytes, mask: mask, into: writer)
                }
            }
            expected += [.text(string), .binary(payload(count) + payload(count))]
            if count <= 125 { expected.append(.ping(payload(count))) }
        }
        let reason = ByteBlock("see you, ü")
        stream += written {
            WebSocketEncoder.maskedClose(
                code: 4321, reason: reason.bytes, mask: 0x0102_0304, into: $0)
        }
        expected.append(.close(4321, "see you, ü"))
        expect(stream, expected)
        let bare = written {
            let empty = ByteBlock("")
            WebSocketEncoder.maskedClose(code: nil, reason: empty.bytes, mask: 7, into: $0)
        }
        expect(bare, [.close(nil, "")])
    }

    @Test func aCompressedMessageIsOneFrameWithRSV1() throws {
        let deflater = Deflater(windowBits: 15)
        let scratch = ByteWriter()
        let hello = ByteBlock("Hello")
        let bytes = written { writer in
            for _ in 0..<2 {
                WebSocketEncoder.compressed(
                    .text, hello.bytes, by: deflater, keepContext: true, scratch: scratch,
                    into: writer)
            }
        }
        // RFC 7692 sections 7.2.3.1 and 7.2.3.2.
        #expect(bytes == hex("c107f248cdc9c90700") + hex("c105f200110000"))
    }

    @Test func keysOf16BytesInBase64AreTaken() {
        for key in [
            "dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/+/+/+/+/+/+/+/+/+/+/w==",
            "zZ09azAZ09azAZ09azAZ0A==", "dGhlIHNhbXBsZSBub25jZR==",
        ] {
            let block = ByteBlock(key)
            let isValid = isValidWebSocketKey(block.bytes)
            #expect(isValid, "\(key)")
        }
    }

    @Test func anythingElseIsNoKey() {
        for key in [
            "", "==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZWE=", "dGhlIHNhbXBsZSBub25jZWFi", "dGhlIHNhbXBsZSBub25jZ===",
            " GhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ= ", "dGhlIHNhbXBsZSBub25j-Q==",
            "dGhlIHNhbXBsZSBub25j_Q==", "dGhlIHNhb=BsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==\n",
            "dGhlIHNhbXBsZSBub25jZQ=A", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25j@Q==",
            "dGhlIHNhbXBsZSBub25j[Q==", "dGhlIHNhbXBsZSBub25j`Q==", "dGhlIHNhbXBsZSBub25j{Q==",
            "dGhlIHNhbXBsZSBub25j:Q==", "dGhlIHNhbXBsZSBub25j.Q==",
        ] {
            let block = ByteBlock(key)
            let isValid = isValidWebSocketKey(block.bytes)
            #expect(!isValid, "\(key)")
        }
    }

    @Test func theGUIDIsThatOfRFC6455() {
        #expect("\(webSocketAcceptGUID)" == "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    }
}

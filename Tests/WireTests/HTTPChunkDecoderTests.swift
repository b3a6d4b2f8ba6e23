import Bytes
import Testing

@testable import Wire

private struct Body: Sendable {
    var wire: String
    var data: String

    init(_ wire: String, _ data: String) {
        self.wire = wire
        self.data = data
    }
}

private let validBodies: [Body] = [
    Body("0\r\n\r\n", ""),
    Body("0000000000000000\r\n\r\n", ""),
    Body("1\r\na\r\n0\r\n\r\n", "a"),
    Body("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
    Body("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    Body("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    Body("0000000000000010\r\n0123456789abcdef\r\n0\r\n\r\n", "0123456789abcdef"),
    Body("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    Body("7\r\n0\r\n\r\n\0\n\r\n0\r\n\r\n", "0\r\n\r\n\0\n"),
    Body("1;a\r\nx\r\n0\r\n\r\n", "x"),
    Body("1;a=b\r\nx\r\n0;c=d\r\n\r\n", "x"),
    Body("1;a=\"q \\\" ;\t\"\r\nx\r\n0\r\n\r\n", "x"),
    Body("1;a=\"\";b;c=\"\\\\\"\r\nx\r\n0\r\n\r\n", "x"),
    Body("1 ; a = b ; c\t=\t\"d\" ;e\r\nx\r\n0\r\n\r\n", "x"),
    Body("1;a=\"caf\u{E9}\"\r\nx\r\n0\r\n\r\n", "x"),
    Body("0\r\nX: y\r\n\r\n", ""),
    Body("0\r\nX:\r\nServer-Timing: a b\tc\r\nHosts: z\r\n\r\n", ""),
    Body("2\r\nhi\r\n0;a\r\nDigest: caf\u{E9}\r\nContent-Length-X: 5\r\n\r\n", "hi"),
    Body("0\r\nA-trailer-name-that-is-longer-than-any-forbidden-one: y\r\n\r\n", ""),
]

/// A refused body: the bytes up to and with the one at fault.
struct InvalidBody: Sendable, CustomTestStringConvertible {
    var wire: String
    var error: HTTPError

    init(_ wire: String, _ error: HTTPError) {
        self.wire = wire
        self.error = error
    }

    var testDescription: String { "\(error) \(visible(Array(wire.utf8)))" }
}

private let invalidSizes: [InvalidBody] = [
    InvalidBody("\r", .badChunkSize), InvalidBody("\n", .bareLineFeed),
    InvalidBody(" ", .badChunkSize), InvalidBody("\t", .badChunkSize),
    InvalidBody("g", .badChunkSize), InvalidBody("-", .badChunkSize),
    InvalidBody("+", .badChunkSize), InvalidBody(";", .badChunkSize),
    InvalidBody("\0", .badChunkSize), InvalidBody("~", .badChunkSize),
    InvalidBody("0x", .badChunkSize), InvalidBody("0X", .badChunkSize),
    InvalidBody("5h", .badChunkSize), InvalidBody("5,", .badChunkSize),
    InvalidBody("5.", .badChunkSize), InvalidBody("5_", .badChunkSize),
    InvalidBody("5\0", .badChunkSize), InvalidBody("5\u{B}", .badChunkSize),
    InvalidBody("5:", .badChunkSize), InvalidBody("5@", .badChunkSize),
    InvalidBody("5G", .badChunkSize), InvalidBody("5/", .badChunkSize),
    InvalidBody("5\n", .bareLineFeed), InvalidBody("0\n", .bareLineFeed),
    InvalidBody("5\r\r", .bareCarriageReturn), InvalidBody("5\rh", .bareCarriageReturn),
    InvalidBody("0\r0", .bareCarriageReturn),
    InvalidBody("5 \r", .badChunkSize), InvalidBody("5 5", .badChunkSize),
    InvalidBody("5\t\n", .badChunkSize), InvalidBody("5 \0", .badChunkSize),
    InvalidBody("00000000000000000", .badChunkSize),
    InvalidBody("00000000000000005", .badChunkSize),
    InvalidBody("8000000000000000", .badChunkSize), InvalidBody("ffffffffffffffff", .badChunkSize),
    InvalidBody("10000000000000000", .badChunkSize),
    InvalidBody("7fffffffffffffff0", .badChunkSize),
]

private let invalidData: [InvalidBody] = [
    InvalidBody("1\r\naa", .badChunk), InvalidBody("1\r\na\n", .badChunk),
    InvalidBody("1\r\na\r\r", .badChunk), InvalidBody("1\r\na\ra", .badChunk),
    InvalidBody("1\r\na0", .badChunk), InvalidBody("1\r\na ", .badChunk),
    InvalidBody("5\r\nhello0", .badChunk), InvalidBody("4\r\nhello", .badChunk),
    InvalidBody("1\r\na\r\n\r", .badChunkSize), InvalidBody("1\r\na\r\n\n", .bareLineFeed),
    InvalidBody("1\r\na\r\ng", .badChunkSize), InvalidBody("1\r\na\r\n ", .badChunkSize),
]

private let invalidExtensions: [InvalidBody] = [
    InvalidBody("1;\r", .badChunkExtension), InvalidBody("1;;", .badChunkExtension),
    InvalidBody("1;\n", .bareLineFeed), InvalidBody("1; \r", .badChunkExtension),
    InvalidBody("1;=", .badChunkExtension), InvalidBody("1;\"", .badChunkExtension),
    InvalidBody("1;@", .badChunkExtension), InvalidBody("1;\0", .badChunkExtension),
    InvalidBody("1;a\n", .bareLineFeed), InvalidBody("1;a,", .badChunkExtension),
    InvalidBody("1;a\0", .badChunkExtension), InvalidBody("1;a\"", .badChunkExtension),
    InvalidBody("1;a \r", .badChunkExtension), InvalidBody("1;a b", .badChunkExtension),
    InvalidBody("1;a=\r", .badChunkExtension), InvalidBody("1;a=\n", .bareLineFeed),
    InvalidBody("1;a=;", .badChunkExtension), InvalidBody("1;a==", .badChunkExtension),
    InvalidBody("1;a=b=", .badChunkExtension), InvalidBody("1;a=b,", .badChunkExtension),
    InvalidBody("1;a=b\n", .bareLineFeed), InvalidBody("1;a=b \r", .badChunkExtension),
    InvalidBody("1;a=b c", .badChunkExtension), InvalidBody("1;a=b\"", .badChunkExtension),
    InvalidBody("1;a=b\u{B}", .badChunkExtension), InvalidBody("1;a=\"\r", .badChunkExtension),
    InvalidBody("1;a=\"\n", .badChunkExtension), InvalidBody("1;a=\"\0", .badChunkExtension),
    InvalidBody("1;a=\"\u{7F}", .badChunkExtension), InvalidBody("1;a=\"\\\r", .badChunkExtension),
    InvalidBody("1;a=\"\\\n", .badChunkExtension), InvalidBody("1;a=\"b\"c", .badChunkExtension),
    InvalidBody("1;a=\"b\"\"", .badChunkExtension), InvalidBody("1;a=\"b\"\n", .bareLineFeed),
    InvalidBody("1;a=\"b\" \r", .badChunkExtension), InvalidBody("1;a\r\r", .bareCarriageReturn),
    InvalidBody("0;a=b\rx", .bareCarriageReturn), InvalidBody("0;a\rb", .bareCarriageReturn),
]

private let invalidTrailers: [InvalidBody] =
    [
        InvalidBody("0\r\n\n", .bareLineFeed), InvalidBody("0\r\n\r\r", .bareCarriageReturn),
        InvalidBody("0\r\n\rG", .bareCarriageReturn), InvalidBody("0\r\n ", .obsoleteFolding),
        InvalidBody("0\r\n\t", .obsoleteFolding), InvalidBody("0\r\n:", .badTrailer),
        InvalidBody("0\r\n\0", .badTrailer), InvalidBody("0\r\n@", .badTrailer),
        InvalidBody("0\r\nX\r", .badTrailer), InvalidBody("0\r\nX\n", .bareLineFeed),
        InvalidBody("0\r\nX ", .whitespaceBeforeColon),
        InvalidBody("0\r\nX\t", .whitespaceBeforeColon),
        InvalidBody("0\r\nX\0", .badTrailer), InvalidBody("0\r\nX(", .badTrailer),
        InvalidBody("0\r\nX/", .badTrailer), InvalidBody("0\r\nX: y\n", .bareLineFeed),
        InvalidBody("0\r\nX: \0", .badTrailer), InvalidBody("0\r\nX: \u{B}", .badTrailer),
        InvalidBody("0\r\nX: \u{7F}", .badTrailer),
        InvalidBody("0\r\nX: y\r\r", .bareCarriageReturn),
        InvalidBody("0\r\nX: y\rZ", .bareCarriageReturn),
        InvalidBody("0\r\nX: y\r\n ", .obsoleteFolding),
        InvalidBody("0\r\nX: y\r\n\n", .bareLineFeed), InvalidBody("0\r\nX: y\r\n:", .badTrailer),
        InvalidBody("0\r\nX: y\r\nHost:", .forbiddenTrailer),
        InvalidBody("0\r\nGET ", .whitespaceBeforeColon),
    ]
    + [
        "Host", "HOST", "content-length", "Content-Length", "Transfer-Encoding",
        "tRANSFER-eNCODING",
        "Authorization", "Proxy-Authorization", "Content-Type", "Content-Encoding", "TE", "Trailer",
        "Connection", "Keep-Alive", "Upgrade", "Expect", "Range", "Cookie", "Set-Cookie", "Origin",
        "Cache-Control", "Max-Forwards", "Forwarded", "X-Forwarded-For", "X-API-Key", "X-Tenant-ID",
        "Idempotency-Key",
    ].map { InvalidBody("0\r\n\($0):", .forbiddenTrailer) }

@Suite("Chunked bodies")
struct HTTPChunkDecoderTests {
    @Test(
        "A body decodes the same in any pieces and leaves what follows it",
        arguments: validBodies.indices)
    func accepted(_ index: Int) throws {
        let body = validBodies[index]
        let wire = Array(body.wire.utf8)
        let expected = BodyReport(data: Array(body.data.utf8), end: wire.count)
        #expect(decodeBodyInEveryWay(wire) == expected)
        #expect(decodeBodyInEveryWay(wire + Array("GET /".utf8)) == expected)
        #expect(decodeBody(Array(wire.dropLast())) == BodyReport(data: expected.data))
    }

    @Test("A malformed chunk size is refused at its byte", arguments: invalidSizes)
    func size(_ body: InvalidBody) { expectRefusal(body) }

    @Test(
        "Data that its size does not fit is refused at the byte behind it", arguments: invalidData)
    func data(_ body: InvalidBody) { expectRefusal(body) }

    @Test("A malformed extension is refused at its byte", arguments: invalidExtensions)
    func extensions(_ body: InvalidBody) { expectRefusal(body) }

    @Test("A malformed or forbidden trailer is refused at its byte", arguments: invalidTrailers)
    func trailers(_ body: InvalidBody) { expectRefusal(body) }

    private func expectRefusal(_ body: InvalidBody) {
        let wire = Array(body.wire.utf8)
        #expect(decodeBodyInEveryWay(wire)?.error == body.error)
        let before = decodeBody(Array(wire.dropLast()))
        #expect(before.error == nil && before.end == nil)
        #expect(decodeBodyInEveryWay(wire + Array("\r\n0\r\n\r\n".utf8))?.error == body.error)
    }

    @Test("The largest size is accepted and counted down")
    func largestSize() throws {
        var decoder = HTTPChunkDecoder()
        let block = ByteBlock("7fffffffffffffff\r\nabc")
        #expect(try decoder.next(block.bytes, from: 0) == .data(ByteRange(18, 21), next: 21))
        #expect(decoder.remaining == UInt64(Int.max) - 3)
        #expect(try decoder.next(block.bytes, from: 21) == .needsMoreBytes(next: 21))
        #expect(!decoder.isAtEnd)
    }

    @Test("Data is handed out where it lies, in as many parts as it came in")
    func dataRanges() throws {
        var decoder = HTTPChunkDecoder()
        let first = ByteBlock("xx6\r\nabc")
        #expect(try decoder.next(first.bytes, from: 2) == .data(ByteRange(5, 8), next: 8))
        let second = ByteBlock("def\r\n0\r\n\r\nyy")
        #expect(try decoder.next(second.bytes, from: 0) == .data(ByteRange(0, 3), next: 3))
        #expect(try decoder.next(second.bytes, from: 3) == .end(next: 10))
        #expect(decoder.isAtEnd)
    }

    @Test("A size line is bounded, each chunk's own")
    func sizeLineLimit() {
        func line(_ bytes: Int) -> [UInt8] {
            Array("1;\(String(repeating: "a", count: bytes - 4))\r\n".utf8)
        }
        let fitting = line(HTTPChunkDecoder.chunkLineBytesMax)
        let body = fitting + Array("x\r\n".utf8) + fitting + Array("y\r\n0\r\n\r\n".utf8)
        #expect(decodeBody(body) == BodyReport(data: Array("xy".utf8), end: body.count))
        let long = line(HTTPChunkDecoder.chunkLineBytesMax + 1)
        #expect(decodeBodyInEveryWay(long) == BodyReport(error: .chunkLineTooLong))
        #expect(decodeBody(Array(long.dropLast())) == BodyReport())
    }

    @Test("The trailer section is bounded as a whole")
    func trailerLimit() {
        let line = Array("X: \(String(repeating: "y", count: 123))\r\n".utf8)
        #expect(line.count == 128)
        var body = Array("0\r\n".utf8)
        for _ in 0..<63 { body += line }
        let last = Array("X: \(String(repeating: "y", count: 121))\r\n\r\n".utf8)
        #expect(decodeBody(body + last).end == body.count + 128)
        let long = body + line + [0x0D]
        #expect(decodeBody(Array(long.dropLast())) == BodyReport())
        #expect(decodeBody(long).error == .trailersTooLarge)
        #expect(decodeBody(long, cuts: Array(0..<long.count)).error == .trailersTooLarge)
    }

    @Test("There are far more refused bodies than accepted ones")
    func corpusSize() {
        let refused =
            invalidSizes.count + invalidData.count + invalidExtensions.count + invalidTrailers.count
        #expect(refused >= 5 * validBodies.count)
    }

    @Test("Random bytes never trap and come out the same in any pieces")
    func randomBodies() {
        var random = SeededRandom(seed: 0x6368_756E_6B)
        let pieces = [
            "0", "1", "3", "a", "\r\n", "\r", "\n", ";", "=", "\"", "\\", " ", ":", "X", "\0",
            "abc",
        ]
        var refused = 0
        for round in 0..<2000 {
            var wire: [UInt8] = []
            if round % 2 == 0 {
                wire = Array(validBodies[round / 2 % validBodies.count].wire.utf8)
                let at = Int.random(in: 0..<wire.count, using: &random)
                wire[at] = UInt8.random(in: 0...255, using: &random)
            } else {
                for _ in 0..<Int.random(in: 1...24, using: &random) {
                    wire += pieces.randomElement(using: &random)!.utf8
                }
            }
            let whole = decodeBody(wire)
            if whole.error != nil { refused += 1 }
            let cuts = (0..<3).map { _ in Int.random(in: 0...wire.count, using: &random) }.sorted()
            #expect(decodeBody(wire, cuts: cuts) == whole, "round \(round): \(visible(wire))")
            #expect(decodeBody(wire, cuts: Array(0..<wire.count)) == whole, "round \(round)")
        }
        #expect(refused > 700)
    }
}

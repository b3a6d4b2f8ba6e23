import Bytes
import Testing
import Wire

@testable import Ingest

/// What a request came to, copied out, so that the same bytes in other pieces compare.
private struct Report: Equatable {
    var path = ""
    var body: String?
    var isDecoded = false
    var consumedBytes = 0
    var fault: RequestFault?
    /// How often the head was announced before the request was complete or refused.
    var announcements = 0
}

private let host = "Host: a\r\n"
private func get(_ fields: String = "") -> String { "GET /a HTTP/1.1\r\n\(host)\(fields)\r\n" }
private func post(_ fields: String, _ body: String) -> String {
    "POST /p HTTP/1.1\r\n\(host)\(fields)\r\n\(body)"
}

/// Feeds growing prefixes of `input` that end at `cuts` and at its end, each in its own memory.
private func assemble(
    _ input: String, cuts: [Int] = [], bodyBytesMax: Int = 1000,
    _ assembler: RequestAssembler = RequestAssembler()
) -> Report {
    let bytes = Array(input.utf8)
    var report = Report()
    do throws(RequestFault) {
        for cut in cuts + [bytes.count] {
            let block = ByteBlock(Array(bytes[..<cut]))
            prefix: while true {
                switch try assembler.next(block.bytes, bodyBytesMax: bodyBytesMax) {
                case .needsMoreBytes: break prefix
                case .headComplete: report.announcements += 1
                case .complete(let body, let consumed):
                    report.path = block.bytes.part(assembler.head.path).string()
                    report.consumedBytes = consumed
                    switch body {
                    case .inPlace(let range): report.body = block.bytes.part(range).string()
                    case .decoded:
                        report.body = assembler.body.string()
                        report.isDecoded = true
                    }
                    return report
                }
            }
        }
    } catch {
        report.fault = error
    }
    return report
}

/// Whole, at every split point, at every pair of some, and byte by byte. The number of
/// announcements may differ; everything else may not.
private func assembleInEveryWay(_ input: String, bodyBytesMax: Int = 1000) -> Report? {
    let whole = assemble(input, bodyBytesMax: bodyBytesMax)
    let count = input.utf8.count
    var ways = (0...count).map { [$0] }
    ways += stride(from: 0, to: count, by: 7).flatMap { a in
        stride(from: a, to: count, by: 11).map { [a, $0] }
    }
    ways.append(Array(0..<count))
    for cuts in ways {
        var other = assemble(input, cuts: cuts, bodyBytesMax: bodyBytesMax)
        if other.announcements > 1 { return nil }
        other.announcements = whole.announcements
        if other != whole { return nil }
    }
    return whole
}

@Suite struct RequestAssemblerTests {
    @Test(arguments: [
        get(), get("Content-Length: 0\r\n"), post("Content-Length: 0\r\n", ""),
        post("Content-Length: 0\r\nExpect: 100-continue\r\n", ""),
    ])
    func `A request without a body is complete with its head`(_ input: String) {
        let report = assembleInEveryWay(input)
        #expect(report?.body == "")
        #expect(report?.consumedBytes == input.utf8.count)
        #expect(report?.announcements == 0, "there is nothing to announce")
    }

    @Test func `A body with a length stays in the caller's bytes`() {
        let report = assembleInEveryWay(post("Content-Length: 11\r\n", "hello world"))
        #expect(report?.body == "hello world")
        #expect(report?.isDecoded == false)
        #expect(report?.path == "/p")
    }

    @Test func `A request that is there as a whole is complete at once`() {
        #expect(assemble(post("Content-Length: 3\r\n", "abc")).announcements == 0)
    }

    @Test func `A body that is still to come is announced once`() {
        let input = post("Content-Length: 3\r\n", "abc")
        let head = input.utf8.count - 3
        #expect(assemble(input, cuts: [head]).announcements == 1)
        #expect(assemble(input, cuts: [head + 1]).announcements == 1)
        #expect(assemble(input, cuts: Array(0..<input.utf8.count)).announcements == 1)
    }

    @Test func `An expected 100 is announced even when the body is there`() {
        let report = assembleInEveryWay(
            post("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc"))
        #expect(report?.announcements == 1)
        #expect(report?.body == "abc")
    }

    @Test(arguments: [
        ("0\r\n\r\n", ""), ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nA: b\r\n\r\n", "hello world"),
        ("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n000\r\n\r\n", "abc"),
        ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    ])
    func `A chunked body is decoded`(_ wire: String, _ body: String) {
        let input = post("Transfer-Encoding: chunked\r\n", wire)
        let report = assembleInEveryWay(input)
        #expect(report?.body == body)
        #expect(report?.isDecoded == true)
        #expect(report?.consumedBytes == input.utf8.count)
    }

    @Test(arguments: [
        get(), post("Content-Length: 4\r\n", "body"),
        post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"),
        post("Content-Length: 4\r\nExpect: 100-continue\r\n", "body"),
    ])
    func `The next request starts where the one before ends, and one assembler reads them all`(
        _ first: String
    ) {
        let assembler = RequestAssembler()
        let requests = [
            first, post("Transfer-Encoding: chunked\r\n", "2\r\nxy\r\n0\r\n\r\n"), first, get(),
        ]
        var rest = requests.joined()
        var bodies: [String?] = []
        for request in requests {
            let report = assemble(rest, assembler)
            #expect(report.consumedBytes == request.utf8.count)
            bodies.append(report.body)
            assembler.reset()
            #expect(!assembler.isInBody && assembler.body.count == 0)
            rest = String(decoding: rest.utf8.dropFirst(report.consumedBytes), as: UTF8.self)
        }
        #expect(rest.isEmpty)
        #expect(bodies == [assemble(first).body, "xy", assemble(first).body, ""])
    }

    @Test func `A reset in the middle of a body forgets it`() {
        let assembler = RequestAssembler()
        let half = post("Transfer-Encoding: chunked\r\n", "5\r\nhel")
        #expect(assemble(half, assembler).body == nil)
        #expect(assembler.isInBody)
        assembler.reset()
        let whole = post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n")
        #expect(assemble(whole, assembler).body == "ab")
    }

    @Test func `No bytes are no request`() {
        #expect(assemble("") == Report())
        #expect(!RequestAssembler().isInBody)
    }
}

@Suite struct RequestFaultTests {
    @Test
    func `A length above the limit is announced, so that the caller may stream, and then refused`()
    {
        for body in ["", "x", String(repeating: "x", count: 11)] {
            let report = assemble(post("Content-Length: 11\r\n", body), bodyBytesMax: 10)
            #expect(report.fault == .bodyTooLarge)
            #expect(report.announcements == 1)
        }
        #expect(
            assemble(post("Content-Length: 10\r\n", "0123456789"), bodyBytesMax: 10).fault == nil)
    }

    @Test(arguments: ["9223372036854775807", "4294967296", "1001"])
    func `A length of any size is refused without arithmetic going wrong`(_ length: String) {
        let report = assembleInEveryWay(post("Content-Length: \(length)\r\n", "x"))
        #expect(report?.fault == .bodyTooLarge)
    }

    @Test func `A chunked body is refused as soon as it is larger than the limit`() {
        let fits = post("Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")
        #expect(assembleInEveryWay(fits, bodyBytesMax: 10)?.body == "0123456789")
        let tooLarge = post("Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n6\r\n567890")
        #expect(assembleInEveryWay(tooLarge, bodyBytesMax: 10)?.fault == .bodyTooLarge)
        let oneChunk = post("Transfer-Encoding: chunked\r\n", "ffff\r\n01234567890")
        #expect(assembleInEveryWay(oneChunk, bodyBytesMax: 10)?.fault == .bodyTooLarge)
    }

    @Test func `Chunks of one byte cannot hold many times the body's limit`() {
        let chunk = "1;" + String(repeating: "x", count: 200) + "\r\na\r\n"
        let body = String(repeating: chunk, count: 600)
        let input = post("Transfer-Encoding: chunked\r\n", body)
        #expect(assemble(input, bodyBytesMax: 10_000).fault == .bodyTooLarge)
        #expect(assemble(input, bodyBytesMax: 60_000).fault == nil)
    }

    @Test(arguments: [
        ("GET /a HTTP/1.1\r\n\r\n", HTTPError.missingHost),
        ("GET /a HTTP/1.1\n", .bareLineFeed),
        ("GET /a HTTP/2.0\r\n", .unsupportedVersion),
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", ""), .conflictingLength),
        (post("Content-Length: x\r\n", ""), .badContentLength),
        (post("Content-Length: 3\r\nContent-Length: 3\r\n", ""), .duplicateContentLength),
        (post("Transfer-Encoding: chunked\r\n", "x\r\n"), .badChunkSize),
        (post("Transfer-Encoding: chunked\r\n", "1\r\nab"), .badChunk),
        (post("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 1\r\n"), .forbiddenTrailer),
        (post("Transfer-Encoding: gzip, chunked\r\n", ""), .unsupportedTransferCoding),
        (get("Expect: x\r\n"), .expectationFailed),
    ])
    func `A malformed request is refused for its reason at every split`(
        _ input: String, _ error: HTTPError
    ) {
        #expect(assembleInEveryWay(input)?.fault == .http(error))
    }
}

@Suite struct BodyStreamTests {
    /// The streamed body of `input`, fed in pieces whose sizes repeat; nil when it does not end.
    private func stream(
        _ input: String, pieceBytes: Int
    ) throws(RequestFault) -> (body: String, next: Int)? {
        let bytes = Array(input.utf8)
        let assembler = RequestAssembler()
        let whole = ByteBlock(bytes)
        guard try assembler.next(whole.bytes, bodyBytesMax: 0) == .headComplete else { return nil }
        assembler.streamBody()
        #expect(assembler.isInBody)
        var body: [UInt8] = []
        var start = assembler.headBytes
        while start < bytes.count {
            // Only this piece is there; what came before has been dropped by the caller.
            let end = min(bytes.count, start + pieceBytes)
            let piece = ByteBlock(Array(bytes[start..<end]))
            var offset = 0
            steps: while true {
                switch try assembler.nextOfStream(piece.bytes, from: offset) {
                case .data(let range, let next):
                    #expect(!range.isEmpty)
                    body += piece.bytes.part(range).array()
                    offset = next
                case .needsMoreBytes(let next):
                    #expect(next == piece.count)
                    break steps
                case .end(let next): return (String(decoding: body, as: UTF8.self), start + next)
                }
            }
            start = end
        }
        return nil
    }

    @Test(arguments: [1, 2, 3, 5, 7, 100_000])
    func `A body above the limit is streamed piece by piece to its exact end`(
        _ pieceBytes: Int
    ) throws {
        let text = String(repeating: "0123456789", count: 30)
        let next = "GET /next"
        for wire in [
            post("Content-Length: 300\r\n", text),
            post(
                "Transfer-Encoding: chunked\r\n",
                "c8\r\n\(text.prefix(200))\r\n64\r\n\(text.suffix(100))\r\n0\r\n\r\n"),
        ] {
            let found = try stream(wire + next, pieceBytes: pieceBytes)
            #expect(found?.body == text)
            #expect(found?.next == wire.utf8.count, "the next request's bytes are not taken")
        }
    }

    @Test func `A stream that is cut off does not end`() throws {
        #expect(try stream(post("Content-Length: 5\r\n", "abcd"), pieceBytes: 2) == nil)
        #expect(
            try stream(post("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n"), pieceBytes: 2)
                == nil)
    }

    @Test func `A malformed chunk ends the stream with its reason`() {
        #expect(throws: RequestFault.http(.badChunkSize)) {
            try stream(post("Transfer-Encoding: chunked\r\n", "1\r\na\r\nzz\r\n"), pieceBytes: 3)
        }
    }
}

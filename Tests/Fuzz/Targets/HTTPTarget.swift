// Requests: `Wire/HTTP` and `Ingest/RequestAssembler`. However the bytes are cut, what is read of
// them, and what is refused, is the same; and a body that is taken as a stream is the body that is
// gathered.

import Bytes
import Ingest
import Wire

/// One request, copied out.
private struct Seen: Equatable {
    var method = HTTPMethod.get
    var minorVersion: UInt8 = 0
    var path: [UInt8] = []
    var query: [UInt8] = []
    var authority: [UInt8]?
    var framing = HTTPFraming.none
    var keepsAlive = false
    var expectsContinue = false
    var upgrades = false
    var fields: [[UInt8]] = []
    var body: [UInt8] = []
    var consumed = 0
}

private struct Report: Equatable {
    var requests: [Seen] = []
    var fault: RequestFault?
    /// Bytes behind the last whole request.
    var left = 0
}

func fuzzHTTP(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let bodyBytesMax = [0, 16, 300, 65_536][input.choice(of: 4)]
    let cuts = input.cuts()
    let stream = input.rest()
    let whole = report(stream, [], bodyBytesMax)
    expectEqual(report(stream, cuts, bodyBytesMax), whole, "cuts change what a request is")
    expectEqual(
        report(stream, Array(0..<min(stream.count, 400)), bodyBytesMax), whole,
        "single bytes change what a request is")
    for request in whole.requests {
        expect(request.body.count <= bodyBytesMax, "a body is larger than it may be")
        readQuery(request.query)
    }
    // Refused by its length alone, a body cannot be compared.
    if whole.fault != .bodyTooLarge { expectSameStream(stream, cuts, whole) }
}

/// As a connection does it: growing bytes from the first of the request at hand.
private func report(_ stream: [UInt8], _ cuts: [Int], _ bodyBytesMax: Int) -> Report {
    var report = Report()
    let assembler = RequestAssembler()
    var start = 0
    var end = 0
    for piece in stream.pieces(cuts) {
        end += piece.count
        piece: while start < end {
            let block = ByteBlock(Array(stream[start..<end]))
            do throws(RequestFault) {
                switch try assembler.next(block.bytes, bodyBytesMax: bodyBytesMax) {
                case .needsMoreBytes: break piece
                case .headComplete:
                    expect(assembler.isInBody, "a head was announced and no body follows")
                case .complete(let body, let consumed):
                    expect(consumed <= end - start, "more was used than there was")
                    var seen = seen(assembler, block.bytes)
                    switch body {
                    case .inPlace(let range): seen.body = block.bytes.part(range).array()
                    case .decoded: seen.body = assembler.body.bytes.array()
                    }
                    seen.consumed = consumed
                    report.requests.append(seen)
                    start += consumed
                    assembler.reset()
                }
            } catch {
                report.fault = error
                return report
            }
        }
    }
    report.left = end - start
    return report
}

private func seen(_ assembler: RequestAssembler, _ bytes: RawSpan) -> Seen {
    var seen = Seen()
    seen.method = assembler.head.method
    seen.minorVersion = assembler.head.minorVersion
    seen.path = bytes.part(assembler.head.path).array()
    seen.query = bytes.part(assembler.head.query).array()
    seen.authority = assembler.head.authority.map { bytes.part($0).array() }
    seen.framing = assembler.head.framing
    seen.keepsAlive = assembler.head.keepAlive
    seen.expectsContinue = assembler.head.expectContinue
    seen.upgrades = assembler.head.upgradeToWebSocket
    for index in 0..<assembler.head.fieldCount {
        let field = assembler.head.field(at: index)
        seen.fields.append(bytes.part(field.name).array())
        seen.fields.append(bytes.part(field.value).array())
        expect(
            !seen.fields[2 * index + 1].contains { $0 == 0 || $0 == 0x0A || $0 == 0x0D },
            "a field's value holds the end of a line")
    }
    for header in KnownHeader.allCases {
        guard let range = assembler.head.value(header) else { continue }
        var scanner = HTTPListScanner(range)
        while let item = try? scanner.next(bytes) {
            expect(item.name.count <= range.count, "a list's item is longer than the list")
        }
    }
    return seen
}

/// The first request's body as a stream, piece by piece.
private func expectSameStream(_ stream: [UInt8], _ cuts: [Int], _ whole: Report) {
    guard let request = whole.requests.first, !request.body.isEmpty else { return }
    let head = RequestAssembler()
    let block = ByteBlock(stream)
    var outcome = try? head.next(block.bytes, bodyBytesMax: 0)
    if outcome != .headComplete { outcome = try? head.next(block.bytes, bodyBytesMax: 0) }
    guard outcome == .headComplete else {
        preconditionFailure("a body that is not taken is not announced")
    }
    head.streamBody()
    let end = request.consumed
    var body: [UInt8] = []
    var kept: [UInt8] = []
    var hasEnded = false
    for piece in Array(stream[head.headBytes..<end]).pieces(cuts) where !hasEnded {
        kept += piece
        let bytes = ByteBlock(kept)
        var offset = 0
        piece: while true {
            guard let step = try? head.nextOfStream(bytes.bytes, from: offset) else {
                preconditionFailure("a stream is refused that was accepted as a whole")
            }
            switch step {
            case .data(let range, let next):
                body += bytes.bytes.part(range).array()
                offset = next
            case .needsMoreBytes(let next):
                offset = next
                break piece
            case .end(let next):
                offset = next
                hasEnded = true
                break piece
            }
        }
        kept.removeFirst(offset)
    }
    expectEqual(body, request.body, "a body as a stream is another body")
    expect(hasEnded, "a stream does not end with its request")
    expect(kept.isEmpty, "a stream ends before its request")
}

private func readQuery(_ query: [UInt8]) {
    let block = ByteBlock(query)
    let decoded = ByteWriter(capacity: 64)
    var scanner = HTTPQueryScanner(ByteRange(0, block.count))
    while let pair = scanner.next(block.bytes) {
        decoded.removeAll()
        if percentDecode(block.bytes.part(pair.value), into: decoded, plus: .isSpace) {
            expect(decoded.count <= pair.value.count, "decoding makes a value longer")
        }
    }
}

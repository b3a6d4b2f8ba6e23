import Bytes

@testable import Wire

/// One header line, copied out.
struct FieldCopy: Equatable {
    var name: String
    var value: String
}

/// All that a head says, copied out, so that parses of the same bytes in other pieces compare.
struct HeadCopy: Equatable {
    var headBytes = 0
    var method = HTTPMethod.get
    var minorVersion: UInt8 = 0
    var target = ""
    var path = ""
    var query = ""
    var authority: String?
    var framing = HTTPFraming.none
    var keepAlive = false
    var expectContinue = false
    var upgradeToWebSocket = false
    var fields: [FieldCopy] = []
    var known: [String: String] = [:]

    init(_ head: borrowing HTTPRequestHead, _ bytes: RawSpan, headBytes: Int) {
        self.headBytes = headBytes
        method = head.method
        minorVersion = head.minorVersion
        target = bytes.part(head.target).string()
        path = bytes.part(head.path).string()
        query = bytes.part(head.query).string()
        authority = head.authority.map { bytes.part($0).string() }
        framing = head.framing
        keepAlive = head.keepAlive
        expectContinue = head.expectContinue
        upgradeToWebSocket = head.upgradeToWebSocket
        for index in 0..<head.fieldCount {
            let field = head.field(at: index)
            fields.append(
                FieldCopy(
                    name: bytes.part(field.name).string(), value: bytes.part(field.value).string()))
        }
        for header in KnownHeader.allCases {
            if let value = head.value(header) { known["\(header)"] = bytes.part(value).string() }
        }
    }
}

enum HeadReport: Equatable {
    case needsMoreBytes
    case complete(HeadCopy)
    case refused(HTTPError)

    var head: HeadCopy? {
        if case .complete(let head) = self { return head }
        return nil
    }
}

/// Parses growing prefixes of `input` that end at `cuts` and at its end. Each prefix is a fresh
/// copy: a parser that kept bytes of the one before would not survive it.
func parseHead(
    _ input: [UInt8], cuts: [Int] = [], limits: HTTPLimits = HTTPLimits()
) -> HeadReport {
    var parser = HTTPHeadParser(limits: limits)
    var head = HTTPRequestHead()
    do throws(HTTPError) {
        for cut in cuts + [input.count] {
            let block = ByteBlock(Array(input[..<cut]))
            let outcome = try parser.parse(block.bytes, into: &head)
            if case .complete(let headBytes) = outcome {
                return .complete(HeadCopy(head, block.bytes, headBytes: headBytes))
            }
        }
        return .needsMoreBytes
    } catch {
        return .refused(error)
    }
}

/// Whole, at every split point, and byte by byte; nil when the reports differ.
func parseHeadInEveryWay(_ input: [UInt8], limits: HTTPLimits = HTTPLimits()) -> HeadReport? {
    let whole = parseHead(input, limits: limits)
    for cut in 0...input.count where parseHead(input, cuts: [cut], limits: limits) != whole {
        return nil
    }
    let single = parseHead(input, cuts: Array(0..<input.count), limits: limits)
    return single == whole ? whole : nil
}

/// What a chunked body came to. `end` is nil while more bytes are needed.
struct BodyReport: Equatable {
    var data: [UInt8] = []
    var end: Int?
    var error: HTTPError?
}

/// Feeds `input` in the pieces that `cuts` makes, each alone in its own memory.
func decodeBody(_ input: [UInt8], cuts: [Int] = []) -> BodyReport {
    var decoder = HTTPChunkDecoder()
    var report = BodyReport()
    var start = 0
    do throws(HTTPError) {
        for cut in cuts + [input.count] {
            let block = ByteBlock(Array(input[start..<cut]))
            var offset = 0
            piece: while true {
                switch try decoder.next(block.bytes, from: offset) {
                case .data(let range, let next):
                    precondition(!range.isEmpty && Int(range.start) >= offset, "data moves forward")
                    precondition(Int(range.end) == next, "data ends where the next step starts")
                    report.data += block.bytes.part(range).array()
                    offset = next
                case .needsMoreBytes(let next):
                    precondition(next == block.count, "every byte of a piece is consumed")
                    break piece
                case .end(let next):
                    report.end = start + next
                    return report
                }
            }
            start = cut
        }
    } catch {
        report.error = error
    }
    return report
}

func decodeBodyInEveryWay(_ input: [UInt8]) -> BodyReport? {
    let whole = decodeBody(input)
    for cut in 0...input.count where decodeBody(input, cuts: [cut]) != whole { return nil }
    return decodeBody(input, cuts: Array(0..<input.count)) == whole ? whole : nil
}

/// SplitMix64: the same sequence for the same seed on every machine.
struct SeededRandom: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// A copy for a failure's message, with the invisible bytes made visible.
func visible(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix(200), as: UTF8.self).debugDescription
}

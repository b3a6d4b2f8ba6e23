// What the WebSocket tests share: frames built by hand (not by the encoder under test), a caller
// that keeps what was not parsed, the ways to cut a stream, and a seeded generator.

import Bytes
import Testing

@testable import Wire

/// What a caller sees; where the payload lay is left out, for it depends on how a stream was cut.
enum Seen: Equatable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?, String)
    case error(WebSocketError)
}

/// A frame by RFC 6455 section 5.2. `length` overrides the announced length, `form` its encoding.
func frame(
    _ opcode: UInt8, _ payload: [UInt8], fin: Bool = true, reserved: UInt8 = 0,
    mask: [UInt8]? = [0x37, 0xFA, 0x21, 0x3D], length: UInt64? = nil, form: UInt8? = nil
) -> [UInt8] {
    let announced = length ?? UInt64(payload.count)
    var bytes = [(fin ? 0x80 : 0) | reserved << 4 | opcode]
    let shortest: UInt8 = announced < 126 ? UInt8(announced) : announced < 65_536 ? 126 : 127
    let chosen = form ?? shortest
    bytes.append((mask == nil ? 0 : 0x80) | chosen)
    if chosen == 126 { bytes += [UInt8(announced >> 8 & 0xFF), UInt8(announced & 0xFF)] }
    if chosen == 127 {
        for shift in stride(from: UInt64(56), through: 0, by: -8) {
            bytes.append(UInt8(announced >> shift & 0xFF))
        }
    }
    guard let mask else { return bytes + payload }
    bytes += mask
    for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index % 4]) }
    return bytes
}

func text(_ string: String, fin: Bool = true) -> [UInt8] { frame(1, Array(string.utf8), fin: fin) }

func more(_ payload: [UInt8], fin: Bool) -> [UInt8] { frame(0, payload, fin: fin) }

func closeFrame(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
    frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + reason)
}

func hex(_ digits: String) -> [UInt8] {
    let nibbles = digits.compactMap(\.hexDigitValue)
    precondition(nibbles.count.isMultiple(of: 2), "half a byte")
    return stride(from: 0, to: nibbles.count, by: 2).map {
        UInt8(nibbles[$0] << 4 | nibbles[$0 + 1])
    }
}

/// SplitMix64: the same bytes from the same seed everywhere.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(next() & 0xFF) } }
}

/// The caller's loop, with its contract checked on the way.
struct Caller {
    var inbound: WebSocketInbound
    let pool = WebSocketAssemblyPool()
    let buffer = ReceiveBuffer(capacity: 64)
    var seen: [Seen] = []
    /// Messages that were handed on where they lay.
    var inPlaceCount = 0
    /// The most bytes that were left to the caller to keep.
    var keptBytesMax = 0
    var hasEnded = false

    init(messageBytesMax: Int = 1 << 20, deflate: DeflateParameters? = nil) {
        inbound = WebSocketInbound(messageBytesMax: messageBytesMax, deflate: deflate)
    }

    mutating func receive(_ chunk: ArraySlice<UInt8>) {
        // A local: a view of `self.buffer` would borrow all of self.
        let buffer = self.buffer
        let block = ByteBlock(Array(chunk))
        buffer.append(block.bytes)
        var at = 0
        while true {
            var bytes = buffer.bytes
            let step: WebSocketStep
            do throws(WebSocketError) {
                step = try inbound.next(&bytes, from: at, assembling: pool)
            } catch {
                seen.append(.error(error))
                hasEnded = true
                buffer.consume(buffer.count)
                return
            }
            if case .needsMoreBytes(let total) = step.event {
                let left = buffer.count - step.next
                #expect(total > left, "asked for bytes that it has")
                keptBytesMax = max(keptBytesMax, left)
                buffer.consume(step.next)
                return
            }
            if case .closed = step.event {
                #expect(hasEnded && step.next == buffer.count)
                buffer.consume(buffer.count)
                return
            }
            #expect(step.next > at, "an event out of nothing")
            record(step.event, bytes.bytes)
            at = step.next
        }
    }

    private mutating func record(_ event: WebSocketEvent, _ bytes: RawSpan) {
        switch event {
        case .message(let isText, .inPlace(let range)):
            inPlaceCount += 1
            record(isText, bytes.part(range))
        case .message(let isText, .assembled):
            let writer = inbound.takeAssembled()
            record(isText, writer.bytes)
            pool.giveBack(writer)
        case .ping(let range): seen.append(.ping(bytes.part(range).array()))
        case .pong(let range): seen.append(.pong(bytes.part(range).array()))
        case .close(let code, let reason):
            seen.append(.close(code, bytes.part(reason).string()))
            hasEnded = true
        case .needsMoreBytes, .closed: break
        }
    }

    private mutating func record(_ isText: Bool, _ payload: RawSpan) {
        seen.append(isText ? .text(payload.string()) : .binary(payload.array()))
    }
}

/// One run over `stream`, cut at `cuts`.
func run(
    _ stream: [UInt8], cuts: [Int] = [], messageBytesMax: Int = 1 << 20,
    deflate: DeflateParameters? = nil
) -> Caller {
    var caller = Caller(messageBytesMax: messageBytesMax, deflate: deflate)
    var start = 0
    for cut in cuts + [stream.count] {
        caller.receive(stream[start..<cut])
        start = cut
    }
    return caller
}

/// Runs `stream` whole, cut in two at every point (of a long stream: near its ends and every 997
/// bytes) and byte by byte, and expects the same events each time.
func expect(
    _ stream: [UInt8], _ expected: [Seen], messageBytesMax: Int = 1 << 20,
    deflate: DeflateParameters? = nil, _ place: SourceLocation = #_sourceLocation
) {
    let whole = run(stream, messageBytesMax: messageBytesMax, deflate: deflate)
    #expect(whole.seen == expected, "whole", sourceLocation: place)
    guard whole.seen == expected else { return }
    for cut in 0...stream.count
    where stream.count < 400 || cut < 40 || cut > stream.count - 40 || cut % 997 == 0 {
        let cutRun = run(stream, cuts: [cut], messageBytesMax: messageBytesMax, deflate: deflate)
        guard cutRun.seen == expected else {
            #expect(cutRun.seen == expected, "cut at \(cut)", sourceLocation: place)
            return
        }
    }
    let each = Array(stream.indices)
    let bytewise = run(stream, cuts: each, messageBytesMax: messageBytesMax, deflate: deflate)
    #expect(bytewise.seen == expected, "byte by byte", sourceLocation: place)
    #expect(bytewise.keptBytesMax <= 131, "kept \(bytewise.keptBytesMax)", sourceLocation: place)
}

/// Inflates one whole message, with a fresh inflater unless one is given.
func inflated(
    _ payload: [UInt8], by inflater: Inflater = Inflater(windowBits: 15, keepsContext: true),
    into writer: ByteWriter = ByteWriter(capacity: 16), limitBytes: Int = 1 << 20
) throws(WebSocketError) -> [UInt8] {
    writer.removeAll()
    let block = ByteBlock(payload)
    try inflater.inflate(block.bytes, into: writer, limitBytes: limitBytes, endOfMessage: true)
    return writer.bytes.array()
}

func deflated(_ message: [UInt8], by deflater: Deflater, keepContext: Bool = true) -> [UInt8] {
    let writer = ByteWriter()
    let block = ByteBlock(message)
    deflater.compress(block.bytes, into: writer, keepContext: keepContext)
    return writer.bytes.array()
}

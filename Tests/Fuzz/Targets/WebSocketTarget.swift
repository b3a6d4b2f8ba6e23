// Frames from clients: `Wire/WebSocket`. However the bytes are cut, the same events come in the
// same order, and no message is larger than the bound; and what our encoder makes of a message is
// read as that message.

import Bytes
import Wire

private enum Seen: Equatable {
    case message(isText: Bool, [UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?, [UInt8])
    case error(WebSocketError)
}

func fuzzWebSocket(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let messageBytesMax = [16, 125, 1000, 70_000][input.choice(of: 4)]
    let deflate: DeflateParameters? =
        switch input.choice(of: 3) {
        case 0: nil
        case 1: DeflateParameters()
        default: DeflateParameters(clientNoContextTakeover: true, clientMaxWindowBits: 9)
        }
    let cuts = input.cuts()
    let stream = input.rest()
    let whole = events(stream, [], messageBytesMax, deflate)
    expectEqual(events(stream, cuts, messageBytesMax, deflate), whole, "cuts change what is read")
    expectEqual(
        events(stream, Array(0..<min(stream.count, 400)), messageBytesMax, deflate), whole,
        "single bytes change what is read")
    for case .message(let isText, let payload) in whole {
        expect(payload.count <= messageBytesMax, "a message is larger than it may be")
        let block = ByteBlock(payload)
        expect(!isText || UTF8Validator.isValid(block.bytes), "a text is not UTF-8")
        let writer = ByteWriter(capacity: payload.count + 14)
        WebSocketEncoder.masked(
            isText ? .text : .binary, block.bytes, mask: 0x1234_5678, into: writer)
        expect(
            events(writer.bytes.array(), cuts, messageBytesMax, deflate)
                == [.message(isText: isText, payload)],
            "an encoded message is read as another")
    }
}

/// As a connection does it: what was not used is kept.
private func events(
    _ stream: [UInt8], _ cuts: [Int], _ messageBytesMax: Int, _ deflate: DeflateParameters?
) -> [Seen] {
    var inbound = WebSocketInbound(messageBytesMax: messageBytesMax, deflate: deflate)
    let pool = WebSocketAssemblyPool()
    let buffer = ReceiveBuffer(capacity: 64)
    var seen: [Seen] = []
    var hasEnded = false
    for piece in stream.pieces(cuts) {
        let block = ByteBlock(Array(piece))
        buffer.append(block.bytes)
        var at = 0
        piece: while true {
            var bytes = buffer.bytes
            do throws(WebSocketError) {
                let step = try inbound.next(&bytes, from: at, assembling: pool)
                switch step.event {
                case .needsMoreBytes(let total):
                    expect(total > buffer.count - step.next, "asked for bytes that it has")
                    expect(buffer.count - step.next <= 131, "left more to keep than a frame's head")
                    buffer.consume(step.next)
                    break piece
                case .closed:
                    expect(hasEnded, "closed out of nothing")
                    return seen
                case .message(let isText, .inPlace(let range)):
                    seen.append(.message(isText: isText, bytes.bytes.part(range).array()))
                case .message(let isText, .assembled):
                    let writer = inbound.takeAssembled()
                    seen.append(.message(isText: isText, writer.bytes.array()))
                    pool.giveBack(writer)
                case .ping(let range): seen.append(.ping(bytes.bytes.part(range).array()))
                case .pong(let range): seen.append(.pong(bytes.bytes.part(range).array()))
                case .close(let code, let reason):
                    seen.append(.close(code, bytes.bytes.part(reason).array()))
                    hasEnded = true
                }
                at = step.next
            } catch {
                seen.append(.error(error))
                return seen
            }
        }
    }
    return seen
}

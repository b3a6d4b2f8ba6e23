import Bytes
import ChatModel
import Testing
import Wire

private func event(_ frame: String, _ framing: EventFraming = .untilClose) -> String {
    let out = ByteWriter()
    let block = ByteBlock(frame)
    EventStreamEncoder.event(block.bytes, framing, into: out)
    return out.string()
}

/// The data of chunks one behind the other; nil when their sizes are wrong.
private func unchunked(_ text: String) -> String? {
    var rest = Substring(text)
    var data = ""
    while !rest.isEmpty {
        guard let line = rest.firstRange(of: "\r\n"),
            let size = Int(rest[..<line.lowerBound], radix: 16)
        else { return nil }
        rest = rest[line.upperBound...]
        let bytes = Array(rest.utf8.prefix(size))
        guard bytes.count == size else { return nil }
        data += String(decoding: bytes, as: UTF8.self)
        rest = Substring(String(decoding: Array(rest.utf8.dropFirst(size)), as: UTF8.self))
        guard rest.hasPrefix("\r\n") else { return nil }
        rest = rest.dropFirst(1)
    }
    return data
}

private let entry =
    #"{"type":"message","conversation_id":"conv_1","message":{"id":"msg_1","#
    + #""conversation_id":"conv_1","seq":12,"content":{"text":"a,\"seq\":99,"}}}"#

@Suite struct EventStreamEncoderTests {
    @Test func `An entry is an event with its type, its seq and the whole frame`() {
        #expect(event(entry) == "event: message\nid: 12\ndata: \(entry)\n\n")
    }

    @Test func `The seq of an entry as it is written is found, whatever the client wrote`() {
        let writer = ByteWriter()
        writer.append(#"{"type":"message","conversation_id":"conv_1","message":"#)
        let user = ByteBlock(#"u,"seq":7"#)
        let entry = Entry(
            id: Identifier(high: 1, low: 2), conversation: Identifier(high: 3, low: 4), seq: 4711,
            kind: .message, isInbound: true, senderType: .user, senderID: user, channel: .web,
            content: ByteBlock(#"{"type":"text","text":"x","seq":8}"#),
            createdAtMilliseconds: 5)
        _ = entry.write(into: writer)
        writer.append("}")
        #expect(event(writer.string()).hasPrefix("event: message\nid: 4711\ndata: {"))
    }

    @Test(arguments: [
        #"{"type":"run","conversation_id":"c","run_id":"r","state":"delta","seq":3}"#,
        #"{"type":"typing","conversation_id":"c","state":"start"}"#,
        #"{"type":"gap","conversation_id":"c","from":1,"to":9}"#,
    ])
    func `What is no entry has no id`(_ frame: String) {
        let type = frame.split(separator: "\"")[3]
        #expect(event(frame) == "event: \(type)\ndata: \(frame)\n\n")
    }

    @Test(arguments: [
        ("{\n}", ["{", "}"]), ("{\r\n}", ["{", "}"]), ("{\r}", ["{", "}"]),
        ("{\n\n}", ["{", "", "}"]), ("{}\n", ["{}", ""]), ("{\r\r\n}", ["{", "", "}"]), ("", [""]),
    ])
    func `A line break cannot end an event`(_ frame: String, _ lines: [String]) {
        let wanted = lines.map { "data: \($0)\n" }.joined() + "\n"
        #expect(event(frame) == wanted)
        #expect(unchunked(event(frame, .chunked)) == wanted)
    }

    @Test func `A chunk holds one whole event, whatever its size`() {
        for count in [0, 1, 5, 100, 200, 240, 4000, 65_000] {
            let frame = #"{"type":"run","text":""# + String(repeating: "é", count: count) + "\"}"
            #expect(unchunked(event(frame, .chunked)) == event(frame))
        }
    }

    @Test func `The size of a chunk has no leading zero`() {
        for count in 0..<600 {
            let text = event(
                #"{"type":"run","text":""# + String(repeating: "x", count: count), .chunked)
            #expect(!text.hasPrefix("0"))
        }
    }

    @Test(arguments: [EventFraming.chunked, .untilClose])
    func `Comments and the retry time are events of their own`(_ framing: EventFraming) {
        let out = ByteWriter()
        EventStreamEncoder.comment("heartbeat", framing, into: out)
        for milliseconds in [0, 9, 10, 2500, 99_999] as [UInt64] {
            EventStreamEncoder.retry(milliseconds: milliseconds, framing, into: out)
        }
        let text = framing == .chunked ? unchunked(out.string()) : out.string()
        #expect(
            text == ": heartbeat\n\nretry: 0\n\nretry: 9\n\nretry: 10\n\nretry: 2500\n\n"
                + "retry: 99999\n\n")
    }

    @Test func `Only a chunked body says where it ends`() {
        let out = ByteWriter()
        EventStreamEncoder.end(.untilClose, into: out)
        #expect(out.string() == "")
        EventStreamEncoder.end(.chunked, into: out)
        #expect(out.string() == "0\r\n\r\n")
    }
}

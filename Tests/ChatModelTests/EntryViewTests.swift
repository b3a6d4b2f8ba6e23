import Bytes
import Testing

@testable import ChatModel

private func body(
    content: String = #"{"type":"text","text":"hi"}"#, metadata: String? = #"{"a":1}"#,
    sender: String = "ann"
) -> ByteBlock {
    let writer = ByteWriter()
    Entry(
        id: Identifier(high: 1, low: 2), conversation: Identifier(high: 3, low: 4), seq: 5,
        kind: .message, isInbound: true, senderType: .user, senderID: ByteBlock(sender),
        channel: .web, content: ByteBlock(content), replyTo: Identifier(high: 6, low: 7),
        clientMessageID: ByteBlock("c\"1"), metadata: metadata.map { ByteBlock($0) },
        createdAtMilliseconds: 1_700_000_000_000
    ).write(into: writer)
    return writer.block()
}

private func edited(_ body: ByteBlock, _ content: String) -> String? {
    let writer = ByteWriter()
    let content = ByteBlock(content)
    let isWritten = EntryView.write(
        body.bytes, editedTo: content.bytes, atMilliseconds: 1_700_000_001_000, into: writer)
    return isWritten ? writer.string() : nil
}

private func redacted(_ body: ByteBlock) -> String? {
    let writer = ByteWriter()
    return EntryView.writeRedacted(body.bytes, into: writer) ? writer.string() : nil
}

/// Contents that look like the fields around them.
private let hostile = [
    #"{"type":"text","text":"hi"}"#, #"{"type":"text","text":"\"},\"metadata\":{\"x\":1"}"#,
    #"{"type":"text","text":"\\"}"#, #"{"type":"text","text":"\\\""}"#,
    #"{"type":"contact","content":{"content":"x","metadata":{}},"list":[[],{"a":[1,2]}]}"#,
    #"{"type":"text","text":"}]}]","n":-1.5e3,"b":[true,false,null]}"#,
]

@Suite struct EntryViewTests {
    @Test(arguments: hostile) func `An edit takes the content's place, whatever that is`(
        _ content: String
    ) {
        for metadata in [nil, #"{"content":"m"}"#] {
            for sender in ["ann", "\"},\"content\":{", "\\"] {
                let old = body(content: content, metadata: metadata, sender: sender)
                let new = #"{"type":"text","text":"new"}"#
                let text = body(content: new, metadata: metadata, sender: sender).bytes.string()
                let wanted = text.dropLast() + #","edited_at":"2023-11-14T22:13:21.000Z"}"#
                #expect(edited(old, new) == String(wanted))
                // And back, since the new one may look like anything too.
                let other = body(content: new, metadata: metadata, sender: sender)
                #expect(edited(other, content)?.contains(content) == true)
            }
        }
    }

    @Test(arguments: hostile) func `A deleted message keeps its envelope and nothing that was said`(
        _ content: String
    ) {
        let old = body(content: content, metadata: #"{"secret":"},\"content\":"}"#)
        let wanted = body(
            content: #"{"type":"event","name":"redacted","data":{}}"#, metadata: nil)
        #expect(redacted(old) == wanted.bytes.string())
    }

    @Test func `The sender is told by type and id`() {
        let scratch = ByteWriter()
        for name in ["ann", "\"", "a\\\"b", "},\"type\":\"agent\"", "ä😀"] {
            let text = body(sender: name)
            let found = EntryView.sender(of: text.bytes, is: ByteBlock(name), scratch)
            #expect(found?.type == .user && found?.isSubject == true)
            let other = EntryView.sender(of: text.bytes, is: ByteBlock(name + "x"), scratch)
            #expect(other?.isSubject == false)
        }
    }

    @Test func `Fields are found by name at the top alone`() {
        let block = ByteBlock(#"{"a":1,"bb":"x\"","c":{"d":[{"e":2}]},"f":true,"g":[1,2]}"#)
        let values = [
            "a": "1", "bb": #""x\"""#, "c": #"{"d":[{"e":2}]}"#, "f": "true", "g": "[1,2]",
        ]
        let places: [(String, ByteRange?)] = [
            ("a", block.bytes.place(ofField: "a")), ("bb", block.bytes.place(ofField: "bb")),
            ("c", block.bytes.place(ofField: "c")), ("f", block.bytes.place(ofField: "f")),
            ("g", block.bytes.place(ofField: "g")),
        ]
        for (name, place) in places {
            #expect(place.map { block.bytes.part($0).string() } == values[name])
        }
        let absent = [
            block.bytes.place(ofField: "d"), block.bytes.place(ofField: "e"),
            block.bytes.place(ofField: "b"), block.bytes.place(ofField: ""),
        ]
        #expect(absent.allSatisfy { $0 == nil })
    }

    @Test func `Bytes that are no whole object are refused and never left`() {
        let whole = body(content: hostile[4])
        for count in 0..<whole.count - 1 {
            let part = ByteBlock(copying: whole.bytes.extracting(0..<count))
            let absent = part.bytes.place(ofField: "nothing")
            #expect(absent == nil)
            _ = redacted(part)
            _ = edited(part, "{}")
        }
        for text in ["", "{", "{}", "[]", "x", #"{"content""#, #"{"content":"#, #"{"content":{"#] {
            #expect(redacted(ByteBlock(text)) == nil)
            #expect(edited(ByteBlock(text), "{}") == nil, "\(text)")
        }
    }

    @Test func `No damage of one byte makes the reader leave the body`() {
        let whole = body().bytes.array()
        for offset in whole.indices {
            for byte in [0, 0x22, 0x2C, 0x3A, 0x5B, 0x5C, 0x5D, 0x7B, 0x7D] as [UInt8] {
                var damaged = whole
                damaged[offset] = byte
                _ = redacted(ByteBlock(damaged))
                _ = edited(ByteBlock(damaged), "{}")
            }
        }
    }
}

// The engine that is there without any other service: deterministic, instant, useful for a demo.
// Contract section 5: greetings, help, order status, quick replies, handoff, else an echo.

import Bytes
import ChatModel

public final class BuiltinEngine: ReplyEngine {
    private let writer = ByteWriter(capacity: 1024)

    private static let greeting = reply(text: "Hello! How can I help you today?")
    private static let farewell = reply(text: "Goodbye, and have a nice day!")
    private static let thanks = reply(text: "You are welcome. Is there anything else?")
    private static let handoff = reply(
        text: "I am connecting you with a human agent. Someone will be with you shortly.",
        handsOff: true)
    private static let help = quickReplies(
        "I can greet you, look up an order, or connect you with a human. What would you like?",
        [
            ("order_status", "Where is my order?"), ("human", "Talk to a human"),
            ("hello", "Say hello"),
        ])
    private static let askOrder = reply(
        text: "I can look that up. What is your order number? For example: order 12345")
    private static let received = reply(text: "Thank you, I have received it.")

    public init() {}

    public func reply(to text: ByteBlock, contentType: ContentType) -> EngineReply? {
        switch contentType {
        case .text, .reply, .buttons, .quickReplies, .list: return answer(text)
        case .reaction, .event: return nil
        default: return Self.received
        }
    }

    private func answer(_ block: ByteBlock) -> EngineReply {
        let text = block.bytes.trimmed()
        let words = WordSet(text)
        if words.asksForHuman { return Self.handoff }
        if words.mentionsOrder {
            let digits = text.firstDigits()
            return digits.isEmpty ? Self.askOrder : orderStatus(text.part(digits))
        }
        if words.asksForHelp { return Self.help }
        if words.isShort {
            if words.greets { return Self.greeting }
            if words.thanks { return Self.thanks }
            if words.leaves { return Self.farewell }
        }
        return echo(block.bytes)
    }

    private func orderStatus(_ number: RawSpan) -> EngineReply {
        let stages: [StaticString] = [
            "is being prepared and will leave our warehouse tomorrow",
            "has been shipped and will arrive in two days",
            "is out for delivery and will arrive today", "was delivered",
        ]
        writer.removeAll()
        writer.append("Order ")
        writer.append(number)
        writer.append(" ")
        writer.append(stages[Int(number.byte(at: number.byteCount - 1) & 3)])
        writer.append(".")
        return finish(writer.block())
    }

    private func echo(_ text: RawSpan) -> EngineReply {
        writer.removeAll()
        writer.append("You said: ")
        writer.append(text)
        return finish(writer.block())
    }

    private func finish(_ text: ByteBlock) -> EngineReply {
        writer.removeAll()
        writer.append("{\"type\":\"text\",\"text\":")
        writer.append(json: text)
        writer.append(0x7D)
        return EngineReply(content: writer.block(), text: text, handsOff: false)
    }

    private static func reply(text: String, handsOff: Bool = false) -> EngineReply {
        let writer = ByteWriter(capacity: 256)
        writer.append("{\"type\":\"text\",\"text\":")
        writer.append(json: text)
        writer.append(0x7D)
        return EngineReply(content: writer.block(), text: ByteBlock(text), handsOff: handsOff)
    }

    private static func quickReplies(_ text: String, _ replies: [(String, String)]) -> EngineReply {
        let writer = ByteWriter(capacity: 512)
        writer.append("{\"type\":\"quick_replies\",\"text\":")
        writer.append(json: text)
        writer.append(",\"replies\":[")
        for (index, (id, title)) in replies.enumerated() {
            if index > 0 { writer.append(0x2C) }
            writer.append("{\"id\":")
            writer.append(json: id)
            writer.append(",\"title\":")
            writer.append(json: title)
            writer.append(0x7D)
        }
        writer.append("]}")
        return EngineReply(content: writer.block(), text: ByteBlock(text), handsOff: false)
    }
}

/// Which of the engine's words stand in a text, found in one pass, without case.
private struct WordSet {
    var asksForHuman = false
    var mentionsOrder = false
    var asksForHelp = false
    var greets = false
    var thanks = false
    var leaves = false
    private var count = 0

    /// Greetings count only in short messages: "hello" in a long story is no greeting.
    var isShort: Bool { count <= 4 }

    init(_ text: RawSpan) {
        var start = 0
        var offset = 0
        while offset <= text.byteCount {
            let isLetter = offset < text.byteCount && Self.isWordByte(text.byte(at: offset))
            if !isLetter {
                if offset > start { look(at: text.extracting(start..<offset)) }
                start = offset + 1
            }
            offset += 1
        }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        byte >= 0x80 || (byte | 0x20) &- 0x61 < 26
    }

    private mutating func look(at word: RawSpan) {
        count += 1
        guard word.byteCount <= 9 else { return }
        switch RawSpan.lowercased(word.byte(at: 0)) {
        case 0x61: if word.equalsIgnoringCase("agent") { asksForHuman = true }
        case 0x62: if word.equalsIgnoringCase("bye") { leaves = true }
        case 0x67: if word.equalsIgnoringCase("goodbye") { leaves = true }
        case 0x68:
            if word.equalsIgnoringCase("human") { asksForHuman = true }
            if word.equalsIgnoringCase("help") { asksForHelp = true }
            if word.equalsIgnoringCase("hello") || word.equalsIgnoringCase("hi")
                || word.equalsIgnoringCase("hey")
            {
                greets = true
            }
        case 0x6F: if word.equalsIgnoringCase("order") { mentionsOrder = true }
        case 0x74:
            if word.equalsIgnoringCase("thanks") || word.equalsIgnoringCase("thank") {
                thanks = true
            }
        default: break
        }
    }
}

extension RawSpan {
    /// The first run of at most 20 digits.
    fileprivate func firstDigits() -> ByteRange {
        var start = 0
        while start < byteCount, byte(at: start) &- 0x30 > 9 { start += 1 }
        var end = start
        while end < byteCount, end - start < 20, byte(at: end) &- 0x30 <= 9 { end += 1 }
        return ByteRange(start, end)
    }
}

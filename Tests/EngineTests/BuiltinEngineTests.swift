import Bytes
import ChatModel
import Testing

@testable import Engine

extension ByteBlock {
    fileprivate var string: String { bytes.string() }
}

private func reply(_ text: String, _ type: ContentType = .text) -> EngineReply? {
    BuiltinEngine().reply(to: ByteBlock(text), contentType: type)
}

private func said(_ text: String, _ type: ContentType = .text) -> String? {
    reply(text, type)?.text.string
}

private func content(_ text: String) -> String? { reply(text)?.content.string }

private let greeting = "Hello! How can I help you today?"
private let handoff = "I am connecting you with a human agent. Someone will be with you shortly."
private let askOrder = "I can look that up. What is your order number? For example: order 12345"

@Suite struct BuiltinEngineTests {
    @Test(arguments: [
        "hello", "Hello", "HELLO", "hi", "Hi!", "hey", "hey there", "  hello  ", "hello, you two!",
        "well hi there friend", "oh,hi", "hi\tthere",
    ])
    func `A short greeting is greeted`(_ text: String) {
        #expect(said(text) == greeting)
        #expect(content(text) == #"{"type":"text","text":"Hello! How can I help you today?"}"#)
        #expect(reply(text)?.handsOff == false)
    }

    @Test(arguments: [
        "hello I would like to tell you something", "hill", "this", "hihi", "helloo", "they",
        "ahi", "heyé",
    ])
    func `A greeting inside a long story or another word is none`(_ text: String) {
        #expect(said(text) != greeting)
    }

    @Test(arguments: ["thanks", "Thank you", "thanks a lot!", "THANKS"])
    func `Thanks are returned`(_ text: String) {
        #expect(said(text) == "You are welcome. Is there anything else?")
    }

    @Test(arguments: ["bye", "Goodbye", "bye bye", "ok, bye."])
    func `A farewell is returned`(_ text: String) {
        #expect(said(text) == "Goodbye, and have a nice day!")
    }

    @Test(arguments: [
        "help", "Help!", "please help me with all of these things", "can you HELP me?",
    ])
    func `Help is offered with quick replies`(_ text: String) {
        #expect(
            content(text)
                == #"{"type":"quick_replies","text":"I can greet you, look up an order, or connect "#
                + #"you with a human. What would you like?","replies":["#
                + #"{"id":"order_status","title":"Where is my order?"},"#
                + #"{"id":"human","title":"Talk to a human"},{"id":"hello","title":"Say hello"}]}"#)
        #expect(reply(text)?.handsOff == false)
    }

    @Test(arguments: ["helpful", "helping", "hel p", "selfhelp", "hélp"])
    func `A word that holds help asks for none`(_ text: String) {
        #expect(content(text)?.contains("quick_replies") == false)
    }

    @Test(arguments: [
        "Where is my order?", "order", "ORDER status", "my order is late", "order: none",
        "order ٣٤",
    ])
    func `An order without a number is asked for`(_ text: String) {
        #expect(said(text) == askOrder)
        #expect(reply(text)?.handsOff == false)
    }

    @Test func `An order's state follows from the last digit of its number, and stays the same`() {
        let stages = [
            "is being prepared and will leave our warehouse tomorrow",
            "has been shipped and will arrive in two days",
            "is out for delivery and will arrive today", "was delivered",
        ]
        for digit in 0...9 {
            let wanted = "Order 77\(digit) \(stages[digit % 4])."
            #expect(said("order 77\(digit)") == wanted)
            #expect(said("What about order #77\(digit), please?") == wanted)
            #expect(said("77\(digit) is my order number 5") == wanted, "the first number counts")
        }
    }

    @Test func `A number is cut at twenty digits`() {
        let digits = String(repeating: "1", count: 300)
        #expect(said("order \(digits)")?.hasPrefix("Order \(digits.prefix(20)) ") == true)
    }

    @Test(arguments: ["12345", "reorder 12", "orders 12", "border 5", "order12x"])
    func `A number without the word order is no order`(_ text: String) {
        let isOrder = said(text)?.hasPrefix("Order ") == true || said(text) == askOrder
        #expect(isOrder == (text == "order12x"), "digits end a word")
    }

    @Test(arguments: [
        "agent", "human", "I want to talk to a HUMAN now, not to a machine", "Agent please",
        "order 12 human", "help, agent", "hi human", "agent!",
    ])
    func `Whoever asks for an agent or a human is handed off, before anything else`(_ text: String)
    {
        #expect(said(text) == handoff)
        #expect(reply(text)?.handsOff == true)
    }

    @Test(arguments: [
        "agents", "humane", "superhuman", "humän", "reagent", "agen t", "", "humanagent",
    ])
    func `Other words hand nothing off`(_ text: String) {
        #expect(reply(text)?.handsOff == false)
    }

    @Test(arguments: [
        "tell me a joke", "naïve café", "日本語のテキスト", "👩‍👩‍👧‍👦 family", "quote \" and \\ slash",
        "line one\nline two", "{\"type\":\"text\"}", "\u{1}\u{1F}", "a\u{0}b", "%s %d </script>",
        "1",
    ])
    func `Anything else is said back exactly`(_ text: String) {
        #expect(said(text) == "You said: \(text)")
    }

    @Test func `An echo's JSON escapes what must be escaped and nothing else`() {
        #expect(
            content("say \"hé\" \\ \n\u{1} / 😀")
                == #"{"type":"text","text":"You said: say \"hé\" \\ \n\u0001 / 😀"}"#)
    }

    @Test func `An echo says just what was said, blanks and all`() {
        #expect(said("  a  b\t") == "You said:   a  b\t")
        #expect(said("") == "You said: ")
        #expect(said("   ") == "You said:    ")
    }

    @Test func `The longest text is said back in full`() {
        let text = String(repeating: "é", count: Limits.textCharactersMax)
        #expect(said(text) == "You said: \(text)")
    }

    @Test func `Pressed buttons are read like texts`() {
        for type in [ContentType.reply, .buttons, .quickReplies, .list] {
            #expect(said("Talk to a human", type) == handoff)
            #expect(said("Where is my order?", type) == askOrder)
            #expect(said("Say hello", type) == greeting)
        }
    }

    @Test(arguments: [ContentType.reaction, .event])
    func `Reactions and events get no answer`(_ type: ContentType) {
        #expect(reply("hello", type) == nil)
        #expect(reply("human", type) == nil)
    }

    @Test(arguments: [
        ContentType.image, .audio, .video, .file, .location, .contact, .carousel, .template,
    ])
    func `Anything that is no text is acknowledged`(_ type: ContentType) {
        #expect(said("", type) == "Thank you, I have received it.")
        #expect(reply("", type)?.handsOff == false)
    }

    @Test func `One engine gives the same answers in any order`() {
        let engine = BuiltinEngine()
        let texts = ["order 12345", "a rather long text to say back", "x", "order 1", "hello"]
        let first = texts.map { engine.reply(to: ByteBlock($0), contentType: .text) }
        for (text, before) in zip(texts, first).reversed() {
            let again = engine.reply(to: ByteBlock(text), contentType: .text)
            #expect(again?.text.string == before?.text.string)
            #expect(again?.content.string == before?.content.string)
        }
        #expect(first[0]?.text.string == said("order 12345"), "answers share no buffer")
    }
}

import Bytes
import ChatModel
import Testing

@testable import Search

private func expression(_ text: String) throws(SearchWords.Fault) -> String {
    let block = ByteBlock(text)
    return try SearchWords(block.bytes).expression.text
}

@Suite struct SearchWordsTests {
    @Test(arguments: [
        ("hello", "\"hello\""), ("hello world", "\"hello\" \"world\""),
        ("  hello \t world\n", "\"hello\" \"world\""), ("\"hello world\"", "\"hello world\""),
        ("a \"b c\" d", "\"a\" \"b c\" \"d\""), ("a\"b c\"d", "\"a\" \"b c\" \"d\""),
        ("\"never closed", "\"never closed\""), ("he*", "\"he*\"*"),
        ("one tw*", "\"one\" \"tw*\"*"),
        ("tw* one", "\"tw*\" \"one\""), ("\"one tw\"*", "\"one tw\"*"), ("h*", "\"h*\""),
        ("he* ", "\"he*\"*"), ("he**", "\"he**\"*"), ("\u{fc}*", "\"\u{fc}*\"*"),
        ("NEAR(a b)", "\"NEAR(a\" \"b)\""), ("a AND NOT b", "\"a\" \"AND\" \"NOT\" \"b\""),
        ("text:a", "\"text:a\""), ("owner : t0", "\"owner\" \"t0\""), ("a+b", "\"a+b\""),
        ("^a", "\"^a\""), ("{a}:b", "\"{a}:b\""), ("a OR", "\"a\" \"OR\""),
        ("a\u{0}b", "\"a\" \"b\""),
        ("\"a\u{0}b\u{1f}c\"", "\"a b c\""), ("O'Neill; DROP", "\"O'Neill;\" \"DROP\""),
        ("", ""), (" ", ""), ("\"", ""), ("\"\"", ""), ("***", ""), ("* a", "\"a\""),
        ("-- () ::", ""),
        ("\"\" a", "\"a\""), ("\u{1F600}", "\"\u{1F600}\""), ("12345", "\"12345\""),
    ])
    func `A text becomes strings in quotes, and nothing else`(_ text: String, _ wanted: String) {
        if text.isEmpty {
            #expect(throws: SearchWords.Fault.length) { try expression(text) }
        } else {
            #expect((try? expression(text)) == wanted)
        }
    }

    @Test func `Bytes and words are bounded`() throws {
        #expect(try expression(String(repeating: "x", count: 256)).count == 258)
        #expect(throws: SearchWords.Fault.length) {
            try expression(String(repeating: "x", count: 257))
        }
        let words = repeatElement("a", count: 16).joined(separator: " ")
        #expect(try expression(words).count == 16 * 4 - 1)
        #expect(throws: SearchWords.Fault.tooManyWords) { try expression(words + " b") }
        #expect(throws: SearchWords.Fault.tooManyWords) { try expression("\"\(words) b\"") }
        // Signs part words as spaces do.
        let parted = repeatElement("a", count: 17).joined(separator: "-")
        #expect(throws: SearchWords.Fault.tooManyWords) { try expression(parted) }
    }

    @Test func `Whatever is typed, SQLite understands the expression`() throws {
        let desk = try SearchDesk()
        let signs = Array("ab\"*'()^:{}+-, \u{0}\u{1}\u{7f}\u{e9}\u{1F600}NEAROTD")
        var random = Random(seed: 41)
        for _ in 0..<2000 {
            let count = Int(random.next() % 24) + 1
            let text = String(
                (0..<count).map { _ in signs[Int(random.next() % UInt64(signs.count))] })
            guard let made = try? expression(text) else { continue }
            #expect(desk.isUnderstood(made), "\(text.debugDescription) -> \(made)")
        }
    }
}

@Suite struct SearchTextTests {
    private func text(_ content: String, rest: String = "") -> String? {
        let body = ByteBlock(
            "{\"id\":\"msg_1\",\"kind\":\"message\",\"content\":\(content)\(rest)}")
        guard let found = SearchText().text(of: body) else { return nil }
        return found.text
    }

    @Test(arguments: [
        (#"{"type":"text","text":"Hi \"there\" \u00fc"}"#, "Hi \"there\" \u{fc}"),
        (
            #"{"type":"image","url":"https://x/secret.png","mime_type":"image/png","caption":"A cat"}"#,
            "A cat"
        ),
        (
            #"{"type":"file","media_id":"m-1","mime_type":"a/b","filename":"bill.pdf","caption":"c","size":3}"#,
            "bill.pdf\nc"
        ),
        (
            #"{"type":"location","latitude":1,"longitude":2,"name":"Home","address":"Street 1"}"#,
            "Home\nStreet 1"
        ),
        (
            #"{"type":"contact","name":{"first":"Ann"},"phones":[{"number":"+49 1"}],"x":7}"#,
            "Ann\n+49 1"
        ),
        (
            #"{"type":"buttons","text":"Pick","buttons":[{"id":"b-1","title":"Yes","url":"https://u"}]}"#,
            "Pick\nYes"
        ),
        (#"{"type":"quick_replies","text":"T","replies":[{"id":"r","title":"No"}]}"#, "T\nNo"),
        (
            #"{"type":"list","text":"L","button":"Open","sections":[{"title":"S","rows":[{"id":"i","title":"R","description":"D"}]}]}"#,
            "L\nOpen\nS\nR\nD"
        ),
        (
            #"{"type":"carousel","cards":[{"title":"C","subtitle":"Sub","image_url":"https://i","buttons":[{"id":"q","title":"B"}]}]}"#,
            "C\nSub\nB"
        ),
        (
            #"{"type":"template","name":"tpl","locale":"de","variables":{"who":"Bob","n":5,"l":["x"]}}"#,
            "Bob\nx"
        ),
        (#"{"type":"reply","id":"i","title":"Pressed"}"#, "Pressed"),
        (#"{"type":"reaction","message_id":"msg_x","emoji":"+1"}"#, ""),
        (#"{"type":"event","name":"handler","data":{"text":"no"}}"#, ""),
        (#"{"type":"text","text":7}"#, ""), (#"{"type":"unheard_of","text":"x"}"#, ""),
        (#"{"text":"x"}"#, ""), (#"[]"#, ""), (#""x""#, ""), ("null", ""),
    ])
    func `What people read is text, and nothing else`(_ content: String, _ wanted: String) {
        #expect(text(content) == wanted)
    }

    @Test func `Metadata and what surrounds the content are not searched`() {
        let content = #"{"type":"text","text":"in"}"#
        #expect(text(content, rest: #","metadata":{"text":"out"},"sender":{"id":"out"}"#) == "in")
    }

    @Test func `A document that is no JSON has no text, and one that is too long none to be had`() {
        #expect(SearchText().text(of: ByteBlock("{"))?.count == 0)
        #expect(SearchText().text(of: ByteBlock(""))?.count == 0)
        let long = String(repeating: "x", count: SearchText.documentBytesMax)
        #expect(text("{\"type\":\"text\",\"text\":\"\(long)\"}") == nil)
    }
}

@Suite struct SnippetTests {
    private func snippet(_ text: String, _ words: String) throws -> String {
        let typed = ByteBlock(words)
        let expression = try SearchWords(typed.bytes).expression
        return Snippet.make(of: ByteBlock(text), expression).text
    }

    @Test func `A short text is shown whole, on one line`() throws {
        #expect(try snippet("one\ntwo\tthree", "two") == "one two three")
        #expect(try snippet("", "two") == "")
    }

    @Test func `A long one is shown around the first word`() throws {
        let text =
            String(repeating: "before ", count: 100) + "Needle"
            + String(repeating: " after", count: 100)
        let shown = try snippet(text, "needle after")
        #expect(shown.hasPrefix("\u{2026}") && shown.hasSuffix("\u{2026}"))
        #expect(shown.contains("before Needle after"))
        #expect(shown.utf8.count <= Snippet.bytesMax + 6)
        #expect(try snippet(text, "absent").hasPrefix("before before"))
        #expect(try snippet(text, "***").hasPrefix("before before"))
    }

    @Test(arguments: 0..<8)
    func `No character is cut`(_ shift: Int) throws {
        let text =
            String(repeating: "x", count: shift) + String(repeating: "\u{1F600}\u{e9}", count: 200)
        let shown = try snippet(text, "absent")
        #expect(!shown.contains("\u{FFFD}") && shown.utf8.count <= Snippet.bytesMax + 6)
        let ending = try snippet(text + " needle", "needle")
        #expect(!ending.contains("\u{FFFD}") && ending.hasSuffix("needle"))
    }
}

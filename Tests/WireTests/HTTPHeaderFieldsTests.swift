import Bytes
import Testing

@testable import Wire

/// The elements of a list as "name=value[parameter=value,…]"; nil when one is malformed.
private func elements(_ text: String, from start: Int = 0) -> [String]? {
    let block = ByteBlock(text)
    let bytes = block.bytes
    var list = HTTPListScanner(ByteRange(start, block.count))
    var out: [String] = []
    do throws(HTTPError) {
        while let item = try list.next(bytes) {
            var text = bytes.part(item.name).string()
            if item.value != .empty { text += "=" + bytes.part(item.value).string() }
            var scanner = HTTPParameterScanner(item.parameters)
            var parameters: [String] = []
            while let parameter = try scanner.next(bytes) {
                var text = bytes.part(parameter.name).string()
                if parameter.value != .empty { text += "=" + bytes.part(parameter.value).string() }
                parameters.append(text)
            }
            if !parameters.isEmpty { text += "[" + parameters.joined(separator: ",") + "]" }
            out.append(text)
        }
    } catch {
        #expect(error == .badHeaderValue)
        return nil
    }
    return out
}

private func pairs(_ query: String) -> [String] {
    let block = ByteBlock(query)
    var scanner = HTTPQueryScanner(ByteRange(0, block.count))
    var out: [String] = []
    while let pair = scanner.next(block.bytes) {
        let name = block.bytes.part(pair.name).string()
        let value = block.bytes.part(pair.value).string()
        out.append(name + (pair.hasEqualsSign ? "=" : "") + value)
    }
    return out
}

/// What was appended behind "-"; nil for a refusal, which must append nothing.
private func decoded(_ text: [UInt8], plus: HTTPPlusSign = .isLiteral) -> [UInt8]? {
    let writer = ByteWriter(capacity: 16)
    writer.append("-")
    let isDecoded = percentDecode(ByteBlock(text).bytes, into: writer, plus: plus)
    let written = Array(writer.bytes.array().dropFirst())
    if !isDecoded {
        #expect(written.isEmpty)
        return nil
    }
    return written
}

@Suite("Header lists and query strings")
struct HTTPHeaderFieldsTests {
    @Test(
        "A list yields its elements, values and parameters",
        arguments: [
            ("", []), (" \t ", []), (",", []), (", ,,", []), ("a", ["a"]), (" a ", ["a"]),
            ("a,b", ["a", "b"]), ("a , b\t,\tc", ["a", "b", "c"]), (",a,,b,", ["a", "b"]),
            ("keep-alive, Upgrade", ["keep-alive", "Upgrade"]),
            ("respond-async, wait=20", ["respond-async", "wait=20"]),
            ("wait = 20 ; x", ["wait=20[x]"]), ("a=\"b, c\", d", ["a=b, c", "d"]),
            ("a=\"\"", ["a="]), ("a=\"\\\"\"", ["a=\\\""]), ("a;b;c=d", ["a[b,c=d]"]),
            ("a ; b = \"c;d\" , e", ["a[b=c;d]", "e"]), ("a;", ["a"]), ("a;;b", ["a[b]"]),
            ("a; , b", ["a", "b"]),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, x;y=\"z\"",
                ["permessage-deflate[client_max_window_bits,server_max_window_bits=10]", "x[y=z]"]
            ),
            ("text/html;q=0.8, */*", ["text/html[q=0.8]", "*/*"]),
            ("HTTP/2.0, websocket", ["HTTP/2.0", "websocket"]),
        ] as [(String, [String])])
    func lists(_ text: String, _ expected: [String]) {
        #expect(elements(text) == expected)
        #expect(elements("@@@" + text, from: 3) == expected)
    }

    @Test(
        "A malformed list is refused",
        arguments: [
            "a b", "a,b c", "@", "a,@", "=", "=b", "a=", "a= ,b", "a=b c", "a=b=c", "a==b", "a=\"",
            "a=\"b",
            "a=\"b\\", "a=\"b\\\"", "a=\"b\"c", "a=\"\u{1}\"", "a=\"\\\u{7F}\"", "\"a\"", "(a)",
            ";a",
            "a;=b", "a;b=", "a;b c", "a;\"b\"", "a;@", "a;b=\"", "a/", "/a", "a//b", "a/b/c",
            "a/;b",
            "a;b/c", "caf\u{E9}", "a\0", "a{", "a;b=c=d", "a\u{B},b", "[a]", "a:b", "a?", "a<b>",
        ])
    func malformedLists(_ text: String) {
        #expect(elements(text) == nil)
        #expect(elements("fine, " + text) == nil)
    }

    @Test("A list scanner stays inside its range")
    func listRange() throws {
        let block = ByteBlock("X: a, b\r\n@")
        var list = HTTPListScanner(ByteRange(3, 7))
        #expect(try list.next(block.bytes)?.name == ByteRange(3, 4))
        #expect(try list.next(block.bytes)?.name == ByteRange(6, 7))
        #expect(try list.next(block.bytes) == nil)
        #expect(try list.next(block.bytes) == nil)
    }

    @Test("Parameters that no list scanner has checked may be refused")
    func uncheckedParameters() {
        for text in ["a", ";@", ";a b", "; =", ";a=\"b"] {
            let block = ByteBlock(text)
            #expect(throws: HTTPError.badHeaderValue) {
                var scanner = HTTPParameterScanner(ByteRange(0, block.count))
                while try scanner.next(block.bytes) != nil {}
            }
        }
    }

    @Test(
        "A query yields its pairs as they were sent",
        arguments: [
            ("", []), ("&", []), ("&&&", []), ("a", ["a"]), ("a=", ["a="]), ("=", ["="]),
            ("=b", ["=b"]),
            ("a=b", ["a=b"]), ("a=b&c=d", ["a=b", "c=d"]), ("&a=b&&c&", ["a=b", "c"]),
            ("a=b=c", ["a=b=c"]), ("a==", ["a=="]), ("a%3Db=%26&c+d=e", ["a%3Db=%26", "c+d=e"]),
            ("a;b=c?d/e", ["a;b=c?d/e"]),
        ] as [(String, [String])])
    func queries(_ text: String, _ expected: [String]) { #expect(pairs(text) == expected) }

    @Test(
        "Percent-encoding is undone",
        arguments: [
            ("", ""), ("abc", "abc"), ("%41%62", "Ab"), ("a%20b", "a b"), ("a+b", "a+b"),
            ("%2b%2B", "++"), ("%25%34%31", "%41"), ("caf%C3%A9", "caf\u{E9}"),
            ("caf\u{E9}", "caf\u{E9}"),
            ("%F0%9F%98%80", "\u{1F600}"), ("%ED%9F%BF%EE%80%80", "\u{D7FF}\u{E000}"),
            ("%E0%A0%80%F4%8F%BF%BF", "\u{800}\u{10FFFF}"), ("%00", "\0"),
            (
                "a long run before one %26 and a long run behind it",
                "a long run before one & and a long run behind it"
            ),
        ] as [(String, String)])
    func decoding(_ text: String, _ expected: String) {
        #expect(decoded(Array(text.utf8)) == Array(expected.utf8))
    }

    @Test("A plus sign is a space where the caller says so")
    func plusSigns() {
        #expect(decoded(Array("+a+%2B+".utf8), plus: .isSpace) == Array(" a + ".utf8))
        #expect(decoded(Array("+a+%2B+".utf8), plus: .isLiteral) == Array("+a+++".utf8))
    }

    @Test(
        "Malformed percent-encoding and ill-formed UTF-8 are refused and append nothing",
        arguments: [
            "%", "a%", "%4", "a%4", "%%", "%%41", "%4g", "%g4", "%-1", "% 1", "%+1", "%0x41",
            "%u0041",
            "%80", "%BF", "%C0%80", "%C1%BF", "%C2", "%C2a", "%C3%28", "%E0%80%80", "%E0%9F%BF",
            "%E1%80",
            "%E1%80a", "%E1a%80", "%ED%A0%80", "%ED%BF%BF", "%F0%80%80%80", "%F0%8F%BF%BF",
            "%F1%80%80",
            "%F1%80%80a", "%F1%80a%80", "%F4%90%80%80", "%F5%80%80%80", "%FE", "%FF",
            "long enough a text%C3", "%C3%A9%A9",
        ])
    func refusedDecoding(_ text: String) {
        #expect(decoded(Array(text.utf8)) == nil)
        #expect(decoded(Array(("valid before it " + text).utf8)) == nil)
    }

    @Test("Raw ill-formed bytes are refused like encoded ones")
    func rawIllFormed() {
        #expect(decoded([0x61, 0xC3]) == nil)
        #expect(decoded([0xFF]) == nil)
        #expect(decoded([0xC3, 0x25, 0x41, 0x39]) == [0xC3, 0xA9])
    }

    @Test("UTF-8 is accepted exactly where the standard library accepts it")
    func wellFormedness() {
        var random = SeededRandom(seed: 0x5554_4638)
        let bytes: [UInt8] = [
            0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
            0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5,
        ]
        var accepted = 0
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                bytes.randomElement(using: &random)!
            }
            let isValid = String(validating: text, as: UTF8.self) != nil
            if isValid { accepted += 1 }
            #expect((decoded(text) != nil) == isValid, "\(text)")
        }
        #expect(accepted > 500)
    }

    @Test("Random lists never trap")
    func randomLists() {
        var random = SeededRandom(seed: 0x6C69_7374)
        let pieces = Array("ab=;,\"\\/ \t@".utf8)
        var refused = 0
        for _ in 0..<5_000 {
            let text = (0..<Int.random(in: 0...16, using: &random)).map { _ in
                pieces.randomElement(using: &random)!
            }
            if elements(String(decoding: text, as: UTF8.self)) == nil { refused += 1 }
            _ = pairs(String(decoding: text, as: UTF8.self))
        }
        #expect(refused > 1_000 && refused < 5_000)
    }
}

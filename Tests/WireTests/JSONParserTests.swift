import Bytes
import Testing

@testable import Wire

private let depthMax = 32
private var root: JSONNode { JSONParser.root }

private func parser(bytesMax: Int = 1 << 20, depthMax: Int = depthMax) -> JSONParser {
    JSONParser(documentBytesMax: bytesMax, depthMax: depthMax)
}

/// A parser that holds `json`; nil when it was refused.
private func parsed(_ json: [UInt8], _ parser: JSONParser = parser()) -> JSONParser? {
    let block = ByteBlock(json)
    return parser.parse(block.bytes) ? parser : nil
}

private func parsed(_ json: String) -> JSONParser? { parsed(Array(json.utf8)) }

extension JSONParser {
    fileprivate func text(_ node: JSONNode?) -> String? {
        guard let node, kind(node) == .string else { return nil }
        return string(node).string()
    }

    fileprivate func text(of name: StaticString) -> String? { text(field(Self.root, name)) }

    fileprivate func written(_ node: JSONNode = root) -> String {
        let writer = ByteWriter(capacity: 16)
        write(node, into: writer)
        return writer.string()
    }

    fileprivate var keys: [String] {
        var names: [String] = []
        var key = first(in: Self.root)
        while let current = key {
            names.append(string(current).string())
            key = nextKey(after: current)
        }
        return names
    }

    fileprivate var elements: [JSONNode] {
        var nodes: [JSONNode] = []
        var element = first(in: Self.root)
        while let current = element {
            nodes.append(current)
            element = nextElement(after: current)
        }
        return nodes
    }
}

private func nested(_ depth: Int, around inner: String = "1") -> String {
    String(repeating: "[", count: depth) + inner + String(repeating: "]", count: depth)
}

private func object(_ names: [String]) -> String {
    "{" + names.map { "\"\($0)\":0" }.joined(separator: ",") + "}"
}

private let rich = #"""
    {"a":{"b":[1,-2,3.5e-1,"x\u00e9\n\ud83d\ude00",true,false,null,[],{}]},"é":"","n":-0}
    """#

@Suite struct JSONParserTests {
    @Test(arguments: [
        ("{}", JSONKind.object), ("[]", .array), (#""""#, .string), (#""x""#, .string),
        ("0", .signed), ("-1", .signed), ("9223372036854775807", .signed),
        ("9223372036854775808", .unsigned), ("0.0", .double), ("1e2", .double), ("1E-2", .double),
        ("true", .yes), ("false", .no), ("null", .null), (" \t\r\n null \t\r\n ", .null),
    ])
    func `A document has the kind of its root`(_ json: String, _ kind: JSONKind) {
        let parser = parsed(json)
        #expect(parser?.kind(root) == kind)
        #expect(parsed("[\(json)]").flatMap { $0.elements.first.map($0.kind) } == kind)
    }

    @Test func `A field is found by its exact name, in any place`() {
        let parser = parsed(#"{"a":"1","bb":{"a":"no"},"":"empty","c":["a"],"A":"2","bbb":"3"}"#)
        #expect(parser?.text(of: "a") == "1")
        #expect(parser?.text(of: "A") == "2")
        #expect(parser?.text(of: "bbb") == "3")
        #expect(parser?.text(of: "") == "empty")
        for name: StaticString in ["b", "bbbb", "C", "a ", " a", "x", "bb\0"] {
            #expect(parser?.field(root, name) == nil, "\(name)")
        }
    }

    @Test func `A name is compared unescaped, and the first of two fields is found`() {
        let parser = parsed(#"{"\u0075ser\u005fid":"ann","user_id":"bob"}"#)
        #expect(parser?.text(of: "user_id") == "ann")
    }

    @Test(arguments: ["[]", #"["a"]"#, #""a""#, "1", "1.5", "true", "null", "{}"])
    func `What is no object, or an empty one, has no field`(_ json: String) {
        let parser = parsed(json)
        #expect(parser != nil)
        #expect(parser?.field(root, "a") == nil)
    }

    @Test func `A walk meets every key and element once, in the order of the document`() {
        #expect(parsed(rich)?.keys == ["a", "é", "n"])
        let parser = parsed(#"[1,[2,[3]],{"a":[4],"b":5},18446744073709551615,2.5,"x",null]"#)
        let kinds = parser.map { $0.elements.map($0.kind) }
        #expect(kinds == [.signed, .array, .object, .unsigned, .double, .string, .null])
    }

    @Test func `Elements are counted, those of inner containers apart`() {
        for (json, count) in [
            ("[]", 0), ("{}", 0), ("[[]]", 1), ("[1,[2,3],{\"a\":4}]", 3), ("[1.5,2.5]", 2),
            (#"{"a":[1,2,3],"b":{"c":1,"d":2},"e":18446744073709551615}"#, 3),
        ] {
            #expect(parsed(json)?.elementCount(root) == count, "\(json)")
        }
    }

    @Test func `Strings are unescaped`() {
        for (json, text) in [
            (#""""#, ""), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
            (#""\u0000""#, "\0"), (#""a\u0000b""#, "a\0b"), (#""\u00e9é""#, "éé"),
            (#""\u20AC\u20ac""#, "€€"), (#""\ud83d\ude00""#, "😀"),
            (#""\uDBFF\uDFFF""#, "\u{10FFFF}"),
            (#""\uFFFF\ud7ff\ue000""#, "\u{FFFF}\u{D7FF}\u{E000}"), ("\"\u{7F}\"", "\u{7F}"),
            (#""\\u0041""#, #"\u0041"#),
        ] {
            let parser = parsed(json)
            #expect(parser?.text(root) == text, "\(json)")
        }
    }

    @Test func `A string of any length is whole, also at the document's limit`() {
        for count in [0, 1, 15, 16, 31, 32, 33, 63, 64, 65, 127, 4094] {
            let text = String((0..<count).map { Character(UnicodeScalar(UInt8(97 + $0 % 26))) })
            let parser = parsed(Array("\"\(text)\"".utf8), parser(bytesMax: 4096))
            #expect(parser?.text(root) == text)
        }
    }

    @Test func `A document one byte above the limit is refused, and the next one is read`() {
        let parser = parser(bytesMax: 100)
        #expect(parsed(Array("\"\(String(repeating: "x", count: 98))\"".utf8), parser) != nil)
        #expect(parsed(Array("\"\(String(repeating: "x", count: 99))\"".utf8), parser) == nil)
        #expect(parsed(Array((String(repeating: " ", count: 100) + "1").utf8), parser) == nil)
        #expect(parsed(Array("[1]".utf8), parser)?.elementCount(root) == 1)
    }

    @Test func `The densest documents fit what was set aside for them`() {
        for element in [#""""#, "0", "[]", "{}", "1.5"] {
            let count = (4096 - 2) / (element.utf8.count + 1)
            let json = "[" + [String](repeating: element, count: count).joined(separator: ",") + "]"
            let parser = parsed(Array(json.utf8), parser(bytesMax: 4096))
            #expect(parser?.elementCount(root) == count)
            #expect(
                parser.map { $0.elements.map { node in parser?.written(node) } }?.count == count)
        }
        let names = [String](repeating: #""":"""#, count: 600).joined(separator: ",")
        let parser = parsed("{\(names)}")
        #expect(parser?.keys.count == 600)
        #expect(parser?.written() == "{\(names)}")
    }

    // The root's depth is 1, and the value in `[1]` has 2.
    @Test func `A value is accepted down to the bound of depth and refused below`() {
        for bound in [2, 3, 8, 32] {
            let parser = parser(bytesMax: 4096, depthMax: bound)
            for (open, close) in [
                ("[", "]"), (#"{"a":"#, "}"), (#"[0,"#, "]"), (#"{"b":0,"a":"#, "}"),
            ] {
                for inner in ["1", "1.5", #""x""#, "null", "[]", "{}"] {
                    let around = String(repeating: open, count: bound - 1)
                    let end = String(repeating: close, count: bound - 1)
                    let deep = around + inner + end
                    #expect(parsed(Array(deep.utf8), parser) != nil, "\(deep)")
                    for deeper in ["[\(deep)]", "{\"a\":\(deep)}", "[0,\(deep)]", "[\(deep),0]"] {
                        #expect(parsed(Array(deeper.utf8), parser) == nil, "\(deeper)")
                    }
                }
            }
        }
    }

    @Test func `A depth of one leaves a single value or an empty container`() {
        let parser = parser(bytesMax: 4096, depthMax: 1)
        for json in ["1", #""x""#, "null", "[]", "{}"] {
            #expect(parsed(Array(json.utf8), parser) != nil)
            #expect(parsed(Array("[\(json)]".utf8), parser) == nil)
            #expect(parsed(Array("{\"a\":\(json)}".utf8), parser) == nil)
        }
    }

    @Test func `A document that is nothing but brackets is refused, not followed`() {
        for count in [33, 100, 100_000] {
            #expect(parsed(nested(count)) == nil)
            #expect(parsed(String(repeating: "[", count: count)) == nil)
            #expect(parsed(String(repeating: #"{"a":"#, count: count)) == nil)
        }
    }

    @Test func `Width does not count as depth`() {
        let wide = "[" + [String](repeating: nested(8), count: 1000).joined(separator: ",") + "]"
        #expect(parsed(wide)?.elementCount(root) == 1000)
    }

    @Test func `What was read before is forgotten by the next parse, and by a refusal`() {
        let parser = parser()
        #expect(parsed(Array(#"{"a":"first"}"#.utf8), parser)?.text(of: "a") == "first")
        #expect(parsed(Array(#"{"a":"#.utf8), parser) == nil)
        #expect(parsed(Array(#"{"b":"second"}"#.utf8), parser)?.text(of: "b") == "second")
        #expect(parser.field(root, "a") == nil)
    }
}

@Suite struct JSONNumberTests {
    @Test func `Integers are exact to the edges of 64 bits`() {
        let cases: [(String, UInt64?, Double)] = [
            ("0", 0, 0), ("-0", 0, 0), ("1", 1, 1), ("-1", nil, -1),
            ("9007199254740993", 9_007_199_254_740_993, 9_007_199_254_740_992),
            ("9223372036854775807", 9_223_372_036_854_775_807, 0x1p63),
            ("9223372036854775808", 9_223_372_036_854_775_808, 0x1p63),
            ("18446744073709551615", .max, 0x1p64), ("-9223372036854775808", nil, -0x1p63),
        ]
        for (json, unsigned, number) in cases {
            let parser = parsed(json)
            #expect(parser?.unsigned(root) == unsigned, "\(json)")
            #expect(parser?.number(root) == number, "\(json)")
        }
    }

    @Test func `Doubles are the nearest ones, and no integers`() {
        let cases: [(String, Double)] = [
            ("0.1", 0.1), ("-1.5", -1.5), ("1.0", 1), ("1e2", 100), ("1E+2", 100), ("25e-2", 0.25),
            ("1e308", 1e308), ("-1e308", -1e308),
            ("1.7976931348623157e308", .greatestFiniteMagnitude),
            ("2.2250738585072014e-308", .leastNormalMagnitude), ("5e-324", .leastNonzeroMagnitude),
            ("1e-400", 0), ("9007199254740993.0", 9_007_199_254_740_992), ("1e22", 1e22),
            ("123456789012345678901234567890e0", 1.2345678901234568e29),
            ("0.30000000000000004", 0.1 + 0.2),
        ]
        for (json, number) in cases {
            let parser = parsed(json)
            #expect(parser?.number(root) == number, "\(json)")
            #expect(parser?.unsigned(root) == nil, "\(json)")
        }
        #expect(parsed("-0.0").map { $0.number(root)?.sign } == .minus)
    }

    @Test(arguments: ["{}", "[]", "[1]", #""1""#, #""""#, "true", "false", "null"])
    func `What is no number has no numeric value`(_ json: String) {
        let parser = parsed(json)
        #expect(parser != nil)
        #expect(parser?.number(root) == nil)
        #expect(parser?.unsigned(root) == nil)
    }

    @Test(arguments: [
        "18446744073709551616", "-9223372036854775809", "99999999999999999999",
        "100000000000000000000000000000", "-18446744073709551615", "1e309", "-1e309", "1e999999",
        "00", "01", "-01", "-", "+1", "--1", "1.", ".5", "-.5", "1.e1", "1e", "1e+", "1e-", "1e1.5",
        "1.2.3", "0x10", "1_000", "1,5", "1 2", "NaN", "nan", "Infinity", "-Infinity", "inf", "1f",
        "1e5x", "٣", "１", "1٣",
    ])
    func `A number that is none, or fits nothing, is refused`(_ json: String) {
        #expect(parsed(json) == nil)
        #expect(parsed("[\(json)]") == nil || json == "1,5")
        #expect(parsed("{\"a\":\(json)}") == nil)
    }
}

private let malformed: [String] = [
    // Nothing, or more than one value.
    "", " ", "\n\t\r ", "{}{}", "[][]", "1 1", "null null", "{} x", "[],", ",", ":", "{}]", "}",
    "]", "{]", "[}", "[1}", #"{"a":1]"#,
    // Containers.
    "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1:2]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{:1}"#,
    #"{"a":1,}"#, #"{,"a":1}"#, #"{"a":1,,"b":2}"#, #"{"a":1 "b":2}"#, #"{"a"::1}"#, #"{"a":1:2}"#,
    #"{"a",1}"#, #"{"a" 1}"#, "{a:1}", "{'a':1}", "{1:1}", "{null:1}", #"{["a"]:1}"#, #"{{}:1}"#,
    // Words.
    "True", "TRUE", "tru", "truee", "nul", "nulll", "Null", "undefined", "none", "falsey", "fals",
    "[tru]", "[nulll]", "truefalse", "x",
    // Strings.
    #"'a'"#, #"""#, #""a"#, #""a""b""#, #""\""#, #""\x41""#, #""\a""#, #""\'""#, #""\U0041""#,
    #""\u""#, #""\u1""#, #""\u12""#, #""\u123""#, #""\u123g""#, #""\u+123""#, #""\u 123""#,
    #""\0""#,
    "\"\n\"", "\"\r\"", "\"\t\"", "\"\0\"", "\"\u{1F}\"", "\"\u{1}\"", #""\"#, "\"\\\n\"",
    // Spaces and comments that JSON does not know.
    "\u{FEFF}{}", "{}\u{FEFF}", "\u{A0}1", "\u{0B}1", "\u{0C}1", "1\u{0C}", "\0", "1\0",
    "\u{2028}1",
    "// x\n1", "/* x */1", "1 // x", "# x\n1", "[1,/**/2]",
]

@Suite struct JSONInvalidTests {
    @Test(arguments: malformed)
    func `Malformed text is refused`(_ json: String) {
        #expect(parsed(json) == nil)
    }

    @Test(arguments: malformed.filter { !$0.allSatisfy(\.isWhitespace) })
    func `Malformed text is refused inside a document, too`(_ json: String) {
        // A few are whole lists of values, and a comma or bracket may complete what is around.
        let completes = ["1 1", ",", ":", "[],", "]", "[1 2]"]
        guard !completes.contains(json) else { return }
        #expect(parsed("{\"a\":\(json)}") == nil)
        #expect(parsed("\(String(repeating: " ", count: 61))[\(json),1]") == nil)
    }

    @Test func `A document that ends early is refused, wherever it ends`() {
        let bytes = Array(rich.utf8)
        #expect(parsed(bytes) != nil)
        let parser = parser()
        for count in 0..<bytes.count {
            #expect(parsed(Array(bytes.prefix(count)), parser) == nil, "\(count)")
        }
        #expect(parsed(bytes, parser) != nil)
    }

    @Test func `A document that begins late is refused, unless it is one by chance`() {
        let bytes = Array(#"{"a":[{"b":"cd\n"},[null,true]],"e":{"f":{}}}"#.utf8)
        let parser = parser()
        for start in 1..<bytes.count {
            #expect(parsed(Array(bytes.dropFirst(start)), parser) == nil, "\(start)")
        }
    }

    @Test func `No byte behind the document is looked at`() {
        // The rest of each number, word and string stands behind the span's end.
        let block = ByteBlock(#"[12,true,"ab"]"#)
        let parser = parser()
        for end in 0..<block.count {
            let isRead = parser.parse(block.bytes.extracting(0..<end))
            #expect(!isRead, "\(end)")
        }
        let number = ByteBlock("1234")
        let isRead = parser.parse(number.bytes.extracting(0..<2))
        #expect(isRead && parser.unsigned(root) == 12)
    }

    @Test(
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC3, 0x28], [0xE0, 0x80, 0x80],
            [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28],
            [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x8F, 0xBF, 0xBF],
            [0xF0, 0x9F, 0x98], [0xF0, 0x28, 0x8C, 0xBC], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF],
            [0xC3, 0xC3, 0xA9],
            [0xC3, 0xA9, 0xA9],
        ] as [[UInt8]])
    func `Text that is not UTF-8 is refused, in a value, in a name and at any place`(_ bad: [UInt8])
    {
        for padding in 0..<70 {
            let space = [UInt8](repeating: 0x61, count: padding)
            #expect(parsed(Array("[\"".utf8) + space + bad + Array("\"]".utf8)) == nil)
        }
        #expect(parsed(Array("{\"".utf8) + bad + Array("\":1}".utf8)) == nil)
        #expect(parsed(bad) == nil)
        #expect(parsed(Array("[1]".utf8) + bad) == nil)
    }

    @Test(arguments: [
        #"\ud800"#, #"\udbff"#, #"\udc00"#, #"\udfff"#, #"\ud83d"#, #"\ude00"#, #"\ud83d\ud83d"#,
        #"\ude00\ud83d"#, #"\ud83dx\ude00"#, #"\ud83d\u0041"#, #"\ud83d\n"#, #"\ud83d\\ude00"#,
        #"\ud83d\ue000"#, #"\ud83d\u"#, #"\ud83d\ude0"#, #"\uD83D\uDBFF"#, #"\ud83d\ude00\ude00"#,
    ])
    func `Half of a surrogate pair is refused`(_ escape: String) {
        #expect(parsed("\"\(escape)\"") == nil)
        #expect(parsed("[\"a\(escape)x\"]") == nil)
        #expect(parsed("{\"\(escape)\":1}") == nil)
    }
}

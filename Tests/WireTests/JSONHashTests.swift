import Bytes
import Testing

@testable import Wire

private func parsed(_ json: String) -> JSONParser? {
    let parser = JSONParser(documentBytesMax: 1 << 20, depthMax: 32)
    let block = ByteBlock(json)
    return parser.parse(block.bytes) ? parser : nil
}

private func hash(_ json: String) -> UInt64? { parsed(json).map { $0.hash(JSONParser.root) } }

private func repeats(_ json: String) -> Bool? {
    parsed(json).map { $0.hasDuplicateKeys(JSONParser.root) }
}

private func written(_ json: String) -> String? {
    parsed(json).map {
        let writer = ByteWriter(capacity: 16)
        $0.write(JSONParser.root, into: writer)
        return writer.string()
    }
}

private func names(_ count: Int) -> [String] { (0..<count).map { "field\($0)" } }

private func object(_ names: [String], value: String = "0") -> String {
    "{" + names.map { "\"\($0)\":\(value)" }.joined(separator: ",") + "}"
}

@Suite struct JSONDuplicateKeyTests {
    @Test(arguments: [
        #"{"a":1,"a":1}"#, #"{"a":1,"b":2,"a":3}"#, #"{"":1,"":2}"#, #"{"a":1,"\u0061":2}"#,
        #"{"é":1,"\u00e9":2}"#, #"{"\ud83d\ude00":1,"😀":2}"#, #"{"\/":1,"/":2}"#,
        #"{"x":{"a":1,"a":1}}"#, #"[{"a":1,"a":1}]"#, #"[[[{"x":[{"a":1,"b":2,"b":3}]}]]]"#,
        #"[{"a":1},{"a":1,"a":2}]"#, #"{"a":{"b":1},"c":{"b":1},"a":{}}"#,
        #"{"a\u0000":1,"a\u0000":2}"#,
    ])
    func `A name that an object has twice is found, at any depth and in any spelling`(
        _ json: String
    ) {
        #expect(repeats(json) == true)
    }

    @Test(arguments: [
        "{}", "[]", "1", #""a""#, "null", #"{"a":1}"#, #"{"a":1,"A":1}"#, #"{"a":1,"a ":1,"":1}"#,
        #"{"a":{"a":{"a":1}}}"#, #"[{"a":1},{"a":1}]"#, #"{"a":[{"a":1},{"a":1}],"b":{"a":1}}"#,
        #"{"a":"a","b":"a","c":"b"}"#, #"{"é":1,"e\u0301":2}"#, #"{"a":1,"a\u0000":2}"#,
        #"{"a":1,"\\u0061":2}"#, #"["a","a"]"#,
    ])
    func `The same name in different objects, or as a value, is not the same field`(_ json: String)
    {
        #expect(repeats(json) == false)
    }

    // Sixteen fields are compared with each other, more are sorted by hash.
    @Test(arguments: [2, 3, 15, 16, 17, 18, 64, 1000])
    func `A pair is found wherever it stands, among few fields and many`(_ count: Int) {
        let single = names(count)
        #expect(repeats(object(single)) == false)
        let places = count < 20 ? Array(0..<count) : [0, 1, count / 2, count - 2, count - 1]
        for first in places {
            for second in places where second != first {
                var double = single
                double[second] = double[first]
                #expect(repeats(object(double)) == true, "\(first) \(second)")
                #expect(repeats("[0,{\"x\":\(object(double))},1]") == true)
            }
        }
    }

    @Test func `Inner objects of a large object are looked into`() {
        for count in [16, 17, 40] {
            let value = #"{"a":1,"a":2}"#
            #expect(repeats(object(names(count), value: #"{"a":1}"#)) == false)
            #expect(repeats(object(names(count), value: value)) == true)
            #expect(repeats("{\"x\":[" + object(names(count)) + ",\(value)]}") == true)
        }
    }

    @Test func `A large object of one name is refused, one of as many names is not`() {
        #expect(repeats(object([String](repeating: "a", count: 20_000))) == true)
        #expect(repeats(object(names(20_000))) == false)
    }
}

@Suite struct JSONHashTests {
    @Test func `Spelling, spaces and the order of fields do not matter`() {
        for (one, other) in [
            ("1", " 1\n"), ("[1,2]", "[ 1 ,\t2 ]"), ("{}", "{ }"), (#""é""#, #""\u00e9""#),
            (#""/""#, #""\/""#), (#""\n""#, #""\u000A""#), (#""😀""#, #""\ud83d\ude00""#),
            ("1.5", "15e-1"), ("1.0", "1.00"), ("1e2", "100.0"), ("0", "-0"),
            (#"{"a":1,"b":2}"#, #"{"b":2,"a":1}"#), (#"{"a":1,"b":2}"#, #"{ "b":2, "\u0061":1 }"#),
            (#"{"x":[{"a":1,"b":[]}],"y":{}}"#, #"{"y":{},"x":[{"b":[],"a":1}]}"#),
        ] {
            #expect(hash(one) != nil)
            #expect(hash(one) == hash(other), "\(one) \(other)")
        }
        let many = names(100)
        #expect(hash(object(many)) == hash(object(many.reversed())))
    }

    @Test func `Every other difference does`() {
        let values = [
            "1", "-1", "1.0", "2", "0", "0.0", "-0.0", "10", #""1""#, #""""#, #""0""#, #""1.0""#,
            "true", "false", "null", #""true""#, #""false""#, #""null""#, "[]", "{}", #""[]""#,
            #""{}""#, "[1]", "[[1]]", "[[]]", "[[],[]]", "[{}]", "[null]", "[1,2]", "[2,1]",
            "[1,[2]]", "[[1],2]", "[[1,2]]", "[12]", "[1,1]", "[1,1,1]", #"["1,2"]"#, #"["1","2"]"#,
            #"{"a":1}"#, #"{"a":"1"}"#, #"{"a":true}"#, #"{"a":null}"#, #"{"1":"a"}"#, #"{"b":1}"#,
            #"{"A":1}"#, #"{"a":[1]}"#, #"{"a":{"a":1}}"#, #"{"a":{"b":1}}"#, #"{"b":{"a":1}}"#,
            #"{"a":1,"b":2}"#, #"{"a":2,"b":1}"#, #"{"a":1,"b":1}"#, #"{"a":2,"b":2}"#,
            #"{"ab":1}"#, #"{"a":"b"}"#, #"{"b":"a"}"#, #"["a","b"]"#, #"["ab"]"#, #"["b","a"]"#,
            #"[{"a":1},{"b":2}]"#, #"[{"b":2},{"a":1}]"#, #"[{"a":1,"b":2}]"#, #"{"":""}"#,
            #""a""#, #""b""#, #""a ""#, #""A""#, #""é""#, #""e\u0301""#, #""a\u0000""#,
            #""\u0000""#, #""\u0000\u0000""#, "9223372036854775807", "9223372036854775808",
            "18446744073709551615", "-9223372036854775808", "1e308", "9.223372036854775807e18",
        ]
        var seen: [UInt64: String] = [:]
        for value in values {
            guard let hash = hash(value) else {
                Issue.record("\(value) was refused")
                continue
            }
            #expect(seen[hash] == nil, "\(value) is as \(seen[hash] ?? "")")
            seen[hash] = value
        }
    }

    @Test func `No two of many short values are the same`() {
        var seen: Set<UInt64> = []
        var count = 0
        for number in 0..<2000 {
            for json in [
                "\(number)", "-\(number + 1)", "\(number).5", "\"\(number)\"", "[\(number)]",
            ] {
                if let hash = hash(json) { seen.insert(hash) }
                count += 1
            }
        }
        #expect(seen.count == count)
    }

    // It is stored with the idempotency key and compared by a later version of the service.
    @Test func `The hash of a document is the same in every process`() {
        let json = #"{"type":"text","text":"Hello","n":[1,-2,2.5,true,false,null]}"#
        #expect(hash(json) == 4_628_270_681_314_130_896)
        #expect(hash("{}") == 14_786_088_985_765_908_338)
    }
}

@Suite struct JSONWriteTests {
    @Test func `A value is written in its one compact form`() {
        for (json, wanted) in [
            (" { } ", "{}"), ("[ ]", "[]"), (" [ 1 , 2 ] ", "[1,2]"), ("-0", "0"), ("0", "0"),
            ("-1", "-1"), ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551615", "18446744073709551615"), ("1.50", "1.5"), ("1e2", "100.0"),
            ("-0.0", "-0.0"), ("1e308", "1e+308"), ("5e-324", "5e-324"), ("true", "true"),
            ("false", "false"), ("null", "null"), (#""\u0061""#, #""a""#), (#""\/""#, #""/""#),
            (#""\u00e9\ud83d\ude00""#, #""é😀""#), (#"{"b":1,"a":2}"#, #"{"b":1,"a":2}"#),
            (#"{ "\u0061" : [ { } , [ ] , null ] }"#, #"{"a":[{},[],null]}"#),
        ] {
            #expect(written(json) == wanted, "\(json)")
        }
    }

    @Test func `What a string cannot hold is escaped, and nothing else`() {
        #expect(
            written(#""\"\\\b\f\n\r\t\u0000\u001f\u007f\u2028""#)
                == #""\"\\\b\f\n\r\t\u0000\u001f"# + "\u{7F}\u{2028}\"")
        #expect(written(#"{"\"\n":"\\"}"#) == #"{"\"\n":"\\"}"#)
        for scalar in 0..<0x20 {
            let digits = String(scalar, radix: 16)
            let json = "\"a\\u" + String(repeating: "0", count: 4 - digits.count) + digits + "b\""
            let found = written(json)
            #expect(found?.utf8.allSatisfy { $0 >= 0x20 } == true)
            #expect(hash(found ?? "") == hash(json))
        }
    }

    @Test func `Escapes are right at every place of a long string`() {
        for place in 0..<70 {
            for escape in [#"\""#, #"\\"#, #"\n"#, #"\u0001"#] {
                let json =
                    "\"" + String(repeating: "x", count: place) + escape
                    + String(repeating: "y", count: 70 - place) + "\""
                #expect(written(json) == json)
            }
        }
    }

    @Test(arguments: [
        "{}", "[]", "0", "-0", "-0.0", "1e308", "-1e-308", "5e-324", "0.1", "1e21", "1e16",
        "123456789.125", "1.7976931348623157e308", "18446744073709551615", "9223372036854775808",
        "-9223372036854775808", #""""#, #""\u0000\u001f\"\\é😀""#, "[[[[]]],{}]",
        #"{"z":1,"a":{"y":[1,2.5,"x",null,true,false],"":{}},"\n":"\t"}"#,
        #"["\ud83d\ude00",{"\u00e9":["\/"]}]"#,
    ])
    func `What was written reads as the same value, and is written the same again`(_ json: String) {
        let once = written(json)
        #expect(once != nil)
        #expect(hash(once ?? "") == hash(json))
        #expect(written(once ?? "") == once)
    }

    @Test func `A part of a document is written alone`() {
        let parser = parsed(#"{"a":1,"b":[true,{"c":"d"}],"e":2}"#)
        let writer = ByteWriter(capacity: 16)
        if let parser, let node = parser.field(JSONParser.root, "b") {
            parser.write(node, into: writer)
        }
        #expect(writer.string() == #"[true,{"c":"d"}]"#)
    }
}

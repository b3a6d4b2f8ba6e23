import Bytes
import Testing

@testable import Wire

/// Complete heads that hold nothing but what they are named for.
private let validHeads: [String] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT /a/b/c.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
    "PATCH /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "DELETE /a%20b%2Fc HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE /~user/!$&'()*+,;=:@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS /a HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    "GET http://a.example/b?c=d HTTP/1.1\r\nHost: other\r\n\r\n",
    "GET HTTPS://a.example HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://[::1]:80?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?a=b?c=d HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET //double HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t007 \r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t Chunked \t\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:a.example:8443\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [2001:db8::7:192.0.2.1]:65535\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8]:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [1::]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:255.255.255.0]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a%2Db_c~d!1,2\r\n\r\n",
    "GET / HTTP/1.1\r\nX:\r\nY: \t \r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: tab\there caf\u{E9} : ; \"\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09azAZ: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\nAccept: c/d\r\nPrefer: x\r\nPrefer: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: a, ,close,\r\nConnection:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, WebSocket/13\r\n\r\n",
]

@Suite("Accepted request heads")
struct HTTPHeadParserTests {
    /// The head of a text that must parse the same in every way, and with other bytes behind it.
    private func parsed(_ text: String) throws -> HeadCopy {
        let bytes = Array(text.utf8)
        let report = try #require(parseHeadInEveryWay(bytes))
        #expect(parseHead(bytes + Array("\n\0 next".utf8)) == report)
        let head = try #require(report.head)
        #expect(head.headBytes == bytes.count)
        return head
    }

    @Test(
        "A head parses the same in any pieces and is whole with its last byte",
        arguments: validHeads)
    func everySplit(_ text: String) throws {
        _ = try parsed(text)
        #expect(parseHead(Array(text.utf8.dropLast())) == .needsMoreBytes)
    }

    @Test("A byte of an accepted head replaced by NUL is refused", arguments: validHeads)
    func nullAnywhere(_ text: String) {
        let bytes = Array(text.utf8)
        for index in bytes.indices where bytes[index] != 0x0A {
            var broken = bytes
            broken[index] = 0
            #expect(parseHead(broken).isRefused, "offset \(index) of \(visible(bytes))")
        }
    }

    @Test("An accepted head without one of its CRs is refused", arguments: validHeads)
    func missingCarriageReturn(_ text: String) {
        let bytes = Array(text.utf8)
        for index in bytes.indices where bytes[index] == 0x0D {
            var broken = bytes
            broken.remove(at: index)
            #expect(parseHead(broken) == .refused(.bareLineFeed), "offset \(index)")
        }
    }

    @Test("The parts of a request line and its header lines are found")
    func parts() throws {
        let head = try parsed(
            "POST /v1/items/7?limit=5&x=%20 HTTP/1.1\r\nHost: chat.example:8080\r\n"
                + "X-Custom:  one \t\r\nAuthorization: Bearer abc\r\nContent-Length: 42\r\n\r\n")
        #expect(head.method == .post)
        #expect(head.target == "/v1/items/7?limit=5&x=%20")
        #expect(head.path == "/v1/items/7")
        #expect(head.query == "limit=5&x=%20")
        #expect(head.minorVersion == 1)
        #expect(head.authority == "chat.example:8080")
        #expect(head.framing == .length(42))
        #expect(head.keepAlive && !head.expectContinue && !head.upgradeToWebSocket)
        #expect(head.fields.map(\.name) == ["Host", "X-Custom", "Authorization", "Content-Length"])
        #expect(head.fields.map(\.value) == ["chat.example:8080", "one", "Bearer abc", "42"])
        #expect(
            head.known == [
                "host": "chat.example:8080", "authorization": "Bearer abc", "contentLength": "42",
            ])
    }

    @Test("Each method is recognised by its exact name", arguments: HTTPMethod.allCases)
    func methods(_ method: HTTPMethod) throws {
        let text = "\(method.name) / HTTP/1.1\r\nHost: a\r\n\r\n"
        if method == .connect {
            #expect(parseHead(Array(text.utf8)) == .refused(.badTarget))
        } else {
            #expect(try parsed(text).method == method)
        }
        let longer = Array("\(method.name)X / HTTP/1.1\r\n".utf8)
        #expect(parseHead(longer) == .refused(.notImplemented))
    }

    @Test(
        "Each known header is recognised in any case, and no name near it",
        arguments: KnownHeader.allCases)
    func knownHeaders(_ header: KnownHeader) {
        let name = Array(header.name.description.utf8)
        func recognised(_ bytes: [UInt8]) -> KnownHeader? {
            KnownHeader.recognise(ByteBlock(bytes).bytes)
        }
        let upper = name.map { $0 &- 0x61 < 26 ? $0 & 0xDF : $0 }
        #expect(recognised(name) == header)
        #expect(recognised(upper) == header)
        #expect(recognised(name + [0x78]) == nil)
        #expect(recognised(Array(name.dropLast())) == nil)
        for index in name.indices {
            for byte in Array("!#$%&'*+.^_`|~zq0".utf8) where byte | 0x20 != name[index] {
                var other = upper
                other[index] = byte
                #expect(recognised(other) == nil, "\(visible(other))")
            }
        }
    }

    @Test("A path never holds the query, and an absolute target brings its own authority")
    func targetForms() throws {
        let absolute = try parsed(validHeads[9])
        #expect(absolute.path == "/b" && absolute.query == "c=d")
        #expect(absolute.authority == "a.example")
        let bare = try parsed(validHeads[10])
        #expect(bare.path == "/" && bare.query == "" && bare.authority == "a.example")
        let queryOnly = try parsed(validHeads[11])
        #expect(
            queryOnly.path == "/" && queryOnly.query == "x" && queryOnly.authority == "[::1]:80")
        let twoMarks = try parsed(validHeads[12])
        #expect(twoMarks.path == "/" && twoMarks.query == "a=b?c=d")
        let star = try parsed(validHeads[7])
        #expect(star.path == "*" && star.target == "*")
        #expect(try parsed(validHeads[16]).authority == nil)
    }

    @Test(
        "Persistence follows the version and every Connection line",
        arguments: [
            ("1.1", [], true), ("1.1", ["close"], false), ("1.1", ["CLOSE"], false),
            ("1.1", ["keep-alive"], true), ("1.1", ["keep-alive, close"], false),
            ("1.1", ["keep-alive", "x", "Close"], false), ("1.1", ["closed, not-close"], true),
            ("1.0", [], false), ("1.0", ["keep-alive"], true), ("1.0", ["x, Keep-Alive"], true),
            ("1.0", ["close", "keep-alive"], false), ("1.0", ["keep-alives"], false),
            ("1.7", [], true),
        ] as [(String, [String], Bool)])
    func persistence(_ version: String, _ lines: [String], _ keepAlive: Bool) throws {
        let fields = lines.map { "Connection: \($0)\r\n" }.joined()
        let head = try parsed("GET / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n")
        #expect(head.keepAlive == keepAlive)
        #expect(head.minorVersion == (version == "1.0" ? 0 : 1))
    }

    @Test(
        "A request upgrades to WebSocket only with all its signs",
        arguments: [
            ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket", true),
            ("GET / HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket", true),
            (
                "GET / HTTP/1.1",
                "Connection: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket", true
            ),
            ("GET / HTTP/1.1", "Upgrade: websocket", false),
            ("GET / HTTP/1.1", "Connection: Upgrade", false),
            ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c", false),
            ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websockets", false),
            (
                "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1",
                false
            ),
            ("POST / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket", false),
            ("GET / HTTP/1.0", "Connection: Upgrade\r\nUpgrade: websocket", false),
        ] as [(String, String, Bool)])
    func webSocketUpgrade(_ line: String, _ fields: String, _ upgrades: Bool) throws {
        #expect(
            try parsed("\(line)\r\nHost: a\r\n\(fields)\r\n\r\n").upgradeToWebSocket == upgrades)
    }

    @Test("100-continue is heeded in HTTP/1.1 and ignored in HTTP/1.0")
    func expectContinue() throws {
        #expect(try parsed(validHeads[22]).expectContinue)
        #expect(try !parsed("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expectContinue)
    }

    @Test("Framing is none, a length or chunked")
    func framing() throws {
        #expect(try parsed(validHeads[0]).framing == .none)
        #expect(try parsed(validHeads[18]).framing == .length(0))
        #expect(try parsed(validHeads[19]).framing == .length(UInt64(Int.max)))
        #expect(try parsed(validHeads[20]).framing == .length(7))
        #expect(try parsed(validHeads[21]).framing == .chunked)
    }

    @Test("Repeated list headers keep the first line in their slot and every line in the table")
    func repeatedLists() throws {
        let head = try parsed(validHeads[33])
        #expect(head.known["accept"] == "a/b" && head.known["prefer"] == "x")
        #expect(head.fields.map(\.value) == ["a", "a/b", "c/d", "x", "y"])
    }

    @Test("A request line is refused at its limit, whole or not")
    func requestLineLimit() {
        let limits = HTTPLimits(requestLineBytesMax: 32, headBytesMax: 64)
        let fitting = Array("GET /\(String(repeating: "a", count: 16)) HTTP/1.1\r\n".utf8)
        #expect(fitting.count == 32)
        #expect(parseHeadInEveryWay(fitting, limits: limits) == .needsMoreBytes)
        #expect(parseHeadInEveryWay([13, 10] + fitting, limits: limits) == .needsMoreBytes)
        let long = Array("GET /\(String(repeating: "a", count: 17)) HTTP/1.1\r\n".utf8)
        #expect(parseHeadInEveryWay(long, limits: limits) == .refused(.requestLineTooLong))
        let endless = [UInt8](repeating: 0x41, count: 33)
        #expect(parseHeadInEveryWay(endless, limits: limits) == .refused(.requestLineTooLong))
        #expect(parseHead(Array(endless.dropLast()), limits: limits) == .needsMoreBytes)
        #expect(
            parseHead([UInt8](repeating: 0x41, count: 8192)) == .needsMoreBytes)
        #expect(parseHead([UInt8](repeating: 0x41, count: 8193)) == .refused(.requestLineTooLong))
    }

    @Test("A head is refused at its limit, whole or not")
    func headLimit() {
        let limits = HTTPLimits(requestLineBytesMax: 32, headBytesMax: 64)
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
        let fill = 64 - start.utf8.count - 4
        let fitting = Array((start + String(repeating: "b", count: fill) + "\r\n\r\n").utf8)
        #expect(parseHeadInEveryWay(fitting, limits: limits)?.head?.headBytes == 64)
        let long = Array((start + String(repeating: "b", count: fill + 1) + "\r\n\r\n").utf8)
        #expect(parseHeadInEveryWay(long, limits: limits) == .refused(.headTooLarge))
        let endless = Array((start + String(repeating: "b", count: 100)).utf8)
        #expect(parseHeadInEveryWay(endless, limits: limits) == .refused(.headTooLarge))
        // A bad line behind the limit is not what is told.
        let bad = Array((start + String(repeating: "b", count: 100) + "\0\r\n").utf8)
        #expect(parseHeadInEveryWay(bad, limits: limits) == .refused(.headTooLarge))
    }

    @Test("64 header lines are read, and a 65th is refused before it is looked at")
    func headerCount() throws {
        let start = "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 63)
        #expect(try parsed(start + "\r\n").fields.count == 64)
        #expect(parseHeadInEveryWay(Array((start + "@\r\n").utf8)) == .refused(.tooManyHeaders))
        let two = HTTPLimits(headerCountMax: 2)
        let three = Array("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nX: y\r\n".utf8)
        #expect(parseHeadInEveryWay(three, limits: two) == .refused(.tooManyHeaders))
    }

    @Test("Pipelined heads are read one after another with the same parser and head")
    func pipelining() throws {
        let first =
            "POST /a?b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        let second = "GET /c HTTP/1.0\r\n\r\n"
        let block = ByteBlock(first + second)
        var parser = HTTPHeadParser()
        var head = HTTPRequestHead()
        #expect(
            try parser.parse(block.bytes, into: &head) == .complete(headBytes: first.utf8.count))
        parser.reset()
        let rest = ByteBlock(second)
        #expect(
            try parser.parse(rest.bytes, into: &head) == .complete(headBytes: second.utf8.count))
        let fresh = parseHead(Array(second.utf8)).head
        #expect(HeadCopy(head, rest.bytes, headBytes: second.utf8.count) == fresh)
    }

    @Test("Searched bytes are not searched again, and unchanged bytes change nothing")
    func resumption() throws {
        var parser = HTTPHeadParser()
        var head = HTTPRequestHead()
        let block = ByteBlock("GET / HTTP/1.1\r\nHost: chat.exa")
        #expect(try parser.parse(block.bytes, into: &head) == .needsMoreBytes)
        #expect(parser.scanned == UInt32(block.count) && parser.phase == .fields)
        #expect(try parser.parse(block.bytes, into: &head) == .needsMoreBytes)
        // What was parsed is not read again: the new memory holds other bytes there.
        let other = ByteBlock(
            String(repeating: "\n", count: 16) + "Host: chat.exa" + "mple\r\n\r\n")
        #expect(try parser.parse(other.bytes, into: &head) == .complete(headBytes: other.count))
        let host = head.value(.host)
        #expect(host.map { other.bytes.part($0).string() } == "chat.example")
    }

    @Test("A head is small, and unknown headers are found by name")
    func headStorage() throws {
        #expect(MemoryLayout<HTTPRequestHead>.size <= 1536)
        let block = ByteBlock(
            "GET / HTTP/1.1\r\nHost: a\r\nx-CUSTOM-thing: v\r\nX-Custom-Thing: w\r\n\r\n")
        var parser = HTTPHeadParser()
        var head = HTTPRequestHead()
        _ = try parser.parse(block.bytes, into: &head)
        let value = head.value(named: "x-custom-thing", in: block.bytes)
        let absent = head.value(named: "x-custom-thin", in: block.bytes)
        #expect(value.map { block.bytes.part($0).string() } == "v")
        #expect(absent == nil)
    }

    @Test("Byte classes are the lists of the RFCs")
    func byteClasses() {
        let alphanumeric = Set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".utf8)
        let token = alphanumeric.union("!#$%&'*+-.^_`|~".utf8)
        let name = alphanumeric.union("-._~!$&'()*+,;=".utf8)
        let hex = Set("0123456789abcdefABCDEF".utf8)
        for byte in UInt8.min...UInt8.max {
            #expect(HTTPByteClass.token.contains(byte) == token.contains(byte))
            #expect(HTTPByteClass.registeredName.contains(byte) == name.contains(byte))
            #expect(HTTPByteClass.hexDigit.contains(byte) == hex.contains(byte))
            #expect((HTTPByte.hexValue(byte) != nil) == hex.contains(byte))
            let plain = byte > 0x20 && byte < 0x7F && !"#%?".utf8.contains(byte)
            #expect(HTTPByteClass.plainTarget.contains(byte) == plain)
        }
    }

    @Test("Random bytes never trap and come out the same in any pieces")
    func randomHeads() {
        var random = SeededRandom(seed: 0x4854_5450)
        let pieces = [
            "GET ", "/", " HTTP/1.1", "\r\n", "\r", "\n", "Host: a", ":", " ", "\t", "\0", "%",
            "Content-Length: 5", "Transfer-Encoding: chunked", ",", "\"", "POST * HTTP/1.0",
            "[::1]", "@",
        ]
        var refused = 0
        for round in 0..<1500 {
            var bytes: [UInt8] =
                round % 2 == 0 ? Array(validHeads[round / 2 % validHeads.count].utf8) : []
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let at = Int.random(in: 0...bytes.count, using: &random)
                if round % 2 == 0, !bytes.isEmpty {
                    bytes[min(at, bytes.count - 1)] = UInt8.random(in: 0...255, using: &random)
                } else {
                    bytes.insert(contentsOf: pieces.randomElement(using: &random)!.utf8, at: at)
                }
            }
            let whole = parseHead(bytes)
            if whole.isRefused { refused += 1 }
            let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
            #expect(parseHead(bytes, cuts: cuts) == whole, "round \(round): \(visible(bytes))")
            #expect(parseHead(bytes, cuts: Array(0..<bytes.count)) == whole, "round \(round)")
        }
        #expect(refused > 500)
    }
}

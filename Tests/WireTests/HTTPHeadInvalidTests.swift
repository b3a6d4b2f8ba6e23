import Bytes
import Testing

@testable import Wire

/// A refused head, as the bytes up to and with the LF of the line that is at fault.
struct InvalidHead: Sendable, CustomTestStringConvertible {
    var bytes: [UInt8]
    var error: HTTPError

    init(_ text: String, _ error: HTTPError) {
        bytes = Array(text.utf8)
        self.error = error
    }

    init(_ bytes: [UInt8], _ error: HTTPError) {
        self.bytes = bytes
        self.error = error
    }

    var testDescription: String { "\(error) \(visible(bytes))" }
}

private let line = "GET / HTTP/1.1\r\n"
private let start = "POST /items HTTP/1.1\r\nHost: a\r\n"
private let start10 = "POST /items HTTP/1.0\r\n"

let invalidRequestLines: [InvalidHead] = [
    InvalidHead("GET\r\n", .badRequestLine),
    InvalidHead("G\r\n", .badRequestLine),
    InvalidHead("GET \r\n", .badRequestLine),
    InvalidHead("GET /\r\n", .badRequestLine),
    InvalidHead("GET /a/long/simple/request\r\n", .badRequestLine),
    InvalidHead("GET  / HTTP/1.1\r\n", .badRequestLine),
    InvalidHead("POST  / HTTP/1.1\r\n", .badRequestLine),
    InvalidHead("GET  HTTP/1.1\r\n", .badRequestLine),
    InvalidHead("\r\n\r\n", .badRequestLine),
    InvalidHead(" GET / HTTP/1.1\r\n", .badMethod),
    InvalidHead("\tGET / HTTP/1.1\r\n", .badMethod),
    InvalidHead("GET\t/ HTTP/1.1\r\n", .badMethod),
    InvalidHead("G(T / HTTP/1.1\r\n", .badMethod),
    InvalidHead("GE@T / HTTP/1.1\r\n", .badMethod),
    InvalidHead("GET/ / HTTP/1.1\r\n", .badMethod),
    InvalidHead("G\u{E9}T / HTTP/1.1\r\n", .badMethod),
    InvalidHead("GET: / HTTP/1.1\r\n", .badMethod),
    InvalidHead("G\0T / HTTP/1.1\r\n", .nullByte),
    InvalidHead("GET\r / HTTP/1.1\r\n", .bareCarriageReturn),
    InvalidHead("\r\r\nGET / HTTP/1.1\r\n".prefixThroughLineFeed(1), .bareCarriageReturn),
    InvalidHead("get / HTTP/1.1\r\n", .notImplemented),
    InvalidHead("GETS / HTTP/1.1\r\n", .notImplemented),
    InvalidHead("PROPFIND / HTTP/1.1\r\n", .notImplemented),
    InvalidHead("X / HTTP/1.1\r\n", .notImplemented),
    InvalidHead("PoST / HTTP/1.1\r\n", .notImplemented),
    InvalidHead("CONNECT a.example:443 HTTP/1.1\r\n", .notImplemented),
    InvalidHead("CONNECT a.example HTTP/1.1\r\n", .badTarget),
    InvalidHead("CONNECT a.example: HTTP/1.1\r\n", .badTarget),
    InvalidHead("CONNECT / HTTP/1.1\r\n", .badTarget),
    InvalidHead("CONNECT http://a:80/ HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET a HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET ?a=b HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET * HTTP/1.1\r\n", .badTarget),
    InvalidHead("OPTIONS ** HTTP/1.1\r\n", .badTarget),
    InvalidHead("OPTIONS *?a HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET a.example:80 HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /a#b HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /% HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /%4 HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /%4g HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /%g4 HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /?a=%zz HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /%u0041 HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /a\tb HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /a\u{7F} HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /a\u{B}b HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /caf\u{E9} HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET /a\0 HTTP/1.1\r\n", .nullByte),
    InvalidHead("GET /a\rb HTTP/1.1\r\n", .bareCarriageReturn),
    InvalidHead("GET http:// HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET http:/// HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET http:/a HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET http://u@a/ HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET http://a:b/ HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET http://a:65536/ HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET ftp://a/ HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET https:// HTTP/1.1\r\n", .badTarget),
    InvalidHead("GET / HTTP/1.1 \r\n", .badVersion),
    InvalidHead("GET /  HTTP/1.1\r\n", .badVersion),
    InvalidHead("GET / x HTTP/1.1\r\n", .badVersion),
    InvalidHead("GET / \r\n", .badVersion),
    InvalidHead("GET / HTTP\r\n", .badVersion),
    InvalidHead("GET / HTTP/1\r\n", .badVersion),
    InvalidHead("GET / HTTP/11\r\n", .badVersion),
    InvalidHead("GET / HTTP/1.10\r\n", .badVersion),
    InvalidHead("GET / HTTP/1,1\r\n", .badVersion),
    InvalidHead("GET / HTTP/a.1\r\n", .badVersion),
    InvalidHead("GET / HTTP/1.a\r\n", .badVersion),
    InvalidHead("GET / HTTP-1.1\r\n", .badVersion),
    InvalidHead("GET / http/1.1\r\n", .badVersion),
    InvalidHead("GET / HTTQ/1.1\r\n", .badVersion),
    InvalidHead("GET / HTTP/1.1\r\r\n", .badVersion),
    InvalidHead("GET / HTTP/2.0\r\n", .unsupportedVersion),
    InvalidHead("GET / HTTP/0.9\r\n", .unsupportedVersion),
    InvalidHead("GET / HTTP/3.1\r\n", .unsupportedVersion),
    InvalidHead("PRI * HTTP/2.0\r\n", .unsupportedVersion),
    InvalidHead("GET / HTTP/1.1\n", .bareLineFeed),
    InvalidHead("\n", .bareLineFeed),
    InvalidHead("\r\n\n", .bareLineFeed),
]

let invalidFieldLines: [InvalidHead] = [
    InvalidHead(line + "Host: a\n", .bareLineFeed),
    InvalidHead(line + "\n", .bareLineFeed),
    InvalidHead(start + "\n", .bareLineFeed),
    InvalidHead(start + "X: a\nY: b\r\n".prefixThroughLineFeed(1), .bareLineFeed),
    InvalidHead(start + "X: a\rY: b\r\n", .bareCarriageReturn),
    InvalidHead(start + "X: a\r\r\n", .bareCarriageReturn),
    InvalidHead(start + "X\r: a\r\n", .bareCarriageReturn),
    InvalidHead(start + "\rX: a\r\n", .bareCarriageReturn),
    InvalidHead(start + "\r\r\n", .bareCarriageReturn),
    InvalidHead(start + "X: a\0b\r\n", .nullByte),
    InvalidHead(start + "X\0: a\r\n", .nullByte),
    InvalidHead(start + "\0\r\n", .nullByte),
    InvalidHead(start + "X: a value that is long enough\u{1}\r\n", .badHeaderValue),
    InvalidHead(start + "X: a\u{8}\r\n", .badHeaderValue),
    InvalidHead(start + "X: a\u{B}\r\n", .badHeaderValue),
    InvalidHead(start + "X: \u{1B}[31m\r\n", .badHeaderValue),
    InvalidHead(start + "X: a\u{7F}\r\n", .badHeaderValue),
    InvalidHead(line + " Host: a\r\n", .obsoleteFolding),
    InvalidHead(line + "\tHost: a\r\n", .obsoleteFolding),
    InvalidHead(start + "X: a\r\n b\r\n", .obsoleteFolding),
    InvalidHead(start + "X: a\r\n\tb\r\n", .obsoleteFolding),
    InvalidHead(start + " \r\n", .obsoleteFolding),
    InvalidHead(start + "\t\r\n", .obsoleteFolding),
    InvalidHead(start + ": a\r\n", .badHeaderName),
    InvalidHead(start + ":\r\n", .badHeaderName),
    InvalidHead(start + "X\r\n", .badHeaderName),
    InvalidHead(start + "X Y: a\r\n", .badHeaderName),
    InvalidHead(start + "X \r\n", .badHeaderName),
    InvalidHead(start + "X(: a\r\n", .badHeaderName),
    InvalidHead(start + "X@Y: a\r\n", .badHeaderName),
    InvalidHead(start + "X/Y: a\r\n", .badHeaderName),
    InvalidHead(start + "\"X\": a\r\n", .badHeaderName),
    InvalidHead(start + "X\u{E9}: a\r\n", .badHeaderName),
    InvalidHead(start + "X\u{1}: a\r\n", .badHeaderName),
    InvalidHead(start + "[X]: a\r\n", .badHeaderName),
    InvalidHead(start + "X{: a\r\n", .badHeaderName),
    InvalidHead(start + "X, Y: a\r\n", .badHeaderName),
    InvalidHead(start + "X=Y\r\n", .badHeaderName),
    InvalidHead(start + "X : a\r\n", .whitespaceBeforeColon),
    InvalidHead(start + "X\t: a\r\n", .whitespaceBeforeColon),
    InvalidHead(start + "X \t : a\r\n", .whitespaceBeforeColon),
    InvalidHead(start + "Authorization: a\r\nauthorization: a\r\n", .duplicateField),
    InvalidHead(start + "Content-Type: a/b\r\nContent-Type: a/b\r\n", .duplicateField),
    InvalidHead(start + "Content-Encoding: gzip\r\nContent-Encoding: br\r\n", .duplicateField),
    InvalidHead(start + "X-API-Key: a\r\nX-Api-Key: b\r\n", .duplicateField),
    InvalidHead(start + "X-Tenant-ID: a\r\nX-Tenant-ID: b\r\n", .duplicateField),
    InvalidHead(start + "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", .duplicateField),
    InvalidHead(start + "Origin: http://a\r\nOrigin: http://b\r\n", .duplicateField),
    InvalidHead(start + "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n", .duplicateField),
    InvalidHead(
        start + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n", .duplicateField),
    InvalidHead(start + "Expect: 200-ok\r\n", .expectationFailed),
    InvalidHead(start + "Expect: \r\n", .expectationFailed),
    InvalidHead(start + "Expect: 100-continue, x\r\n", .expectationFailed),
    InvalidHead(start + "Expect: 100-continue\r\nExpect: y\r\n", .expectationFailed),
    InvalidHead(start10 + "Expect: z\r\n", .expectationFailed),
    InvalidHead(start + "Connection: close;\"\r\n", .badHeaderValue),
    InvalidHead(start + "Connection: a b\r\n", .badHeaderValue),
    InvalidHead(start + "Connection: (close)\r\n", .badHeaderValue),
    InvalidHead(start + "Connection: close\r\nConnection: @\r\n", .badHeaderValue),
    InvalidHead(start + "Upgrade: websocket/\r\n", .badHeaderValue),
    InvalidHead(start + "Upgrade: web socket\r\n", .badHeaderValue),
]

let invalidHosts: [InvalidHead] =
    [
        "", " ", "a b", "a/", "a/b", "a?b", "a#b", "u@a", "a:b", "a:80:80", "a:65536", "a:999999",
        "a:-1", "a:+1", "a: 80", ":80", ":", "%", "%4", "%zz", "a\u{E9}", "a\\b", "a\"", "a<b>",
        "a|b",
        "a^", "[", "[]", "[::1", "::1", "[::1]x", "[::1]:x", "[1]", "[1:2:3:4:5:6:7]", "[:::]",
        "[:1]",
        "[1:]", "[1::2::3]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7::8]", "[12345::]", "[g::]",
        "[::1.2.3]", "[::1.2.3.256]", "[::1.2.3.04]", "[::1.2.3.4.5]", "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "[v1.a]", "[::1]]", "http://a",
    ].map { InvalidHead(line + "Host: \($0)\r\n", .badHost) } + [
        InvalidHead(line + "Host: a\r\nHost: a\r\n", .duplicateHost),
        InvalidHead(line + "Host: a\r\nhost: b\r\n", .duplicateHost),
        InvalidHead(line + "Host: a\r\nX: y\r\nHOST:\r\n", .duplicateHost),
        InvalidHead("GET http://a/ HTTP/1.1\r\nHost: a b\r\n", .badHost),
        InvalidHead("GET / HTTP/1.0\r\nHost: a b\r\n", .badHost),
        InvalidHead("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", .duplicateHost),
        InvalidHead(line + "\r\n", .missingHost),
        InvalidHead("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
        InvalidHead("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", .missingHost),
        InvalidHead("GET / HTTP/1.5\r\nAccept: a/b\r\n\r\n", .missingHost),
    ]

private let length = "Content-Length: 5\r\n"
private let chunked = "Transfer-Encoding: chunked\r\n"

/// Heads whose body's end two readers could see in different places.
let smugglingHeads: [InvalidHead] =
    [
        "", "-1", "+5", "0x5", "5 5", "5,5", "5, 5", "5;", "5.0", "1e3", "a", "five", "\u{664}",
        "9223372036854775808", "18446744073709551616", "99999999999999999999",
        "000000000000000000005",
        "5\t5", "\"5\"", "'5'",
    ].map { InvalidHead(start + "Content-Length: \($0)\r\n", .badContentLength) } + [
        InvalidHead(start + "Content-Length: 5\u{B}\r\n", .badHeaderValue),
        InvalidHead(start + "Content-Length: 5\0\r\n", .nullByte),
        InvalidHead(start + "Content-Length : 5\r\n", .whitespaceBeforeColon),
        InvalidHead(start + "Content-Length\t: 5\r\n", .whitespaceBeforeColon),
        InvalidHead(start + " Content-Length: 5\r\n", .obsoleteFolding),
        InvalidHead(
            start + "Content-Length:\r\n 5\r\n".prefixThroughLineFeed(1), .badContentLength),
        InvalidHead(start + length + length, .duplicateContentLength),
        InvalidHead(start + length + "content-length: 6\r\n", .duplicateContentLength),
        InvalidHead(start10 + length + "X: y\r\n" + length, .duplicateContentLength),
        InvalidHead(start + length + chunked, .conflictingLength),
        InvalidHead(start + chunked + length, .conflictingLength),
        InvalidHead(start + chunked + "Content-Length: 0\r\n", .conflictingLength),
        InvalidHead(start + chunked + "content-length: x\r\n", .conflictingLength),
        InvalidHead(start + length + "Transfer-Encoding: x\r\n", .conflictingLength),
        InvalidHead(start + length + "transfer-encoding:\r\n", .conflictingLength),
        InvalidHead(start10 + chunked, .transferEncodingInHTTP10),
        InvalidHead(start10 + length + chunked, .transferEncodingInHTTP10),
        InvalidHead(start10 + "Transfer-Encoding: identity\r\n", .transferEncodingInHTTP10),
        InvalidHead(start + chunked + chunked, .badTransferEncoding),
        InvalidHead(start + chunked + "Transfer-Encoding: identity\r\n", .badTransferEncoding),
        InvalidHead(start + "Transfer-Encoding : chunked\r\n", .whitespaceBeforeColon),
        InvalidHead(start + "Transfer-Encoding\t: chunked\r\n", .whitespaceBeforeColon),
        InvalidHead(start + " Transfer-Encoding: chunked\r\n", .obsoleteFolding),
        InvalidHead(start + "X: y\r\n\tTransfer-Encoding: chunked\r\n", .obsoleteFolding),
        InvalidHead(start + "Transfer-Encoding: chunked\u{B}\r\n", .badHeaderValue),
        InvalidHead(start + "Transfer-Encoding: \u{B}chunked\r\n", .badHeaderValue),
        InvalidHead(start + "Transfer-Encoding: \u{C}chunked\r\n", .badHeaderValue),
        InvalidHead(start + "Transfer-Encoding: chunked\0\r\n", .nullByte),
        InvalidHead(start + "Transfer-Encoding: chunked\r\r\n", .bareCarriageReturn),
        InvalidHead(start + "Transfer-Encoding: chunked\n", .bareLineFeed),
        InvalidHead(start + "X: y\rTransfer-Encoding: chunked\r\n", .bareCarriageReturn),
        InvalidHead(
            start + "X: y\nTransfer-Encoding: chunked\r\n".prefixThroughLineFeed(1), .bareLineFeed),
        InvalidHead(start + "Transfer\u{B}Encoding: chunked\r\n", .badHeaderName),
        InvalidHead(start + "Transfer Encoding: chunked\r\n", .badHeaderName),
    ]
    + [
        "", ",", ", chunked", "chunked,", "chunked, identity", "chunked, chunked", "chunked;a=b",
        "chunked gzip", "\"chunked\"", "chunked;", "chunked=1", "(chunked)", "gzip, @",
        "chunked\u{A0}", "\u{A0}chunked", "gzip chunked", "chunked, gzip, chunked", "x;\"",
        "[chunked]",
    ].map { InvalidHead(start + "Transfer-Encoding: \($0)\r\n", .badTransferEncoding) }
    + [
        "identity", "gzip", "gzip, chunked", "identity, chunked", "xchunked", "chunkedx", "chunke",
        "x-chunked", "'chunked'", "deflate;q=1, chunked", "chunk", "chunked/1", "chunked_",
    ].map { InvalidHead(start + "Transfer-Encoding: \($0)\r\n", .unsupportedTransferCoding) }

extension String {
    /// The text up to and with its n-th LF; the rest only shows what the fault would have hidden.
    func prefixThroughLineFeed(_ n: Int) -> String {
        var seen = 0
        let end = utf8.firstIndex { byte in
            if byte == 0x0A { seen += 1 }
            return seen == n
        }
        return String(decoding: utf8[...end!], as: UTF8.self)
    }
}

@Suite("Refused request heads")
struct HTTPHeadInvalidTests {
    /// The same refusal whole, at each split, byte by byte, and with more bytes behind; and none
    /// before the faulty line's last byte.
    private func expectRefusal(_ input: InvalidHead) {
        #expect(parseHeadInEveryWay(input.bytes) == .refused(input.error))
        #expect(parseHead(Array(input.bytes.dropLast())) == .needsMoreBytes)
        let more = input.bytes + Array("Host: a\r\n\r\nGET / HTTP/1.1\r\n\r\n".utf8)
        #expect(parseHead(more) == .refused(input.error))
    }

    @Test("A malformed request line is refused when its LF arrives", arguments: invalidRequestLines)
    func requestLine(_ input: InvalidHead) { expectRefusal(input) }

    @Test("A malformed header line is refused when its LF arrives", arguments: invalidFieldLines)
    func fieldLine(_ input: InvalidHead) { expectRefusal(input) }

    @Test("A missing, repeated or malformed Host is refused", arguments: invalidHosts)
    func host(_ input: InvalidHead) { expectRefusal(input) }

    @Test("A head with a doubtful body length is refused", arguments: smugglingHeads)
    func smuggling(_ input: InvalidHead) { expectRefusal(input) }

    @Test("There are far more refused heads than accepted ones")
    func corpusSize() {
        let count =
            invalidRequestLines.count + invalidFieldLines.count + invalidHosts.count
            + smugglingHeads.count
        #expect(count >= 200)
    }

    @Test("Each control byte is refused in a name, a value and a target; HTAB may stand in a value")
    func controlBytes() {
        for byte in (UInt8(0)...0x1F).map({ $0 }) + [0x7F] where byte != 0x0A {
            let head = Array(start.utf8)
            let value = parseHead(head + Array("X: a".utf8) + [byte] + Array("b\r\n".utf8))
            let name = parseHead(head + Array("X".utf8) + [byte] + Array("b: c\r\n".utf8))
            let target = parseHead(Array("GET /a".utf8) + [byte] + Array("b HTTP/1.1\r\n".utf8))
            #expect(byte == 9 ? value == .needsMoreBytes : value.isRefused, "value \(byte)")
            #expect(name.isRefused, "name \(byte)")
            #expect(target.isRefused, "target \(byte)")
        }
    }

    @Test("Lone CRs end no line and are refused with the next LF")
    func carriageReturnOnly() {
        let bytes = Array("GET / HTTP/1.1\rHost: a\r\r".utf8)
        #expect(parseHeadInEveryWay(bytes) == .needsMoreBytes)
        #expect(parseHeadInEveryWay(bytes + [0x0A]) == .refused(.badVersion))
    }

    @Test("Each error has a status of its class and a sentence")
    func errorTexts() {
        let statuses: Set<Int> = [400, 414, 417, 431, 501, 505]
        var sentences: Set<String> = []
        for error in HTTPError.allCases {
            #expect(statuses.contains(error.status))
            let detail = error.detail.description
            #expect(detail.hasSuffix(".") && detail.count > 20)
            sentences.insert(detail)
        }
        #expect(sentences.count == HTTPError.allCases.count)
        #expect(HTTPError.requestLineTooLong.status == 414)
        #expect(HTTPError.expectationFailed.status == 417)
        #expect(HTTPError.headTooLarge.status == 431)
        #expect(HTTPError.tooManyHeaders.status == 431)
        #expect(HTTPError.trailersTooLarge.status == 431)
        #expect(HTTPError.notImplemented.status == 501)
        #expect(HTTPError.unsupportedTransferCoding.status == 501)
        #expect(HTTPError.unsupportedVersion.status == 505)
        #expect(HTTPError.badVersion.status == 400)
        #expect(HTTPError.conflictingLength.status == 400)
    }
}

extension HeadReport {
    var isRefused: Bool {
        if case .refused = self { return true }
        return false
    }
}

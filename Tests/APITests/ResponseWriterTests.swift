import Bytes
import ChatModel
import Testing
import Wire

@testable import API

private let requestID = RequestID(high: 0x0123_4567_89AB_CDEF, low: 0x0000_0000_0000_000A)
private let requestIDText = "0123456789abcdef000000000000000a"
/// RFC 9110's example: Sun, 06 Nov 1994 08:49:37 GMT.
private let now: UInt64 = 784_111_777_000
private let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

private func head(
    _ status: Int = 200, _ type: StaticString = MediaType.json, keepsAlive: Bool = true,
    _ change: (inout ResponseHead) -> Void = { _ in }
) -> ResponseHead {
    var head = ResponseHead(
        status: status, contentType: type, requestID: requestID, keepsAlive: keepsAlive)
    change(&head)
    return head
}

private func written(
    _ head: ResponseHead, bodyBytes: Int = 2, now: UInt64 = now,
    by writer: ResponseWriter = ResponseWriter()
) -> String {
    let out = ByteWriter(capacity: 16)
    writer.write(head, bodyBytes: bodyBytes, nowMilliseconds: now, into: out)
    return out.string()
}

/// The lines that a change adds to the plain head of a 200. CRLF is one character.
private func added(_ change: (inout ResponseHead) -> Void) -> String? {
    let plain = written(head()).dropLast()
    let changed = written(head(200, MediaType.json, change))
    guard changed.hasPrefix(plain), changed.hasSuffix("\r\n\r\n") else { return nil }
    return String(changed.dropFirst(plain.count).dropLast())
}

private func isAcceptable(_ text: [UInt8]) -> Bool {
    let block = ByteBlock(text)
    return RequestID.isAcceptable(block.bytes)
}

private func isAcceptable(_ text: String) -> Bool { isAcceptable(Array(text.utf8)) }

@Suite struct ResponseWriterTests {
    @Test func `A usual head is status, date, type, length and request id`() {
        #expect(
            written(head(), bodyBytes: 1234)
                == "HTTP/1.1 200 OK\r\n" + date + "Content-Type: application/json\r\n"
                + "Content-Length: 1234\r\nX-Request-ID: \(requestIDText)\r\n\r\n")
    }

    @Test func `A body of unknown length is chunked, or ends with the connection`() {
        let chunked = written(head(200, MediaType.events) { $0.framing = .chunked })
        #expect(
            chunked == "HTTP/1.1 200 OK\r\n" + date + "Content-Type: text/event-stream\r\n"
                + "Transfer-Encoding: chunked\r\nX-Request-ID: \(requestIDText)\r\n\r\n")
        let open = written(
            head(200, MediaType.events, keepsAlive: false) { $0.framing = .untilClose })
        #expect(
            open == "HTTP/1.1 200 OK\r\n" + date + "Content-Type: text/event-stream\r\n"
                + "X-Request-ID: \(requestIDText)\r\nConnection: close\r\n\r\n")
    }

    @Test func `A 204 has neither a length nor a type`() {
        #expect(
            written(head(204), bodyBytes: 0)
                == "HTTP/1.1 204 No Content\r\n" + date
                + "X-Request-ID: \(requestIDText)\r\n\r\n")
    }

    @Test(arguments: [0, 1, 9, 10, 65_536, 1 << 24, Int(UInt32.max)])
    func `The length is that of the body, whether it is sent or not`(_ bytes: Int) {
        // For HEAD the caller writes nothing behind the head (RFC 9110 section 9.3.2).
        let text = written(head(), bodyBytes: bytes)
        #expect(text.contains("\r\nContent-Length: \(bytes)\r\n"))
        #expect(text.hasSuffix("\r\n\r\n"))
    }

    @Test func `What is written goes behind what is there`() {
        let out = ByteWriter(capacity: 16)
        let writer = ResponseWriter()
        writer.write(head(), bodyBytes: 0, nowMilliseconds: now, into: out)
        let first = out.string()
        writer.write(head(404), bodyBytes: 0, nowMilliseconds: now, into: out)
        #expect(out.string().hasPrefix(first + "HTTP/1.1 404 Not Found\r\n"))
    }

    @Test func `Closing is told, staying open only to a client that must hear it`() {
        let close = written(head(keepsAlive: false))
        #expect(close.contains("\r\nConnection: close\r\n"))
        #expect(added { $0.saysKeepAlive = true } == "Connection: keep-alive\r\n")
        let both = written(head(200, keepsAlive: false) { $0.saysKeepAlive = true })
        #expect(both == close)
        #expect(!written(head()).contains("Connection"))
    }

    @Test func `Each rare field adds its lines and no others`() {
        #expect(added { $0.isReplay = true } == "Idempotency-Replayed: true\r\n")
        #expect(added { $0.waitSeconds = 30 } == "Preference-Applied: wait=30\r\n")
        #expect(added { $0.retryAfterSeconds = 17 } == "Retry-After: 17\r\n")
        #expect(added { $0.retryAfterSeconds = 0 } == "Retry-After: 0\r\n")
        #expect(added { $0.allow = "GET, HEAD, OPTIONS" } == "Allow: GET, HEAD, OPTIONS\r\n")
        #expect(added { $0.challenge = true } == "WWW-Authenticate: Bearer realm=\"chat\"\r\n")
        #expect(
            added { $0.upgradesTo = "websocket" }
                == "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        #expect(
            added { $0.allowedOrigin = ByteBlock("https://a.example") }
                == "Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n"
                + "Access-Control-Expose-Headers: X-Request-ID, Idempotency-Replayed, RateLimit, "
                + "RateLimit-Policy, Retry-After, ETag\r\n")
        #expect(
            added { $0.contentSecurityPolicy = ByteBlock("default-src 'none'") }
                == "Content-Security-Policy: default-src 'none'\r\n"
                + "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n")
        #expect(
            added { $0.isStream = true } == "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n")
        #expect(
            added { $0.entityTag = ByteBlock("\"a1\"") }
                == "Cache-Control: no-cache\r\nETag: \"a1\"\r\n")
        #expect(
            added { $0.isForAllOrigins = true }
                == "Access-Control-Allow-Origin: *\r\n"
                + "Cross-Origin-Resource-Policy: cross-origin\r\n"
                + "X-Content-Type-Options: nosniff\r\n")
        #expect(
            added { $0.isPreflight = true } == "", "an origin that is not listed learns nothing")
        #expect(added { _ in } == "")
    }

    @Test func `The limits' headers say quota, rest and reset of tenant and user`() {
        let rate = RateHeaders(
            tenantQuota: 1000, tenantRemaining: 999, tenantReset: 1, userQuota: 100,
            userRemaining: 0, userReset: 42)
        #expect(
            added { $0.rate = rate }
                == "RateLimit-Policy: \"tenant\";q=1000;w=60, \"user\";q=100;w=60\r\n"
                + "RateLimit: \"tenant\";r=999;t=1, \"user\";r=0;t=42\r\n")
    }

    @Test func `With everything at once each field stands once, and one empty line ends the head`()
    {
        let text = written(
            head(429, MediaType.problem, keepsAlive: false) {
                $0.isReplay = true
                $0.rate = RateHeaders(
                    tenantQuota: 1, tenantRemaining: 2, tenantReset: 3, userQuota: 4,
                    userRemaining: 5, userReset: 6)
                $0.retryAfterSeconds = 7
                $0.allow = "GET"
                $0.challenge = true
                $0.upgradesTo = "websocket"
                $0.allowedOrigin = ByteBlock("*")
                $0.contentSecurityPolicy = ByteBlock("x")
                $0.entityTag = ByteBlock("\"a1\"")
            })
        #expect(text.hasSuffix("\r\n\r\n"))
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.suffix(2) == ["", ""] && !lines.dropLast(2).contains(""))
        let names = lines.dropFirst().dropLast(2).map { $0.prefix { $0 != ":" } }
        #expect(names.count == 21)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } })
    }
}

@Suite struct ResponseDateTests {
    @Test func `The date is that of the second, and changes with it`() {
        let writer = ResponseWriter()
        for milliseconds in [now, now + 1, now + 999] {
            #expect(written(head(), now: milliseconds, by: writer).contains("\r\n" + date))
        }
        #expect(written(head(), now: now + 1000, by: writer).contains(" 08:49:38 GMT\r\n"))
        #expect(written(head(), now: now + 23_000, by: writer).contains(" 08:50:00 GMT\r\n"))
    }

    @Test func `A clock that is set back sets the date back`() {
        let writer = ResponseWriter()
        _ = written(head(), now: now + 60_000, by: writer)
        #expect(written(head(), now: now, by: writer).contains("\r\n" + date))
    }

    @Test(arguments: [0, 1, 999] as [UInt64])
    func `The first second of the epoch is a second like any other`(_ milliseconds: UInt64) {
        let text = written(head(), now: milliseconds)
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))
    }
}

@Suite struct ResponseReasonTests {
    @Test func `Every status that a problem has is named as it is registered`() {
        for code in ProblemCode.allCases {
            let line = ResponseWriter.reason(code.status).description
            #expect(line.hasPrefix("\(code.status) "), "\(code)")
        }
        for error in HTTPError.allCases {
            let line = ResponseWriter.reason(error.status).description
            #expect(line.hasPrefix("\(error.status) "), "\(error)")
        }
        for status in [200, 202, 204, 408, 417, 426] {
            #expect(ResponseWriter.reason(status).description.hasPrefix("\(status) "))
        }
    }

    @Test(arguments: [0, -1, 1, 99, 100, 199, 299, 418, 499, 500, 599, 999, 2000, .max])
    func `Any other status is a 500`(_ status: Int) {
        #expect(ResponseWriter.reason(status).description == "500 Internal Server Error")
    }
}

@Suite struct RequestIDTests {
    @Test func `An id of our own is 128 bits in hexadecimal, the client's its own text`() {
        #expect(requestID.block().text == requestIDText)
        #expect(RequestID(high: 0, low: 0).block().text == text(32, "0"))
        #expect(RequestID(high: .max, low: .max).block().text == text(32, "f"))
        let theirs = RequestID(ByteBlock("trace/7:a"))
        #expect(theirs.block().text == "trace/7:a")
        #expect(
            written(
                ResponseHead(
                    status: 200, contentType: MediaType.text, requestID: theirs, keepsAlive: true)
            )
            .contains("\r\nX-Request-ID: trace/7:a\r\n"))
    }

    @Test func `Letters, digits and a few marks are acceptable, every other byte is refused`() {
        let acceptable = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+=@".utf8)
        for byte in UInt8.min...UInt8.max {
            let wanted = acceptable.contains(byte)
            #expect(isAcceptable([byte]) == wanted, "\(byte)")
            #expect(isAcceptable([0x61, byte]) == wanted, "\(byte)")
            #expect(isAcceptable([byte, 0x61]) == wanted, "\(byte)")
            #expect(isAcceptable([0x61, byte, 0x61]) == wanted, "\(byte)")
        }
    }

    @Test(arguments: [
        "", " ", "a b", "a\r\nSet-Cookie: x", "a\n", "\ta", "a\0", "é", "\"a\"", "a,b", "a;b",
        "{a}",
        "<a>", "a%20b", "a\\b", "a'b", "a&b", "a?b", "a#b", "a~", "a|b", "(a)", "[a]", "$a", "a*",
        "!",
        "^", "`a`", "\u{7F}",
    ])
    func `What could break a header or a log line is refused`(_ text: String) {
        #expect(!isAcceptable(text))
    }

    @Test func `An id has at most the limit's bytes`() {
        #expect(isAcceptable(text(Limits.requestIDBytesMax)))
        #expect(!isAcceptable(text(Limits.requestIDBytesMax + 1)))
        #expect(!isAcceptable(text(100_000)))
    }

    @Test func `An id of our own is one that we would accept`() {
        #expect(isAcceptable(requestID.block().text))
    }
}

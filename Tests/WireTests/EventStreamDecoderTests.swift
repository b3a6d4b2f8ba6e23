import Bytes
import Testing

@testable import Wire

@Suite struct EventStreamDecoderTests {
    private func events(
        _ pieces: [String], bound: Int = 1000
    ) throws(EventStreamError) -> [ReceivedEvent] {
        var decoder = EventStreamDecoder(eventBytesMax: bound)
        return try read(&decoder, pieces)
    }

    private func read(
        _ decoder: inout EventStreamDecoder, _ pieces: [String]
    ) throws(EventStreamError) -> [ReceivedEvent] {
        var found: [ReceivedEvent] = []
        for piece in pieces {
            let block = ByteBlock(piece)
            try decoder.append(block.bytes)
            while let event = decoder.next() { found.append(event) }
        }
        return found
    }

    private func event(_ data: String, type: String = "message", id: String = "") -> ReceivedEvent {
        ReceivedEvent(type: type, data: Array(data.utf8), lastID: id)
    }

    private static let stream =
        "\u{FEFF}: hello\nretry: 2500\r\nevent: run\rdata: {\"a\":\rdata:1}\r\n\r\nid: 12\ndata:  x\n\n"
        + "data\n\nnothing: here\nid\ndata: é\n\nevent: lost\n\ndata: unfinished\n"

    @Test func `A stream means the same at every split, and byte by byte`() throws {
        let expected = [
            event("{\"a\":\n1}", type: "run"), event(" x", id: "12"), event("", id: "12"),
            event("é"),
        ]
        #expect(try events([Self.stream]) == expected)
        let bytes = Array(Self.stream.utf8)
        for split in 1..<bytes.count {
            var decoder = EventStreamDecoder(eventBytesMax: 1000)
            var found: [ReceivedEvent] = []
            for part in [bytes[..<split], bytes[split...]] {
                let block = ByteBlock(Array(part))
                try decoder.append(block.bytes)
                while let event = decoder.next() { found.append(event) }
            }
            #expect(found == expected, "split at \(split)")
            #expect(decoder.retryMilliseconds == 2500)
        }
        var decoder = EventStreamDecoder(eventBytesMax: 1000)
        var found: [ReceivedEvent] = []
        for byte in bytes {
            let block = ByteBlock([byte])
            try decoder.append(block.bytes)
            while let event = decoder.next() { found.append(event) }
        }
        #expect(found == expected)
    }

    @Test(arguments: [
        "retry: -1", "retry: +1", "retry: 1.5", "retry: ", "retry: 99999999999999999999",
    ])
    func `A wait that is no number changes nothing`(_ line: String) throws {
        var decoder = EventStreamDecoder(eventBytesMax: 100)
        _ = try read(&decoder, ["retry: 7\n", line + "\n\n"])
        #expect(decoder.retryMilliseconds == 7)
    }

    @Test func `An id with a null is not taken`() throws {
        #expect(
            try events(["id: 3\ndata: a\n\n", "id: 4\0\ndata: b\n\n"]).map(\.lastID) == ["3", "3"])
    }

    @Test func `An event has a bound, in one line or in many, and the next starts anew`() throws {
        #expect(throws: EventStreamError.tooLarge) {
            try events(["data: 12345678901234567"], bound: 20)
        }
        #expect(throws: EventStreamError.tooLarge) {
            try events(Array(repeating: "data: 1234\n", count: 6), bound: 20)
        }
        #expect(try events(Array(repeating: "data: 1234\n\n", count: 50), bound: 20).count == 50)
        #expect(throws: EventStreamError.tooLarge) {
            try events([":" + String(repeating: "c", count: 40)], bound: 20)
        }
    }
}

// Owner: the command's one thread. A conversation's log, followed: history by pages up to its end,
// then the event stream from there. Whatever is told twice is passed over; where the stream leaves
// a hole, the history says what is in it. So every entry that the credential may see comes once.

import Bytes
import CLinux
import Wire

final class Follower {
    private let client: ServiceClient
    private let path: String
    private let text: EntryText
    /// The last entry that was printed, or is not to be.
    private var last: UInt64
    private var backoff = Backoff()
    private var isLost = false

    static let pageEntries = 100
    static let eventBytesMax = 32 << 20
    /// Three heartbeats of the service without a byte: the connection is dead.
    static let silenceMilliseconds: UInt64 = 45_000

    init(_ client: ServiceClient, conversation: String, after: UInt64, text: EntryText) {
        self.client = client
        path = "/api/v2/chat/conversations/\(conversation)"
        last = after
        self.text = text
    }

    // MARK: History

    /// Prints what stands behind the last entry, to the end of the log.
    func catchUp() throws {
        let parser = client.parser
        while true {
            let page = try client.exchange(
                ServiceRequest(
                    path: "\(path)?order=asc&limit=\(Self.pageEntries)&after_seq=\(last)"))
            guard parser.parse(page.body.bytes), let data = parser.field(JSONParser.root, "data"),
                parser.kind(data) == .array, let place = parser.object(JSONParser.root, "page"),
                let more = parser.field(place, "has_more")
            else {
                throw ClientFailure(exitCode: 70, message: "The history that came is none.")
            }
            let before = last
            var entry = parser.first(in: data)
            while let current = entry {
                try take(current, mayLeaveHole: true)
                entry = parser.nextElement(after: current)
            }
            if parser.kind(more) != .yes || last == before { return }
        }
    }

    /// True when the entry was the next one, and is printed; false when one before it is missing.
    @discardableResult
    private func take(_ entry: JSONNode, mayLeaveHole: Bool) throws -> Bool {
        let parser = client.parser
        guard let node = parser.field(entry, "seq"), let seq = parser.unsigned(node) else {
            throw ClientFailure(exitCode: 70, message: "An entry came without its seq.")
        }
        if seq <= last { return true }
        if seq > last + 1 {
            guard mayLeaveHole else { return false }
            sayError("entries \(last + 1) to \(seq - 1) are not for this credential")
        }
        try writeLine(text.line(parser, entry, seq: seq))
        last = seq
        return true
    }

    // MARK: Live

    /// Until SIGINT, or until nobody reads, or until the service refuses.
    func follow() throws {
        while true {
            var pause: UInt64
            do {
                pause = try stream()
            } catch let failure as ClientFailure where failure.isTransient {
                if !isLost { sayError("\(failure.message) Trying on.") }
                isLost = true
                pause = max(backoff.next(), failure.retryAfterSeconds * 1000)
            }
            let end = client.now + pause
            while client.now < end {
                if isReaderGone() { throw ReaderGone() }
                try client.sleep(milliseconds: min(end - client.now, 200))
            }
        }
    }

    /// Reads one stream to its end; returns how many milliseconds to wait before the next.
    private func stream() throws -> UInt64 {
        let request = ServiceRequest(
            path: "\(path)/events",
            fields: ["Accept: text/event-stream", "Last-Event-ID: \(last)"])
        var decoder = EventStreamDecoder(eventBytesMax: Self.eventBytesMax)
        try client.begin(request)
        var heard = client.now
        var isOver = false
        while !isOver {
            isOver = try client.step()
            if isReaderGone() { throw ReaderGone() }
            let status = client.status
            guard status == 200 else {
                if isOver { throw client.failure(of: client.response(), request) }
                try checkSilence(since: heard)
                continue
            }
            isConnected()
            let bytes = client.takeBytes()
            if bytes.count > 0 { heard = client.now }
            try checkSilence(since: heard)
            do {
                try decoder.append(bytes.bytes)
            } catch {
                throw ClientFailure(
                    exitCode: 70,
                    message: "An event has more than \(Self.eventBytesMax) bytes.")
            }
            while let event = decoder.next() {
                guard try take(event) else {
                    // One request at a time: the history, and then a stream from there.
                    try catchUp()
                    return 0
                }
            }
        }
        let wait = decoder.retryMilliseconds.map { min($0, Backoff.lastMilliseconds) }
        return wait ?? backoff.next()
    }

    private func isConnected() {
        backoff.reset()
        if isLost { sayError("connected again") }
        isLost = false
    }

    private func checkSilence(since heard: UInt64) throws {
        guard client.now >= heard + Self.silenceMilliseconds else { return }
        throw ClientFailure(
            exitCode: 69, message: "The service has said nothing for 45 s.", isTransient: true)
    }

    /// False when the stream leaves something out that the history may have.
    private func take(_ event: ReceivedEvent) throws -> Bool {
        if event.type == "gap" { return false }
        // What is under way (typing, words of a run) is not part of the log.
        guard event.type == "message" else { return true }
        let parser = client.parser
        let document = ByteBlock(event.data)
        guard parser.parse(document.bytes),
            let entry = parser.object(JSONParser.root, "message")
        else {
            throw ClientFailure(exitCode: 70, message: "An event came that is no entry.")
        }
        return try take(entry, mayLeaveHole: false)
    }
}

// Server-Sent Events as a client reads them (WHATWG HTML, section 9.2.6): bytes come in pieces of any
// size, events go out. Lines end with LF, CR or CRLF; a line may be split anywhere, between CR and LF
// too. What a field means is the caller's; the last id is kept, as for Last-Event-ID.

import Bytes

public struct ReceivedEvent: Equatable, Sendable {
    /// "message" unless the stream named another.
    public let type: String
    /// The lines of `data`, joined by LF.
    public let data: [UInt8]
    /// The id of this event or the last one before it; empty when none was told.
    public let lastID: String
}

public enum EventStreamError: Error, Equatable {
    /// An event is larger than the bound.
    case tooLarge
}

public struct EventStreamDecoder {
    private let eventBytesMax: Int
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var type: [UInt8] = []
    private var id: [UInt8] = []
    private var wasCarriageReturn = false
    private var isFirstLine = true
    private var events: [ReceivedEvent] = []

    /// The last `retry`, in milliseconds.
    public private(set) var retryMilliseconds: UInt64?

    public init(eventBytesMax: Int) { self.eventBytesMax = eventBytesMax }

    /// Takes the next bytes of the stream. Throws when an event outgrows its bound: the stream is
    /// then of no use any more.
    public mutating func append(_ bytes: RawSpan) throws(EventStreamError) {
        for offset in 0..<bytes.byteCount {
            let byte = bytes.byte(at: offset)
            let followsReturn = wasCarriageReturn
            wasCarriageReturn = byte == 0x0D
            switch byte {
            case 0x0A where followsReturn: break
            case 0x0A, 0x0D: endLine()
            default:
                line.append(byte)
                guard line.count + data.count <= eventBytesMax else { throw .tooLarge }
            }
        }
    }

    /// The next event that is whole; nil when more bytes are needed.
    public mutating func next() -> ReceivedEvent? {
        events.isEmpty ? nil : events.removeFirst()
    }

    private mutating func endLine() {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        if line.isEmpty { return dispatch() }
        let colon = line.firstIndex(of: 0x3A) ?? line.count
        var value = line[min(colon + 1, line.count)...]
        if value.first == 0x20 { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "data":
            if hasData { data.append(0x0A) }
            hasData = true
            data += value
        case "event": type = Array(value)
        case "id": if !value.contains(0) { id = Array(value) }
        case "retry":
            // Digits alone: no sign.
            if let wait = UInt64(String(decoding: value, as: UTF8.self)), value.first != 0x2B {
                retryMilliseconds = wait
            }
        default: break  // A comment, or a field of a later time.
        }
    }

    private mutating func dispatch() {
        if hasData {
            events.append(
                ReceivedEvent(
                    type: type.isEmpty ? "message" : String(decoding: type, as: UTF8.self),
                    data: data, lastID: String(decoding: id, as: UTF8.self)))
        }
        hasData = false
        data.removeAll(keepingCapacity: true)
        type.removeAll(keepingCapacity: true)
    }
}

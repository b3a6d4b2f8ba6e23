// One request on its way in: head, then body, until it can be handled as a whole.
//
//     head ──complete──▶ announced ──no body──▶ request
//                            ├── Content-Length ──▶ waits until that many bytes lie behind the head
//                            ├── chunked ──▶ decoded into `body` as it comes
//                            └── the caller takes the body as a stream (`streamBody`)
//
// It owns no bytes of the head or of a body with a length: they stay in the caller's buffer, which
// keeps growing from the head's first byte until the request is complete. One of these serves all
// connections of a core whose requests arrive whole; a connection keeps one of its own only while a
// request is partial.

import Bytes
import ChatModel
import Wire

/// Why a request is refused before it is handled.
public enum RequestFault: Error, Equatable {
    case http(HTTPError)
    /// 413.
    case bodyTooLarge
}

/// Where a complete request's body is.
public enum RequestBody: Equatable {
    /// In the caller's bytes.
    case inPlace(ByteRange)
    /// In the assembler's `body` writer.
    case decoded

    /// Bytes of the body, decoded.
    public func count(_ assembler: RequestAssembler) -> Int {
        switch self {
        case .inPlace(let range): range.count
        case .decoded: assembler.body.count
        }
    }
}

public enum RequestProgress: Equatable {
    case needsMoreBytes
    /// The head is complete and a body follows. Said once; call again to go on.
    case headComplete
    case complete(body: RequestBody, consumedBytes: Int)
}

/// A step of a body that is taken as a stream; offsets are into the caller's bytes.
public enum BodyProgress: Equatable {
    case data(ByteRange, next: Int)
    case needsMoreBytes(next: Int)
    case end(next: Int)
}

@safe public final class RequestAssembler {
    private enum Phase { case head, announced, body }

    // Safety: both initialised in init, freed in deinit; behind pointers because a class's property
    // that is lent to the parser would be registered with the exclusivity checker each time.
    private let storage = UnsafeMutablePointer<HTTPRequestHead>.allocate(capacity: 1)
    public var head: HTTPRequestHead {
        unsafeAddress { unsafe UnsafePointer(storage) }
    }
    private let parser = UnsafeMutablePointer<HTTPHeadParser>.allocate(capacity: 1)
    private var decoder = HTTPChunkDecoder()
    private var phase = Phase.head
    public private(set) var headBytes = 0
    private var chunkOffset = 0
    /// The decoded body of a chunked request.
    public private(set) var body = ByteWriter(capacity: 0)
    private var streamBytesLeft: UInt64 = 0

    public init() {
        unsafe storage.initialize(to: HTTPRequestHead())
        unsafe parser.initialize(to: HTTPHeadParser())
    }

    deinit {
        unsafe parser.deinitialize(count: 1)
        unsafe parser.deallocate()
        unsafe storage.deinitialize(count: 1)
        unsafe storage.deallocate()
    }

    public var isInBody: Bool { phase != .head }
    /// Memory that a request holds here while it is not whole.
    public var heldBytes: Int { Self.ownBytes + body.capacityBytes }
    private static let ownBytes = 2048

    public func reset() {
        unsafe parser.pointee.reset()
        if phase != .head { decoder = HTTPChunkDecoder() }
        phase = .head
        headBytes = 0
        chunkOffset = 0
        if body.count > 0 { body = ByteWriter(capacity: 0) }
    }

    /// `bytes` starts at the head's first byte and has grown since the last call.
    public func next(_ bytes: RawSpan, bodyBytesMax: Int) throws(RequestFault) -> RequestProgress {
        guard phase == .head else {
            phase = .body
            return try nextOfBody(bytes, bodyBytesMax)
        }
        guard bytes.byteCount > 0 else { return .needsMoreBytes }
        switch try parseHead(bytes) {
        case .needsMoreBytes: return .needsMoreBytes
        case .complete(let count): headBytes = count
        }
        switch head.framing {
        case .none, .length(0): return .complete(body: .inPlace(.empty), consumedBytes: headBytes)
        case .length(let count) where !head.expectContinue && count <= UInt64(bodyBytesMax):
            let end = headBytes + Int(count)
            if bytes.byteCount >= end {
                return .complete(body: .inPlace(ByteRange(headBytes, end)), consumedBytes: end)
            }
        default: break
        }
        phase = .announced
        chunkOffset = headBytes
        return .headComplete
    }

    private func parseHead(_ bytes: RawSpan) throws(RequestFault) -> HTTPParseOutcome {
        do throws(HTTPError) {
            return try unsafe parser.pointee.parse(bytes, into: &storage.pointee)
        } catch {
            throw .http(error)
        }
    }

    private func nextOfBody(
        _ bytes: RawSpan, _ bodyBytesMax: Int
    ) throws(RequestFault) -> RequestProgress {
        if case .length(let count) = head.framing {
            guard count <= UInt64(bodyBytesMax) else { throw .bodyTooLarge }
            let end = headBytes + Int(count)
            guard bytes.byteCount >= end else { return .needsMoreBytes }
            return .complete(body: .inPlace(ByteRange(headBytes, end)), consumedBytes: end)
        }
        while true {
            switch try decode(bytes, from: chunkOffset) {
            case .data(let range, let next):
                guard body.count + range.count <= bodyBytesMax else { throw .bodyTooLarge }
                body.append(bytes.part(range))
                chunkOffset = next
            case .needsMoreBytes(let next):
                chunkOffset = next
                // What chunking adds is bounded too: one byte a chunk would hold six times the
                // body.
                guard bytes.byteCount - headBytes <= 2 * bodyBytesMax + 65_536 else {
                    throw .bodyTooLarge
                }
                return .needsMoreBytes
            case .end(let next): return .complete(body: .decoded, consumedBytes: next)
            }
        }
    }

    private func decode(_ bytes: RawSpan, from offset: Int) throws(RequestFault) -> ChunkOutcome {
        do throws(HTTPError) {
            return try decoder.next(bytes, from: offset)
        } catch {
            throw .http(error)
        }
    }

    /// The caller takes the body as a stream; the head's bytes are done with.
    public func streamBody() {
        if case .length(let count) = head.framing { streamBytesLeft = count }
        phase = .body
    }

    /// The next piece of a streamed body, from `offset` on.
    public func nextOfStream(
        _ bytes: RawSpan, from offset: Int
    ) throws(RequestFault) -> BodyProgress {
        if case .length = head.framing {
            if streamBytesLeft == 0 { return .end(next: offset) }
            let count = Int(min(streamBytesLeft, UInt64(bytes.byteCount - offset)))
            if count == 0 { return .needsMoreBytes(next: offset) }
            streamBytesLeft -= UInt64(count)
            return .data(ByteRange(offset, offset + count), next: offset + count)
        }
        switch try decode(bytes, from: offset) {
        case .data(let range, let next): return .data(range, next: next)
        case .needsMoreBytes(let next): return .needsMoreBytes(next: next)
        case .end(let next): return .end(next: next)
        }
    }
}

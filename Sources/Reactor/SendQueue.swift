// What waits to be sent on one connection: a list of segments in a pool that the whole loop shares.
// An idle connection holds no memory for sending.

import Bytes
import Glibc

/// A connection's own part: 16 bytes.
public struct SendQueue {
    var head: UInt32 = .max
    var tail: UInt32 = .max
    /// Bytes that were queued and not yet taken by the kernel. Over TLS those that are records
    /// already count as such (TLS/SegmentPool+Sealing.swift).
    public internal(set) var byteCount = 0
    public var isInFlight = false

    public init() {}
    public var isEmpty: Bool { byteCount == 0 }
}

/// Owner: one loop. Small writes are copied together into 4 KiB chunks; blocks are referenced, not
/// copied.
@safe public final class SegmentPool {
    // Safety: a segment's base points into a chunk of this pool or into its block, which it
    // retains.
    @unsafe private struct Segment {
        var base: UnsafeRawPointer
        var start: UInt32
        var end: UInt32
        var next: UInt32
        /// nil: the segment is a chunk of `chunkBytes`.
        var block: ByteBlock?
    }

    static let chunkBytes = 4096
    /// Blocks up to this size are copied: cheaper than a vector and a reference of their own.
    static let copyBytesMax = 1024
    static let vectorsPerSendMax = 64

    private var segments: [Segment]
    private let freeSegments = FlatArray<UInt32>()
    private let freeChunks: FlatArray<UnsafeMutableRawPointer>
    /// Chunks ever made; what is resident for sending is this many times 4 KiB at most.
    public private(set) var chunkCount = 0
    /// Bytes of the chunks that are in use: answers, replays and small frames that were not taken
    /// yet. Large frames are shared between sockets and do not count.
    public var usedBytes: Int { unsafe (chunkCount - freeChunks.count) * Self.chunkBytes }

    public init() {
        unsafe segments = []
        unsafe freeChunks = FlatArray()
    }

    deinit { while let chunk = unsafe freeChunks.popLast() { unsafe chunk.deallocate() } }

    private func newSegment(_ base: UnsafeRawPointer, end: Int, block: ByteBlock?) -> UInt32 {
        let segment = unsafe Segment(
            base: base, start: 0, end: UInt32(end), next: .max, block: block)
        if let index = freeSegments.popLast() {
            unsafe segments[Int(index)] = unsafe segment
            return index
        }
        unsafe segments.append(segment)
        return UInt32(unsafe segments.count - 1)
    }

    private func link(_ index: UInt32, to queue: inout SendQueue) {
        if queue.tail == .max {
            queue.head = index
        } else {
            unsafe segments[Int(queue.tail)].next = index
        }
        queue.tail = index
    }

    private func takeChunk() -> UnsafeMutableRawPointer {
        if let chunk = unsafe freeChunks.popLast() { return unsafe chunk }
        chunkCount += 1
        return UnsafeMutableRawPointer.allocate(byteCount: Self.chunkBytes, alignment: 64)
    }

    /// Queues a copy of the span.
    public func append(_ span: RawSpan, to queue: inout SendQueue) {
        queue.byteCount += span.byteCount
        var offset = 0
        while offset < span.byteCount {
            var room = 0
            if queue.tail != .max, unsafe segments[Int(queue.tail)].block == nil {
                room = unsafe Self.chunkBytes - Int(segments[Int(queue.tail)].end)
            }
            if room == 0 {
                link(
                    unsafe newSegment(UnsafeRawPointer(takeChunk()), end: 0, block: nil), to: &queue
                )
                room = Self.chunkBytes
            }
            let index = Int(queue.tail)
            let count = min(room, span.byteCount - offset)
            unsafe span.extracting(offset..<offset + count).withUnsafeBytes { source in
                // Safety: the chunk has room for count bytes behind end; bytes that are in flight
                // end there.
                let target =
                    unsafe UnsafeMutableRawPointer(mutating: segments[index].base)
                    + Int(segments[index].end)
                unsafe target.copyMemory(
                    from: source.baseAddress.unsafelyUnwrapped, byteCount: count)
            }
            unsafe segments[index].end += UInt32(count)
            offset += count
        }
    }

    /// Queues the block's bytes from `offset` on; it stays alive until they are sent.
    public func append(_ block: ByteBlock, from offset: Int = 0, to queue: inout SendQueue) {
        if block.count - offset <= Self.copyBytesMax {
            append(block.bytes.extracting(offset..<block.count), to: &queue)
            return
        }
        // Safety: the segment retains the block, so its address stays valid.
        let index = unsafe newSegment(block.address, end: block.count, block: block)
        unsafe segments[Int(index)].start = UInt32(offset)
        link(index, to: &queue)
        queue.byteCount += block.count - offset
    }

    /// Submits one send of what is queued; the queue must not be empty or in flight.
    public func submit(
        _ queue: inout SendQueue, descriptor: Int32, token: Token, to operations: OperationQueue
    ) {
        precondition(!queue.isInFlight && !queue.isEmpty, "one send at a time, and of something")
        let start = unsafe operations.vectors.count
        var index = queue.head
        var count = 0
        while index != .max, count < Self.vectorsPerSendMax {
            let segment = unsafe segments[Int(index)]
            let length = unsafe Int(segment.end - segment.start)
            let base = unsafe UnsafeMutableRawPointer(mutating: segment.base + Int(segment.start))
            unsafe operations.vectors.append(iovec(iov_base: base, iov_len: length))
            index = unsafe segment.next
            count += 1
        }
        operations.operations.append(
            Operation(
                kind: .send, descriptor: descriptor, token: token, vectorStart: Int32(start),
                vectorCount: Int32(count)))
        queue.isInFlight = true
    }

    /// Gives back what the kernel has taken.
    public func didSend(_ byteCount: Int, from queue: inout SendQueue) {
        queue.isInFlight = false
        drop(byteCount, from: &queue)
    }

    /// Takes the first bytes out of the queue.
    func drop(_ byteCount: Int, from queue: inout SendQueue) {
        queue.byteCount -= byteCount
        assert(queue.byteCount >= 0, "more was taken than was queued")
        var rest = byteCount
        while rest > 0 {
            let index = queue.head
            let length = unsafe Int(segments[Int(index)].end - segments[Int(index)].start)
            if rest < length {
                unsafe segments[Int(index)].start += UInt32(rest)
                return
            }
            rest -= length
            queue.head = unsafe segments[Int(index)].next
            free(index)
        }
        if queue.head == .max { queue.tail = .max }
    }

    /// The queue's first bytes in one piece: where they lie, or, when they lie in several segments,
    /// gathered in `room`, which they fill at most.
    @unsafe func front(
        of queue: SendQueue, gatheredIn room: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        var index = queue.head
        var filled = 0
        while index != .max, filled < room.count {
            let segment = unsafe segments[Int(index)]
            let start = unsafe segment.base + Int(segment.start)
            let count = unsafe min(Int(segment.end - segment.start), room.count - filled)
            if filled == 0, unsafe count == room.count || segment.next == .max {
                return unsafe UnsafeRawBufferPointer(start: start, count: count)
            }
            // Safety: count bytes lie behind start, and as many are free in the room.
            unsafe (room.baseAddress.unsafelyUnwrapped + filled)
                .copyMemory(from: start, byteCount: count)
            filled += count
            index = unsafe segment.next
        }
        return unsafe UnsafeRawBufferPointer(start: room.baseAddress, count: filled)
    }

    /// Drops everything. The descriptor must have been closed first if a send is in flight.
    public func clear(_ queue: inout SendQueue) {
        while queue.head != .max {
            let index = queue.head
            queue.head = unsafe segments[Int(index)].next
            free(index)
        }
        queue = SendQueue()
    }

    private func free(_ index: UInt32) {
        if unsafe segments[Int(index)].block != nil {
            unsafe segments[Int(index)].block = nil
        } else {
            unsafe freeChunks.append(UnsafeMutableRawPointer(mutating: segments[Int(index)].base))
        }
        freeSegments.append(index)
    }
}

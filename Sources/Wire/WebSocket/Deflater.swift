// Owner: one socket when the context is kept, else one loop for all its sockets with this window.
// zlib's raw deflate, one call a message.
// Memory: (1 << windowBits + 2) + (1 << memoryLevel + 9) bytes, 256 KiB by default.

import Bytes
import CZlib

@safe public final class Deflater {
    // Safety: one z_stream at a fixed address (zlib's state points back at it), initialised in init
    // and ended in deinit. Its next_in and next_out are only set while a call holds both buffers.
    private let stream: UnsafeMutablePointer<z_stream>

    /// `windowBits` 9...15 as negotiated for the server, `level` 1...9, `memoryLevel` 1...9.
    public init(windowBits: UInt8, level: Int32 = 6, memoryLevel: Int32 = 8) {
        precondition((9...15).contains(windowBits), "zlib's raw windows are 9 to 15 bits")
        precondition((1...9).contains(level), "zlib's levels that compress are 1 to 9")
        precondition((1...9).contains(memoryLevel), "zlib's memory levels are 1 to 9")
        // Safety: allocated, initialised and handed to zlib before anything else sees it.
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let status = unsafe deflateInit2_(
            stream, level, Z_DEFLATED, -Int32(windowBits), memoryLevel, Z_DEFAULT_STRATEGY,
            zlibVersion(), Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "zlib could not set up a deflater")
    }

    deinit {
        // Safety: initialised in init, used by nobody any more.
        _ = unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Appends the payload of one compressed message (RFC 7692 section 7.2.1). With `keepContext`
    /// the next message may refer to this one; both ends must have agreed on that.
    public func compress(_ payload: RawSpan, into writer: ByteWriter, keepContext: Bool) {
        if payload.byteCount == 0 {
            // 7.2.3.6: the empty message is one empty block. zlib writes nothing for a second flush
            // in a row, so it is not asked.
            writer.append(0)
            return
        }
        let start = writer.count
        unsafe payload.withUnsafeBytes { source in
            guard let first = source.baseAddress else { return }
            // Safety: zlib only reads next_in; the type lacks a const for historical reasons.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(
                mutating: first.assumingMemoryBound(to: UInt8.self))
            unsafe stream.pointee.avail_in = UInt32(source.count)
            // Safety: source does not outlive this closure.
            defer { unsafe stream.pointee.next_in = nil }
            // Room for everything at once: an output that is exactly full when the flush ends would
            // be followed by a second, useless flush marker.
            let bound = unsafe Int(deflateBound(stream, UInt(source.count)))
            while !flush(into: writer, room: bound + Self.flushMarkerBytesMax) {}
        }
        // 7.2.1: the four bytes 00 00 FF FF that end the flush are not sent.
        precondition(writer.count >= start + 4, "a sync flush ends in an empty block")
        assert(writer.bytes.load32(at: writer.count - 4) == 0xFFFF_0000, "not a sync flush")
        writer.truncate(to: writer.count - 4)
        // Safety: the stream is initialised.
        if !keepContext { _ = unsafe deflateReset(stream) }
    }

    /// One call into zlib. True when the flush is complete.
    private func flush(into writer: ByteWriter, room: Int) -> Bool {
        let status = writer.append(upTo: room) { output in
            unsafe output.withUnsafeMutableBytes { buffer, initializedCount in
                // Safety: buffer is writable for the time of this call.
                unsafe stream.pointee.next_out =
                    buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
                unsafe stream.pointee.avail_out = UInt32(buffer.count)
                defer { unsafe stream.pointee.next_out = nil }
                let status = unsafe deflate(stream, Z_SYNC_FLUSH)
                // Safety: zlib has written everything before avail_out.
                initializedCount = unsafe buffer.count - Int(stream.pointee.avail_out)
                return status
            }
        }
        precondition(status == Z_OK || status == Z_BUF_ERROR, "zlib was given a broken stream")
        // Safety: reads a field of the stream.
        return unsafe stream.pointee.avail_out > 0
    }

    /// Bits left over from the last message, the empty block and its length.
    private static let flushMarkerBytesMax = 16
}

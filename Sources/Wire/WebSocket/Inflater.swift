// Owner: one socket, or the pool while the peer keeps no context. zlib's raw inflate, fed in
// pieces.
// Memory: about 7 KiB, and a window of 1 << windowBits from the first message on.
// Unsafe: this file and Deflater.swift are the only ones of the room that touch zlib.

import Bytes
import CZlib

@safe public final class Inflater {
    // Safety: one z_stream at a fixed address (zlib's state points back at it), initialised in init
    // and ended in deinit. Its next_in and next_out are only set while a call holds both buffers.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether a message may refer to the ones before it.
    public let keepsContext: Bool
    /// The last thing that was read is a block with BFINAL set.
    private var hasEnded = false

    /// `windowBits` is the peer's largest window, 8...15.
    public init(windowBits: UInt8, keepsContext: Bool) {
        precondition((8...15).contains(windowBits), "a window has 8 to 15 bits")
        self.keepsContext = keepsContext
        // Safety: allocated, initialised and handed to zlib before anything else sees it.
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // zlib compressors that are told 8 have always used 9: a window of 9 reads both.
        let bits = -Int32(max(9, windowBits))
        let status = unsafe inflateInit2_(
            stream, bits, zlibVersion(), Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "zlib could not set up an inflater")
    }

    deinit {
        // Safety: initialised in init, used by nobody any more.
        _ = unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Inflates the next piece of a message to the end of `writer`. With `endOfMessage` the tail
    /// that the sender took off is put back (RFC 7692 section 7.2.2) and the message must end
    /// there.
    ///
    /// Throws `inflatedTooBig` before `writer` would hold more than `limitBytes`, and `badDeflate`;
    /// the inflater is of no use after either. What was inflated until then stays in `writer`.
    public func inflate(
        _ chunk: RawSpan, into writer: ByteWriter, limitBytes: Int, endOfMessage: Bool
    ) throws(WebSocketError) {
        try pump(chunk, into: writer, limitBytes: limitBytes)
        guard endOfMessage else { return }
        // 7.2.3.4: a message may end in a final block. Its sender should have put an empty block
        // behind it; where it did not, there is no tail to put back.
        if !hasEnded {
            let tail: [4 of UInt8] = [0x00, 0x00, 0xFF, 0xFF]
            // Safety: bytes have no padding between them.
            try unsafe pump(tail.span.bytes, into: writer, limitBytes: limitBytes)
            // Safety: reads a field of the stream. 128: behind a block and before the next; the low
            // bits: input bits not used yet. Anything else is a message cut short.
            let position = unsafe stream.pointee.data_type
            if hasEnded || position & 0xFF != 128 { throw .badDeflate }
        }
        restart()
    }

    /// Makes the stream ready for the next message.
    private func restart() {
        // Safety: the stream is initialised; neither call looks at the buffers.
        if !keepsContext {
            _ = unsafe inflateReset(stream)
        } else if hasEnded {
            _ = unsafe inflateResetKeep(stream)
        }
        hasEnded = false
    }

    private func pump(
        _ input: RawSpan, into writer: ByteWriter, limitBytes: Int
    ) throws(WebSocketError) {
        try unsafe input.withUnsafeBytes { source throws(WebSocketError) in
            guard let start = source.baseAddress, source.count > 0 else { return }
            // Safety: zlib only reads next_in; the type lacks a const for historical reasons.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(
                mutating: start.assumingMemoryBound(to: UInt8.self))
            unsafe stream.pointee.avail_in = UInt32(source.count)
            // Safety: source does not outlive this closure.
            defer { unsafe stream.pointee.next_in = nil }
            var isDrained = false
            while !isDrained {
                if hasEnded {
                    // 7.2.3.5: blocks may follow a final one. The window stays, as for any message.
                    if unsafe stream.pointee.avail_in == 0 { return }
                    _ = unsafe inflateResetKeep(stream)
                    hasEnded = false
                }
                isDrained = try step(into: writer, limitBytes: limitBytes)
            }
        }
    }

    /// One call into zlib. True when all input was read and nothing is left to be written.
    private func step(into writer: ByteWriter, limitBytes: Int) throws(WebSocketError) -> Bool {
        let room = min(limitBytes - writer.count, max(writer.spareBytes, Self.outputBytesMin))
        guard room > 0 else { return try stepAtLimit() }
        let status = writer.append(upTo: room) { output in
            unsafe output.withUnsafeMutableBytes { buffer, initializedCount in
                let status = unsafe inflateOnce(
                    into: buffer.baseAddress, count: buffer.count)
                // Safety: zlib has written everything before avail_out.
                initializedCount = unsafe buffer.count - Int(stream.pointee.avail_out)
                return status
            }
        }
        try check(status)
        // Safety: reads two fields of the stream.
        return unsafe stream.pointee.avail_in == 0 && stream.pointee.avail_out > 0
    }

    /// The output has reached its limit: goes on into one byte of scratch, which must stay empty.
    private func stepAtLimit() throws(WebSocketError) -> Bool {
        var scratch: UInt8 = 0
        let status = unsafe withUnsafeMutableBytes(of: &scratch) { buffer in
            unsafe inflateOnce(into: buffer.baseAddress, count: 1)
        }
        // A byte too many comes before what follows it, a fault in the same piece included: what is
        // told must not depend on how the message was cut.
        // Safety: reads two fields of the stream.
        if unsafe stream.pointee.avail_out == 0 { throw .inflatedTooBig }
        try check(status)
        return unsafe stream.pointee.avail_in == 0
    }

    @unsafe private func inflateOnce(into output: UnsafeMutableRawPointer?, count: Int) -> Int32 {
        // Safety: the caller lends count writable bytes for the time of the call.
        unsafe stream.pointee.next_out = output?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.avail_out = UInt32(count)
        defer { unsafe stream.pointee.next_out = nil }
        return unsafe CZlib.inflate(stream, Z_NO_FLUSH)
    }

    private func check(_ status: Int32) throws(WebSocketError) {
        switch status {
        case Z_OK, Z_BUF_ERROR: return
        case Z_STREAM_END: hasEnded = true
        case Z_DATA_ERROR, Z_NEED_DICT: throw .badDeflate
        default: preconditionFailure("zlib ran out of memory or was given a broken stream")
        }
    }

    /// Less room than this is not worth a call into zlib.
    private static let outputBytesMin = 1024
}

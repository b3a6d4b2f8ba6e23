// Writing into a ByteWriter in place: for codecs that fill memory themselves (zlib), and for masked
// frames. The pointer arithmetic stays here; what callers see is a bounded output span.

import CLinux

extension ByteWriter {
    /// The allocated size, for owners that decide whether a writer is worth keeping.
    @inlinable public var capacityBytes: Int { capacity }

    /// How many bytes can be written before the buffer has to grow.
    @inlinable public var spareBytes: Int { capacity &- filled }

    /// Lends `bytesMax` unwritten bytes to `body` and keeps as many as it initialised.
    @inlinable public func append<Value>(
        upTo bytesMax: Int, _ body: (inout OutputRawSpan) -> Value
    ) -> Value {
        precondition(bytesMax >= 0, "a negative number of bytes cannot be lent")
        reserve(bytesMax)
        // Safety: reserve made room for bytesMax bytes, and the span does not outlive the call.
        let room = unsafe UnsafeMutableRawBufferPointer(start: base + filled, count: bytesMax)
        var output = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
        let value = body(&output)
        // Safety: finalize traps when body swapped the span for another one.
        filled &+= unsafe output.finalize(for: room)
        return value
    }

    /// Appends a copy of `span` XORed with the 4-byte `mask` (RFC 6455 section 5.3).
    /// `mask` is little-endian: its lowest byte meets the first byte.
    @inlinable public func append(_ span: RawSpan, mask: UInt32) {
        let start = filled
        append(span)
        // Safety: the bytes from start to filled were written on the line above.
        unsafe cl_xor_mask(
            (base + start).assumingMemoryBound(to: UInt8.self), filled &- start, mask)
    }
}

// ASCII in raw bytes: comparisons without regard to case, trimming, digits.

import CLinux

extension RawSpan {
    /// Offset of the first byte at or after `start` that is not ASCII; `byteCount` when there is
    /// none. 16 bytes a step.
    @inlinable public func firstNonASCIIOffset(from start: Int = 0) -> Int {
        precondition(start >= 0 && start <= byteCount, "search starts past the received bytes")
        return unsafe withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return 0 }
            var i = start
            let count = raw.count
            while i &+ 16 <= count {
                // Safety: 16 bytes from i lie inside the span, by the loop's condition.
                let mask = unsafe cl_high_mask16(base + i)
                if mask != 0 { return i &+ mask.trailingZeroBitCount }
                i &+= 16
            }
            while i < count {
                // Safety: i < count.
                if unsafe raw[i] >= 0x80 { return i }
                i &+= 1
            }
            return count
        }
    }
}

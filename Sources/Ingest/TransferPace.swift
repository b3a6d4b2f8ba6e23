// Whether bytes that are waited for still move: those of a body on its way in, or of an answer that
// the peer should read. Looked at once a window, so it costs nothing while bytes come.

/// Owner: one connection. Counts are of whatever the caller counts, and may wrap around.
public struct TransferPace: Equatable, Sendable {
    /// Bytes that must move in each window.
    public let bytesPerWindow: UInt32
    /// The count at the last look.
    private var seenBytes: UInt32

    public init(bytesPerWindow: UInt32, countedBytes: UInt32) {
        self.bytesPerWindow = bytesPerWindow
        seenBytes = countedBytes
    }

    /// At the end of a window: true when enough has moved in it. The next window begins.
    public mutating func isKept(countedBytes: UInt32) -> Bool {
        let moved = countedBytes &- seenBytes
        seenBytes = countedBytes
        return moved >= bytesPerWindow
    }
}

import Rings

/// Requests by route, method and status: a fixed open-addressed table with one writing thread.
public final class RequestCounts: Sendable {
    private static let slots = 1024
    private let keys = AtomicWords(count: slots)
    private let counts = AtomicWords(count: slots)

    public init() {}

    /// Only the owning thread may call this.
    public func add(route: UInt8, method: UInt8, status: Int) {
        let key = 1 << 32 | UInt64(route) << 24 | UInt64(method) << 16 | UInt64(status & 0xFFFF)
        var index = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 54)
        for _ in 0..<Self.slots {
            let found = keys.load(index)
            if found == 0 { keys.store(key, at: index) }
            if found == key || found == 0 {
                counts.store(counts.load(index) &+ 1, at: index)
                return
            }
            index = (index + 1) & (Self.slots - 1)
        }
    }

    /// All rows with a count.
    public func forEach(
        _ body: (_ route: UInt8, _ method: UInt8, _ status: Int, _ count: UInt64) -> Void
    ) {
        for index in 0..<Self.slots {
            let key = keys.load(index)
            guard key != 0 else { continue }
            body(
                UInt8(truncatingIfNeeded: key >> 24), UInt8(truncatingIfNeeded: key >> 16),
                Int(key & 0xFFFF), counts.load(index))
        }
    }
}

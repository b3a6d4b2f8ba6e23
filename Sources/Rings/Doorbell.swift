// How a thread that has nothing to do is woken, without a system call while it is busy.
//
// sleeper                                   waker
//   sleeping = true                           push to a ring, publish
//   full fence                                full fence
//   look at every ring once more              if sleeping, exchange(false);
//                                             if it was true, ring the bell
//   nothing: block on the bell
//   something: sleeping = false, go on
//
// Each side writes its own word, fences, then reads the other's. Were both reads to miss, each
// fence would have to come before the other, which a total order of full fences forbids: so either
// the sleeper sees the element or the waker sees the flag. The exchange lets one waker of many
// write the bell's descriptor.

import Synchronization

public final class Doorbell: Sendable {
    /// The eventfd that the sleeper waits for; owned by whoever made the bell.
    public let descriptor: Int32
    private let sleeping = Atomic<Bool>(false)
    private let rings = Atomic<Int>(0)
    private let write: @Sendable (Int32) -> Void
    private let clear: @Sendable (Int32) -> Void

    /// `write` writes to the descriptor, and `clear` takes that back; there are no other system
    /// calls in this protocol.
    public init(
        descriptor: Int32, write: @escaping @Sendable (Int32) -> Void,
        clear: @escaping @Sendable (Int32) -> Void = { _ in }
    ) {
        self.descriptor = descriptor
        self.write = write
        self.clear = clear
    }

    /// Takes the ring back, so that the descriptor is quiet until the next.
    public func silence() { clear(descriptor) }

    /// Sleeper: call, then look at every ring again, and only then block.
    public func announceSleep() {
        sleeping.store(true, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Sleeper: awake again, whether it has blocked or found work at the second look.
    public func announceAwake() { sleeping.store(false, ordering: .relaxed) }

    /// Waker: call once per turn and peer, after publishing.
    public func ringIfAsleep() {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard sleeping.load(ordering: .relaxed) else { return }
        if sleeping.exchange(false, ordering: .acquiringAndReleasing) {
            rings.wrappingAdd(1, ordering: .relaxed)
            write(descriptor)
        }
    }

    /// How often the descriptor was written.
    public var ringCount: Int { rings.load(ordering: .relaxed) }
}

// One core's loop. A turn reads aloud: reap completions, run them, drain rings, run due timers,
// flush rings and corked writes, submit, sleep only after the doorbell's second look. Nothing runs
// in direct reaction to an outside event; the loop goes at its own pace, so it can batch.

import Bytes
import CLinux
import Rings

/// What runs on a loop. Each call is once a turn, not once an event.
public protocol LoopDelegate: AnyObject {
    /// Runs the completions; what they cause is queued, not submitted.
    func run(_ batch: CompletionBatch)
    /// Drains inbound rings (bounded), fires timers, flushes outbound rings and corked writes.
    func finishTurn()
    /// True while a ring holds work for this loop.
    func hasRingWork() -> Bool
    /// Nanoseconds until the next timer; nil for none.
    func nanosecondsUntilNextTimer() -> UInt64?
    /// False ends the loop after this turn.
    var isRunning: Bool { get }
}

/// The loop's clock: read once a turn, the same for everything that happens in it.
@safe public final class LoopClock {
    // Safety: two words that live as long as this object, used by its loop's thread.
    @usableFromInline let time = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)

    public init() { update() }
    deinit { unsafe time.deallocate() }

    @inlinable public var nanoseconds: UInt64 { unsafe time[0] }
    /// Since 1970, UTC.
    @inlinable public var milliseconds: UInt64 { unsafe time[1] }

    public func update() {
        unsafe time[0] = cl_monotonic_nanoseconds()
        unsafe time[1] = cl_realtime_milliseconds()
    }
}

public struct EventLoop<B: Backend & ~Copyable>: ~Copyable {
    private var backend: B
    private let operations: OperationQueue
    private let batch = CompletionBatch()
    private let clock: LoopClock
    private let doorbell: Doorbell

    public init(
        _ backend: consuming B, operations: OperationQueue, clock: LoopClock, doorbell: Doorbell
    ) {
        self.backend = backend
        self.operations = operations
        self.clock = clock
        self.doorbell = doorbell
    }

    public mutating func run<D: LoopDelegate>(_ delegate: D) {
        submit(delegate)
        while delegate.isRunning {
            sleep(delegate)
            clock.update()
            delegate.run(batch)
            batch.removeAll()
            delegate.finishTurn()
            submit(delegate)
        }
    }

    /// Hands operations over until none are left. Completions that are known at once (sends on
    /// epoll) are run here; each round needs a send to have gone through, so a full socket ends it.
    private mutating func submit<D: LoopDelegate>(_ delegate: D) {
        var rounds = 0
        while !operations.isEmpty {
            backend.submit(operations, into: batch)
            if batch.completions.isEmpty { return }
            delegate.run(batch)
            batch.removeAll()
            rounds += 1
            // What the last round caused is queued too, or the loop would sleep on it; then `sleep`
            // only looks.
            delegate.finishTurn()
            if rounds == 4 { return }
        }
    }

    private mutating func sleep<D: LoopDelegate>(_ delegate: D) {
        if !operations.isEmpty || delegate.hasRingWork() {
            backend.wait(timeoutNanoseconds: 0, into: batch)
            return
        }
        // Rings/Doorbell.swift: announce, look again, only then block.
        doorbell.announceSleep()
        let timeout = delegate.hasRingWork() ? 0 : delegate.nanosecondsUntilNextTimer() ?? .max
        backend.wait(timeoutNanoseconds: timeout, into: batch)
        doorbell.announceAwake()
    }
}

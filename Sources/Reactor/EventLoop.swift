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
/// A simulation gives it a source of its own; without one it reads the kernel's clocks.
@safe public final class LoopClock {
    // Safety: two words that live as long as this object, used by its loop's thread.
    @usableFromInline let time = UnsafeMutablePointer<UInt64>.allocate(capacity: 2)
    private let source: (() -> (nanoseconds: UInt64, milliseconds: UInt64))?

    public init(source: (() -> (nanoseconds: UInt64, milliseconds: UInt64))? = nil) {
        self.source = source
        update()
    }

    deinit { unsafe time.deallocate() }

    @inlinable public var nanoseconds: UInt64 { unsafe time[0] }
    /// Since 1970, UTC.
    @inlinable public var milliseconds: UInt64 { unsafe time[1] }

    public func update() {
        if let source {
            let now = source()
            unsafe time[0] = now.nanoseconds
            unsafe time[1] = now.milliseconds
            return
        }
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
    private var isAsleep = false

    public init(
        _ backend: consuming B, operations: OperationQueue, clock: LoopClock, doorbell: Doorbell
    ) {
        self.backend = backend
        self.operations = operations
        self.clock = clock
        self.doorbell = doorbell
    }

    public mutating func run<D: LoopDelegate>(_ delegate: D) {
        begin(delegate)
        while delegate.isRunning {
            let timeout = fallAsleep(delegate)
            wakeUp(delegate, timeoutNanoseconds: timeout)
        }
    }

    // A turn in its two halves, so that a simulation can let others run between them, where a
    // thread would block.

    /// Hands over what was queued before the first turn.
    public mutating func begin<D: LoopDelegate>(_ delegate: D) { submit(delegate) }

    /// How long the backend may block: 0 when there is work. From here on a doorbell is heeded.
    public mutating func fallAsleep<D: LoopDelegate>(_ delegate: D) -> UInt64 {
        if !operations.isEmpty || delegate.hasRingWork() { return 0 }
        // Rings/Doorbell.swift: announce, look again, only then block.
        doorbell.announceSleep()
        isAsleep = true
        return delegate.hasRingWork() ? 0 : delegate.nanosecondsUntilNextTimer() ?? .max
    }

    /// Blocks at most so long, and runs the turn.
    public mutating func wakeUp<D: LoopDelegate>(_ delegate: D, timeoutNanoseconds: UInt64) {
        // What the last turn could not hand over goes first. Were a completion to close a
        // connection whose send is still queued here, the send would name somebody else's bytes.
        if !operations.isEmpty { backend.submit(operations, into: batch) }
        backend.wait(timeoutNanoseconds: timeoutNanoseconds, into: batch)
        if isAsleep { doorbell.announceAwake() }
        isAsleep = false
        clock.update()
        delegate.run(batch)
        batch.removeAll()
        delegate.finishTurn()
        submit(delegate)
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
            // What the last round caused is queued too, or the loop would sleep on it; then
            // `fallAsleep` only looks.
            delegate.finishTurn()
            if rounds == 4 { return }
        }
    }
}

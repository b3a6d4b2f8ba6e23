// Owner: one loop. A hierarchical timing wheel: three levels of 256 slots, 4 ms a tick.
//
//     level 0: next 1.02 s    level 1: next 4.4 min    level 2: next 18.6 h (later: clamped)
//
// A timer is a row in parallel arrays, linked into its slot's ring by index. Setting and cancelling
// are O(1); a timer is moved down a level at most twice. No timer fires early; each fires within a
// tick.

import Bytes

/// What fires: the owner's own code and token, not a closure.
public struct TimerEvent: BitwiseCopyable, Sendable {
    public var code: UInt8
    public var token: Token

    public init(code: UInt8, token: Token) {
        self.code = code
        self.token = token
    }
}

public struct TimerID: Equatable, BitwiseCopyable, Sendable {
    let index: UInt32
    let generation: UInt32
    public static let none = TimerID(index: .max, generation: 0)
}

public final class TimerWheel {
    public static let tickNanoseconds: UInt64 = 4_000_000
    private static let slotBits: UInt64 = 8
    private static let slots: UInt64 = 256
    private static let levels = 3

    private struct Row {
        var event = TimerEvent(code: 0, token: .none)
        var dueTick: UInt64 = 0
        var next: UInt32 = .max
        var previous: UInt32 = .max
        var list: Int32 = -1
        var generation: UInt32 = 0
    }

    private var rows: [Row] = []
    private var free: [UInt32] = []
    private var heads = [UInt32](repeating: .max, count: Int(slots) * levels)
    /// All ticks up to and including this one have fired.
    private var currentTick: UInt64
    public private(set) var count = 0

    public init(nowNanoseconds: UInt64) { currentTick = nowNanoseconds / Self.tickNanoseconds }

    /// Fires at or after `dueNanoseconds` on the loop's clock.
    public func set(dueNanoseconds: UInt64, _ event: TimerEvent) -> TimerID {
        let index: UInt32
        if let reused = free.popLast() {
            index = reused
        } else {
            rows.append(Row())
            index = UInt32(rows.count - 1)
        }
        rows[Int(index)].event = event
        let tick = (dueNanoseconds + Self.tickNanoseconds - 1) / Self.tickNanoseconds
        rows[Int(index)].dueTick = max(tick, currentTick + 1)
        rows[Int(index)].generation &+= 1
        link(index)
        count += 1
        return TimerID(index: index, generation: rows[Int(index)].generation)
    }

    /// Does nothing when the timer has fired or was cancelled before.
    public func cancel(_ id: TimerID) {
        guard Int(id.index) < rows.count, rows[Int(id.index)].generation == id.generation,
            rows[Int(id.index)].list >= 0
        else { return }
        unlink(id.index)
        release(id.index)
    }

    /// Fires all timers that are due, in tick order.
    public func advance(toNanoseconds now: UInt64, _ fire: (TimerEvent) -> Void) {
        let target = now / Self.tickNanoseconds
        if count == 0 { currentTick = max(currentTick, target); return }
        while currentTick < target {
            currentTick += 1
            if currentTick & (Self.slots - 1) == 0 { cascade() }
            let list = Int(currentTick & (Self.slots - 1))
            while heads[list] != .max {
                let index = heads[list]
                unlink(index)
                let event = rows[Int(index)].event
                release(index)
                fire(event)
            }
            if count == 0 { currentTick = target }
        }
    }

    /// Nanoseconds from `now` until something may be due; nil when nothing is set.
    /// Exact within the next second; farther timers make it say one second at most.
    public func nanosecondsUntilNext(now: UInt64) -> UInt64? {
        if count == 0 { return nil }
        var tick = currentTick + 1
        let horizon = currentTick + Self.slots
        while tick < horizon {
            if heads[Int(tick & (Self.slots - 1))] != .max || tick & (Self.slots - 1) == 0 { break }
            tick += 1
        }
        let due = tick * Self.tickNanoseconds
        return due > now ? due - now : 0
    }

    private func link(_ index: UInt32) {
        let due = rows[Int(index)].dueTick
        let distance = due - currentTick
        let level: UInt64
        var slotTick = due
        if distance < Self.slots {
            level = 0
        } else if distance < Self.slots << Self.slotBits {
            level = 1
            slotTick = due >> Self.slotBits
        } else {
            level = 2
            let horizon = currentTick + (Self.slots - 1) << (2 * Self.slotBits)
            slotTick = min(due, horizon) >> (2 * Self.slotBits)
        }
        let list = Int(level * Self.slots + (slotTick & (Self.slots - 1)))
        rows[Int(index)].list = Int32(list)
        rows[Int(index)].previous = .max
        rows[Int(index)].next = heads[list]
        if heads[list] != .max { rows[Int(heads[list])].previous = index }
        heads[list] = index
    }

    private func unlink(_ index: UInt32) {
        let row = rows[Int(index)]
        if row.previous == .max {
            heads[Int(row.list)] = row.next
        } else {
            rows[Int(row.previous)].next = row.next
        }
        if row.next != .max { rows[Int(row.next)].previous = row.previous }
        rows[Int(index)].list = -1
    }

    private func release(_ index: UInt32) {
        rows[Int(index)].generation &+= 1
        free.append(index)
        count -= 1
    }

    /// Moves the timers of the upper slots that begin now one level down.
    private func cascade() {
        if (currentTick >> Self.slotBits) & (Self.slots - 1) == 0 {
            relink(Int(2 * Self.slots + (currentTick >> (2 * Self.slotBits)) & (Self.slots - 1)))
        }
        relink(Int(Self.slots + (currentTick >> Self.slotBits) & (Self.slots - 1)))
    }

    private func relink(_ list: Int) {
        var index = heads[list]
        heads[list] = .max
        while index != .max {
            let next = rows[Int(index)].next
            // A timer due at this very tick must still fire in it: level 0 has its slot.
            link(index)
            index = next
        }
    }
}

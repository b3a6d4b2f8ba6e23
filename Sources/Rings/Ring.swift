// A bounded single-producer single-consumer queue: one thread holds the producer end, one the
// consumer end.
//
//     line 0        line 2        line 4 …
//     ┌───────────┬─────────────┬──────────────────────────────┐
//     │ head      │ tail        │ slots[0 … capacity-1]        │
//     │ consumer  │ producer    │                              │
//     └───────────┴─────────────┴──────────────────────────────┘
//
// head and tail count elements since the start and never wrap in practice (2^63); slot = count &
// mask. They stand 128 bytes apart because the prefetcher of x86 fetches lines in pairs.
//
// Memory order, and why it is enough:
// - push: writes the slot, then stores tail with *release*. pop: loads tail with *acquire*, then
//   reads the
//   slot. The pair orders the slot's bytes before its publication.
// - pop: moves the element out, then stores head with *release*. push: loads head with *acquire*
//   before it
//   writes the slot again. The pair orders the last read of a slot before its next write.
// - Each end reads its own index relaxed, since nobody else writes it, and keeps a copy of the
//   other's so
//   that it touches the other's line only when the copy says full (or empty).
// - Nothing here orders a push against the sleeping flag of the other side: that is `Doorbell`'s
//   full fence.
//
// Budget: no allocation, no lock, no call; one line of each side moves per batch, not per element.

import Synchronization

/// The memory of a ring; freed, with what is still in it, when both ends are gone.
@safe @usableFromInline
final class RingStorage<Element: ~Copyable>: @unchecked Sendable {
    // Safety: the two ends are ~Copyable, so each index and each slot has one writer at a time; the
    // order of their accesses is argued in the file's header.
    @usableFromInline let head: UnsafeMutablePointer<Atomic<Int>>
    @usableFromInline let tail: UnsafeMutablePointer<Atomic<Int>>
    @usableFromInline let slots: UnsafeMutablePointer<Element>
    @usableFromInline let mask: Int
    private let memory: UnsafeMutableRawPointer

    init(capacity: Int) {
        precondition(
            capacity > 0 && capacity & (capacity - 1) == 0, "a ring's capacity is a power of two")
        mask = capacity - 1
        let indexBytes = 512
        unsafe memory = UnsafeMutableRawPointer.allocate(
            byteCount: indexBytes + capacity * MemoryLayout<Element>.stride, alignment: 128)
        unsafe head = unsafe memory.bindMemory(to: Atomic<Int>.self, capacity: 1)
        unsafe tail = unsafe (memory + 256).bindMemory(to: Atomic<Int>.self, capacity: 1)
        unsafe slots = unsafe (memory + indexBytes).bindMemory(to: Element.self, capacity: capacity)
        unsafe head.initialize(to: Atomic(0))
        unsafe tail.initialize(to: Atomic(0))
    }

    deinit {
        var index = unsafe head.pointee.load(ordering: .acquiring)
        let end = unsafe tail.pointee.load(ordering: .acquiring)
        while index < end {
            unsafe (slots + (index & mask)).deinitialize(count: 1)
            index += 1
        }
        unsafe memory.deallocate()
    }
}

/// A new ring, as its two ends, which part ways for good.
@frozen public struct Ring<Element: ~Copyable & Sendable>: ~Copyable, Sendable {
    public var producer: RingProducer<Element>
    public var consumer: RingConsumer<Element>

    /// `capacity` in elements, a power of two.
    public init(capacity: Int) {
        let storage = RingStorage<Element>(capacity: capacity)
        producer = RingProducer(storage)
        consumer = RingConsumer(storage)
    }
}

/// The only end that pushes. Moved, never copied; used by one thread at a time.
public struct RingProducer<Element: ~Copyable & Sendable>: ~Copyable, Sendable {
    @usableFromInline let storage: RingStorage<Element>
    @usableFromInline var knownHead = 0
    /// Next slot to write; published by `publish()`.
    @usableFromInline var next = 0
    @usableFromInline var published = 0

    init(_ storage: RingStorage<Element>) { self.storage = storage }

    public var capacity: Int { storage.mask + 1 }

    /// Elements that still fit, by this end's knowledge refreshed from the consumer.
    @inlinable public mutating func room() -> Int {
        // Safety: head is read with acquire, see the file's header.
        knownHead = unsafe storage.head.pointee.load(ordering: .acquiring)
        return storage.mask &+ 1 &- (next &- knownHead)
    }

    /// Elements in the ring, published or not.
    @inlinable public mutating func depth() -> Int { storage.mask &+ 1 &- room() }

    /// Writes the element into the next slot without publishing it; hands it back when the ring is
    /// full. A batch is any number of `stage` calls and one `publish`.
    @inlinable public mutating func stage(_ element: consuming Element) -> Element? {
        if next &- knownHead > storage.mask, room() == 0 { return element }
        // Safety: room was checked, so the consumer has moved out what was in this slot.
        unsafe (storage.slots + (next & storage.mask)).initialize(to: element)
        next &+= 1
        return nil
    }

    /// Makes all staged elements visible to the consumer; true when there were any.
    @inlinable public mutating func publish() -> Bool {
        if published == next { return false }
        // Safety: release orders the slots' bytes before the index.
        unsafe storage.tail.pointee.store(next, ordering: .releasing)
        published = next
        return true
    }

    /// Stages and publishes one element; hands it back when the ring is full.
    @inlinable public mutating func push(_ element: consuming Element) -> Element? {
        if let refused = stage(element) { return refused }
        _ = publish()
        return nil
    }

    deinit {
        // Staged but unpublished elements are published so that the storage frees them.
        unsafe storage.tail.pointee.store(next, ordering: .releasing)
    }
}

/// The only end that pops. Moved, never copied; used by one thread at a time.
public struct RingConsumer<Element: ~Copyable & Sendable>: ~Copyable, Sendable {
    @usableFromInline let storage: RingStorage<Element>
    @usableFromInline var knownTail = 0
    @usableFromInline var next = 0

    init(_ storage: RingStorage<Element>) { self.storage = storage }

    /// True when nothing is published beyond what was popped.
    @inlinable public mutating func isEmpty() -> Bool {
        if next != knownTail { return false }
        // Safety: tail is read with acquire, see the file's header.
        knownTail = unsafe storage.tail.pointee.load(ordering: .acquiring)
        return next == knownTail
    }

    @inlinable public mutating func pop() -> Element? {
        if isEmpty() { return nil }
        // Safety: next < knownTail, so the slot was published and not yet moved out.
        let element = unsafe (storage.slots + (next & storage.mask)).move()
        next &+= 1
        // Safety: release orders the move out of the slot before its reuse.
        unsafe storage.head.pointee.store(next, ordering: .releasing)
        return element
    }

    /// Pops up to `limit` elements and gives their slots back at once; returns how many there were.
    @inlinable public mutating func drain(limit: Int, _ body: (consuming Element) -> Void) -> Int {
        if isEmpty() { return 0 }
        // Safety: tail is read with acquire, see the file's header.
        knownTail = unsafe storage.tail.pointee.load(ordering: .acquiring)
        let count = min(limit, knownTail &- next)
        var i = 0
        while i < count {
            // Safety: next + i < knownTail.
            body(unsafe (storage.slots + ((next &+ i) & storage.mask)).move())
            i &+= 1
        }
        next &+= count
        // Safety: release orders all moves above before the slots' reuse.
        unsafe storage.head.pointee.store(next, ordering: .releasing)
        return count
    }
}

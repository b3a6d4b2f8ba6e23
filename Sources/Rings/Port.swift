// One direction between two threads: a ring and the queue in front of it.
//
// Work that was admitted must get through (an answer to a request that is already durable cannot be
// refused), so `send` never fails: what does not fit waits here in order. Admission asks
// `isCongested` first and stops reading from its sockets while that is true, which bounds the queue
// by the requests that were in flight when the ring filled. Nothing is dropped.
//
// Both ends stand behind a pointer: as properties of a class they would be registered with the
// exclusivity checker for each element, which costs more than the element.

@safe public final class Port<Element: Sendable> {
    // Safety: allocated and initialised in init, freed in deinit; used by one thread.
    @usableFromInline let producer: UnsafeMutablePointer<RingProducer<Element>>
    @usableFromInline let doorbell: Doorbell?
    private var waiting: [Element] = []
    private var waitingStart = 0
    /// Elements that wait in front of the ring.
    @usableFromInline let waitingCount = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    /// How many times an element had to wait because the ring was full.
    public private(set) var fullCount = 0

    public init(_ producer: consuming RingProducer<Element>, doorbell: Doorbell?) {
        unsafe self.producer = UnsafeMutablePointer<RingProducer<Element>>.allocate(capacity: 1)
        unsafe self.producer.initialize(to: producer)
        unsafe waitingCount.initialize(to: 0)
        self.doorbell = doorbell
    }

    deinit {
        unsafe producer.deinitialize(count: 1)
        unsafe producer.deallocate()
        unsafe waitingCount.deallocate()
    }

    /// True while elements wait in front of a full ring: take no new work for this direction.
    @inlinable public var isCongested: Bool { unsafe waitingCount.pointee > 0 }

    /// Elements in the ring and in front of it.
    public func depth() -> Int { unsafe producer.pointee.depth() + waitingCount.pointee }

    @inlinable public func send(_ element: Element) {
        if isCongested {
            wait(element)
        } else if let refused = unsafe producer.pointee.stage(element) {
            wait(refused)
        }
    }

    @usableFromInline func wait(_ element: Element) {
        if !isCongested { fullCount += 1 }
        waiting.append(element)
        unsafe waitingCount.pointee += 1
    }

    /// Publishes what was sent in this turn and wakes the peer if it sleeps.
    @inlinable public func flush() {
        if isCongested { flushWaiting() }
        if unsafe producer.pointee.publish() { doorbell?.ringIfAsleep() }
    }

    @usableFromInline func flushWaiting() {
        while waitingStart < waiting.count {
            if unsafe producer.pointee.stage(waiting[waitingStart]) != nil { break }
            waitingStart += 1
        }
        unsafe waitingCount.pointee = waiting.count - waitingStart
        if waitingStart == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4096)
            waitingStart = 0
        } else if waitingStart >= 1024, waitingStart * 2 >= waiting.count {
            // A port that never runs empty must not keep what it has passed on.
            waiting.removeSubrange(..<waitingStart)
            waitingStart = 0
        }
    }
}

/// The receiving half of a port, for a loop that drains a bounded number in each turn.
@safe public final class Inlet<Element: Sendable> {
    // Safety: allocated and initialised in init, freed in deinit; used by one thread.
    @usableFromInline let consumer: UnsafeMutablePointer<RingConsumer<Element>>

    public init(_ consumer: consuming RingConsumer<Element>) {
        unsafe self.consumer = UnsafeMutablePointer<RingConsumer<Element>>.allocate(capacity: 1)
        unsafe self.consumer.initialize(to: consumer)
    }

    deinit {
        unsafe consumer.deinitialize(count: 1)
        unsafe consumer.deallocate()
    }

    @inlinable public func isEmpty() -> Bool { unsafe consumer.pointee.isEmpty() }

    /// Pops up to `limit` elements in order; returns how many there were.
    @inlinable public func drain(limit: Int, _ body: (consuming Element) -> Void) -> Int {
        unsafe consumer.pointee.drain(limit: limit, body)
    }

    @inlinable public func pop() -> Element? { unsafe consumer.pointee.pop() }
}

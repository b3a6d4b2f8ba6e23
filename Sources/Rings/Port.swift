// One direction between two threads: a ring and the queue in front of it.
//
// Work that was admitted must get through (an answer to a request that is already durable cannot be
// refused), so `send` never fails: what does not fit waits here in order. Admission asks
// `isCongested` first and stops reading from its sockets while that is true, which bounds the queue
// by the requests that were in flight when the ring filled. Nothing is dropped.

public final class Port<Element: Sendable> {
    @usableFromInline var producer: RingProducer<Element>
    @usableFromInline let doorbell: Doorbell?
    @usableFromInline var waiting: [Element] = []
    @usableFromInline var waitingStart = 0
    /// How many times an element had to wait because the ring was full.
    public internal(set) var fullCount = 0

    public init(_ producer: consuming RingProducer<Element>, doorbell: Doorbell?) {
        self.producer = producer
        self.doorbell = doorbell
    }

    /// True while elements wait in front of a full ring: take no new work for this direction.
    @inlinable public var isCongested: Bool { waitingStart < waiting.count }

    /// Elements in the ring and in front of it.
    public func depth() -> Int { producer.depth() + waiting.count - waitingStart }

    @inlinable public func send(_ element: Element) {
        if isCongested {
            waiting.append(element)
        } else if let refused = producer.stage(element) {
            wait(refused)
        }
    }

    @usableFromInline func wait(_ element: Element) {
        fullCount += 1
        waiting.append(element)
    }

    /// Publishes what was sent in this turn and wakes the peer if it sleeps.
    @inlinable public func flush() {
        if isCongested { flushWaiting() }
        if producer.publish() { doorbell?.ringIfAsleep() }
    }

    @usableFromInline func flushWaiting() {
        while waitingStart < waiting.count {
            if producer.stage(waiting[waitingStart]) != nil { break }
            waitingStart += 1
        }
        if waitingStart == waiting.count, waitingStart > 0 {
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
public final class Inlet<Element: Sendable> {
    @usableFromInline var consumer: RingConsumer<Element>

    public init(_ consumer: consuming RingConsumer<Element>) { self.consumer = consumer }

    @inlinable public func isEmpty() -> Bool { consumer.isEmpty() }

    /// Pops up to `limit` elements in order; returns how many there were.
    @inlinable public func drain(limit: Int, _ body: (consuming Element) -> Void) -> Int {
        consumer.drain(limit: limit, body)
    }

    @inlinable public func pop() -> Element? { consumer.pop() }
}

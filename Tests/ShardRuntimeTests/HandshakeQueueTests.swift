import Bytes
import Testing

@testable import ShardRuntime

private func token(_ number: Int) -> Token { Token(slot: UInt32(number), generation: 1) }

/// Begins these; true for each that was too many.
private func begin(_ numbers: [Int], _ queue: inout HandshakeQueue) -> [Bool] {
    numbers.map { queue.didBegin(token($0)) }
}

@Suite struct HandshakeQueueTests {
    @Test func `One more than there may be is too many, and the oldest goes`() {
        var queue = HandshakeQueue(handshakesMax: 2)
        let tooMany = begin([1, 2, 3], &queue)
        #expect(tooMany == [false, false, true])
        let oldest = queue.takeOldest { _ in true }
        #expect(oldest == token(1))
        queue.didEnd()
        #expect(queue.count == 2)
    }

    @Test func `What has ended is nobody's oldest`() {
        var queue = HandshakeQueue(handshakesMax: 2)
        _ = begin([1, 2], &queue)
        queue.didEnd()
        let tooMany = begin([3, 4], &queue)
        #expect(tooMany == [false, true])
        let oldest = queue.takeOldest { $0 != token(1) }
        #expect(oldest == token(2))
    }

    @Test func `The queue is empty again after the last`() {
        var queue = HandshakeQueue(handshakesMax: 1)
        _ = begin([1], &queue)
        queue.didEnd()
        let none = queue.takeOldest { _ in true }
        #expect(none == nil && queue.count == 0)
    }

    @Test func `Thousands that end leave nothing behind while one stalls`() {
        var queue = HandshakeQueue(handshakesMax: 4)
        _ = begin([0], &queue)
        var tooMany = 0
        for number in 1...100_000 {
            queue.prune { $0 == token(0) }
            if queue.didBegin(token(number)) { tooMany += 1 }
            queue.didEnd()
        }
        #expect(tooMany == 0 && queue.rememberedCount <= 2 * 4 + 64)
        let oldest = queue.takeOldest { $0 == token(0) }
        #expect(oldest == token(0))
    }
}

import TestSupport
import Testing

@testable import Bytes
@testable import Reactor

/// The bytes that the last submitted send would hand to the kernel.
private func gathered(_ operations: OperationQueue) -> [UInt8] {
    guard let send = operations.operations.last else { return [] }
    var bytes: [UInt8] = []
    for index in Int(send.vectorStart)..<Int(send.vectorStart + send.vectorCount) {
        unsafe bytes += UnsafeRawBufferPointer(
            start: operations.vectors[index].iov_base, count: operations.vectors[index].iov_len)
    }
    return bytes
}

private let token = Token(slot: 4, generation: 7)

/// A queue and its pool, and what a model says must still come out.
private struct Sender {
    let pool = SegmentPool()
    let operations = OperationQueue()
    var queue = SendQueue()
    var expected: [UInt8] = []

    mutating func copy(_ bytes: [UInt8]) {
        pool.append(bytes.raw, to: &queue)
        expected += bytes
    }

    mutating func block(_ bytes: [UInt8], from offset: Int = 0) {
        pool.append(ByteBlock(bytes), from: offset, to: &queue)
        expected += bytes[offset...]
    }

    /// One send of which the kernel takes up to `bytesMax`. False when other bytes than expected
    /// were offered.
    mutating func send(bytesMax: Int, between: (inout Sender) -> Void = { _ in }) -> Bool {
        operations.removeAll()
        pool.submit(&queue, descriptor: 3, token: token, to: operations)
        let offered = expected
        between(&self)
        let bytes = gathered(operations)
        let taken = min(bytesMax, bytes.count)
        let isRight = !bytes.isEmpty && bytes == Array(offered.prefix(bytes.count))
        pool.didSend(taken, from: &queue)
        expected.removeFirst(taken)
        return isRight && queue.byteCount == expected.count
    }
}

private func numbered(_ count: Int, from start: Int = 0) -> [UInt8] {
    (start..<start + count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}

@Suite struct SendQueueTests {
    @Test("A new queue is empty and holds no memory") func startsEmpty() {
        let pool = SegmentPool()
        let queue = SendQueue()
        #expect(queue.isEmpty)
        #expect(!queue.isInFlight)
        #expect(queue.byteCount == 0)
        #expect(pool.chunkCount == 0)
    }

    @Test("A send names its descriptor, its token and its bytes") func submits() {
        var sender = Sender()
        sender.copy([1, 2, 3])
        sender.pool.submit(&sender.queue, descriptor: 9, token: token, to: sender.operations)
        let send = sender.operations.operations[0]
        #expect(send.kind == .send)
        #expect(send.descriptor == 9)
        #expect(send.token == token)
        #expect(sender.queue.isInFlight)
        #expect(gathered(sender.operations) == [1, 2, 3])
    }

    @Test("Two sends of one turn keep their vectors apart") func twoSends() {
        let pool = SegmentPool()
        let operations = OperationQueue()
        var (first, second) = (SendQueue(), SendQueue())
        pool.append([1, 2].raw, to: &first)
        pool.append(ByteBlock(numbered(2000)), to: &first)
        pool.append([3].raw, to: &second)
        pool.submit(&first, descriptor: 5, token: token, to: operations)
        #expect(gathered(operations) == [1, 2] + numbered(2000))
        pool.submit(&second, descriptor: 6, token: token, to: operations)
        #expect(gathered(operations) == [3])
        #expect(operations.operations.map(\.vectorStart) == [0, 2])
    }

    @Test("What is used is what waits in chunks, and nothing once it was sent") func usedBytes() {
        var sender = Sender()
        #expect(sender.pool.usedBytes == 0)
        sender.copy(numbered(5000))
        #expect(sender.pool.usedBytes == 8192)
        sender.pool.append(ByteBlock(numbered(2000)), to: &sender.queue)
        #expect(sender.pool.usedBytes == 8192, "a shared block is not counted")
        sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        sender.pool.didSend(4096, from: &sender.queue)
        #expect(sender.pool.usedBytes == 4096)
        sender.pool.didSend(904 + 2000, from: &sender.queue)
        #expect(sender.pool.usedBytes == 0 && sender.pool.chunkCount == 2)
    }

    @Test("Small writes share one chunk and one vector") func smallWritesShare() {
        var sender = Sender()
        for index in 0..<100 { sender.copy(numbered(40, from: index * 40)) }
        #expect(sender.pool.chunkCount == 1)
        sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        #expect(sender.operations.operations[0].vectorCount == 1)
        #expect(gathered(sender.operations) == sender.expected)
    }

    @Test(
        "A copy may be larger than a chunk, and fill chunks exactly",
        arguments: [4095, 4096, 4097, 8192, 20_000])
    func largeCopies(_ count: Int) {
        var sender = Sender()
        sender.copy(numbered(count))
        #expect(sender.pool.chunkCount == (count + 4095) / 4096)
        let isRight = sender.send(bytesMax: .max)
        #expect(isRight)
        #expect(sender.queue.isEmpty)
    }

    @Test(
        "A large block is lent where it lies, a small one is copied",
        arguments: [1, 1024, 1025, 100_000])
    func blocks(_ count: Int) {
        let pool = SegmentPool()
        let operations = OperationQueue()
        var queue = SendQueue()
        let block = ByteBlock(numbered(count))
        pool.append(block, to: &queue)
        pool.submit(&queue, descriptor: 3, token: token, to: operations)
        let isLent = unsafe UnsafeRawPointer(operations.vectors[0].iov_base) == block.address
        #expect(isLent == (count > 1024))
        #expect(gathered(operations) == numbered(count))
    }

    @Test("A block is sent from an offset on", arguments: [0, 1, 975, 976, 1999, 2000])
    func blockFromOffset(_ offset: Int) {
        var sender = Sender()
        sender.copy([7])
        sender.block(numbered(2000), from: offset)
        let isRight = sender.send(bytesMax: .max)
        #expect(isRight)
        #expect(sender.expected == [])
    }

    @Test("Empty spans and blocks queue nothing") func emptyAppends() {
        var sender = Sender()
        sender.copy([])
        sender.block([])
        #expect(sender.queue.isEmpty)
        #expect(sender.pool.chunkCount == 0)
        sender.copy([1])
        let isRight = sender.send(bytesMax: 1)
        #expect(isRight)
    }

    @Test(
        "Order holds when every send takes only so many bytes",
        arguments: [
            1, 2, 3, 7, 100, 1023, 1024, 1025, 4095, 4096, 4097, 9999,
        ]) func partialSends(_ bytesMax: Int)
    {
        var sender = Sender()
        sender.copy(numbered(300))
        sender.block(numbered(1500, from: 9))
        sender.copy(numbered(5000, from: 77))
        sender.block(numbered(10, from: 5))
        sender.block(numbered(1025, from: 50))
        while !sender.queue.isEmpty {
            guard sender.send(bytesMax: bytesMax) else {
                Issue.record("\(sender.expected.count) bytes before the end")
                return
            }
        }
        #expect(sender.expected == [])
    }

    @Test("A send that takes nothing leaves everything queued") func nothingTaken() {
        var sender = Sender()
        sender.copy([1, 2])
        let (nothing, all) = (sender.send(bytesMax: 0), sender.send(bytesMax: .max))
        #expect(nothing)
        #expect(all)
        #expect(sender.queue.isEmpty)
    }

    @Test("What is appended during a send goes behind it and is not part of it")
    func appendInFlight() {
        var sender = Sender()
        sender.copy([1, 2, 3])
        let first = sender.send(bytesMax: 2) { $0.copy([4, 5]) }
        #expect(first)
        #expect(sender.expected == [3, 4, 5])
        let second = sender.send(bytesMax: .max) { $0.block(numbered(3000)) }
        let third = sender.send(bytesMax: .max)
        #expect(second)
        #expect(third)
        #expect(sender.queue.isEmpty)
    }

    @Test("One send names at most sixty-four segments, the rest follows") func vectorsPerSend() {
        var sender = Sender()
        for index in 0..<70 { sender.block(numbered(1100, from: index)) }
        sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        #expect(sender.operations.operations[0].vectorCount == 64)
        sender.pool.didSend(64 * 1100, from: &sender.queue)
        sender.expected.removeFirst(64 * 1100)
        let isRight = sender.send(bytesMax: .max)
        #expect(isRight)
        #expect(sender.expected == [])
    }

    @Test("A second send while one is in flight traps, and so does one of nothing")
    func submitTraps() async {
        await #expect(processExitsWith: .failure) {
            var sender = Sender()
            sender.copy([1])
            sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
            sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        }
        await #expect(processExitsWith: .failure) {
            var sender = Sender()
            sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        }
    }

    @Test("Sent chunks are used again: memory follows what is queued, not what was ever sent")
    func chunksAreReused() {
        var sender = Sender()
        for round in 0..<50 {
            sender.copy(numbered(10_000, from: round))
            while !sender.queue.isEmpty { _ = sender.send(bytesMax: 3000) }
        }
        #expect(sender.pool.chunkCount == 3)
    }

    @Test("A block is let go when its last byte was sent, not before") func blockIsLetGo() {
        let pool = SegmentPool()
        var queue = SendQueue()
        weak var held: AnyObject?
        do {
            let block = ByteBlock(numbered(2000))
            held = block.storage
            pool.append(block, to: &queue)
        }
        pool.didSend(1999, from: &queue)
        #expect(held != nil)
        pool.didSend(1, from: &queue)
        #expect(held == nil)
    }

    @Test("Clearing a queue gives back chunks and blocks and leaves it ready") func clears() {
        var sender = Sender()
        weak var held: AnyObject?
        do {
            let block = ByteBlock(numbered(2000))
            held = block.storage
            sender.pool.append(block, to: &sender.queue)
        }
        sender.copy(numbered(8192))
        sender.pool.submit(&sender.queue, descriptor: 3, token: token, to: sender.operations)
        sender.pool.clear(&sender.queue)
        #expect(held == nil)
        #expect(sender.queue.isEmpty)
        #expect(!sender.queue.isInFlight)
        sender.expected = []
        sender.copy(numbered(8192))
        let isRight = sender.send(bytesMax: .max)
        #expect(isRight)
        #expect(sender.pool.chunkCount == 2)
    }

    @Test(
        "Many queues of one pool, with any mix of writes and sends, keep to their models",
        arguments: 1...8 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        let pool = SegmentPool()
        let operations = OperationQueue()
        var queues = (0..<5).map { _ in (queue: SendQueue(), expected: [UInt8]()) }
        for step in 0..<800 {
            let index = chance.below(queues.count)
            let bytes = chance.bytes(chance.below(3) == 0 ? chance.below(6000) : chance.below(300))
            switch chance.below(5) {
            case 0:
                pool.append(bytes.raw, to: &queues[index].queue)
                queues[index].expected += bytes
            case 1:
                pool.append(ByteBlock(bytes), to: &queues[index].queue)
                queues[index].expected += bytes
            case 2 where chance.below(20) == 0:
                pool.clear(&queues[index].queue)
                queues[index].expected = []
            default:
                guard !queues[index].queue.isEmpty else { continue }
                operations.removeAll()
                pool.submit(&queues[index].queue, descriptor: 3, token: token, to: operations)
                let offered = gathered(operations)
                let taken = chance.below(offered.count + 1)
                pool.didSend(taken, from: &queues[index].queue)
                guard offered == Array(queues[index].expected.prefix(offered.count)) else {
                    Issue.record("seed \(chance.seed), step \(step): other bytes than were queued")
                    return
                }
                queues[index].expected.removeFirst(taken)
            }
            guard queues[index].queue.byteCount == queues[index].expected.count else {
                Issue.record(
                    "seed \(chance.seed), step \(step): \(queues[index].queue.byteCount) bytes")
                return
            }
        }
        for index in queues.indices { pool.clear(&queues[index].queue) }
    }
}

import Bytes
import CLinux
import Glibc
import Rings
import TestSupport
import Testing

@testable import Reactor

private let token = Token(slot: 4, generation: 7)
private let other = Token(slot: 9, generation: 3)

@Suite struct EpollBackendTests {
    // MARK: Accept

    @Test("One accept operation brings every connection that comes, each once") func accepts()
        throws
    {
        let rig = try Rig()
        let listener = try listener()
        #expect(rig.submit(.accept, listener.descriptor, token).count == 0)
        #expect(rig.poll().count == 0)
        for count in [1, 3] {
            let clients = try (0..<count).map { _ in try client(of: listener) }
            let completions = rig.wait()
            #expect(completions.count == clients.count)
            for completion in completions {
                #expect(completion.kind == .accept)
                #expect(completion.token == token)
                #expect(completion.result >= 0)
                #expect(fcntl(completion.result, F_GETFL) & O_NONBLOCK != 0)
                close(completion.result)
            }
            #expect(rig.poll().count == 0)
        }
    }

    @Test("Without descriptors accept fails once and is disarmed until it is submitted again")
    func acceptWithoutDescriptors() async {
        // In a process of its own: the limit holds for all its threads.
        await #expect(processExitsWith: .success) {
            let rig = try Rig()
            let listener = try listener()
            let client = try client(of: listener)
            let free = dup(0)
            close(free)
            var limit = rlimit()
            precondition(
                unsafe getrlimit(__rlimit_resource_t(7), &limit) == 0, "RLIMIT_NOFILE is 7 on Linux"
            )
            let before = limit.rlim_cur
            limit.rlim_cur = rlim_t(free)
            precondition(
                unsafe setrlimit(__rlimit_resource_t(7), &limit) == 0, "the limit can be lowered")
            precondition(
                rig.submit(.accept, listener.descriptor, token).isEmpty, "nothing is known at once")
            precondition(rig.wait().map(\.result) == [-EMFILE], "accept fails with EMFILE")
            precondition(rig.poll().isEmpty, "and says so once")
            limit.rlim_cur = before
            precondition(
                unsafe setrlimit(__rlimit_resource_t(7), &limit) == 0,
                "the limit can be raised again")
            precondition(rig.poll().isEmpty, "still disarmed")
            precondition(
                rig.submit(.accept, listener.descriptor, token).isEmpty, "nothing is known at once")
            precondition(rig.wait().map { $0.result >= 0 } == [true], "armed again")
            client.close()
        }
    }

    // MARK: Receive

    @Test("One receive operation brings all bytes that come, in buffers of the pool")
    func receives() throws {
        let rig = try Rig(buffers: 1)
        let (near, far) = try connection()
        #expect(rig.submit(.receive, near.descriptor, token).count == 0)
        #expect(rig.poll().count == 0)
        for bytes in [[1, 2, 3], [4]] as [[UInt8]] {
            try far.write(bytes)
            let completions = rig.wait()
            #expect(completions.count == 1)
            #expect(completions.map(\.token) == [token])
            #expect(completions.map(\.kind) == [.receive])
            #expect(rig.pool.isEmpty, "the buffer is lent")
            #expect(completions.map(rig.take) == [bytes])
            #expect(rig.poll().count == 0)
        }
    }

    @Test("What does not fit one buffer comes in several, in order") func receivesMore() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        var chance = Seeded.fromEnvironment(or: 3)
        let bytes = chance.bytes(40_000)
        try far.write(bytes)
        _ = rig.submit(.receive, near.descriptor, token)
        var received: [UInt8] = []
        while received.count < bytes.count {
            let completions = rig.wait()
            guard let completion = completions.first, completions.count == 1, completion.result > 0
            else { break }
            #expect(completion.result <= ReceivePool.bufferBytes)
            received += rig.take(completion)
        }
        #expect(received == bytes, "seed \(chance.seed)")
    }

    @Test("Without a free buffer nothing is read and nothing is lost") func noBuffer() throws {
        let rig = try Rig(buffers: 1)
        let (near, far) = try connection()
        let (near2, far2) = try connection()
        try far.write([1])
        try far2.write([2])
        rig.operations.add(.receive, descriptor: near.descriptor, token: token)
        _ = rig.submit(.receive, near2.descriptor, other)
        let first = rig.wait()
        #expect(first.count == 1)
        #expect(rig.poll().count == 0)
        let firstBytes = first.map(rig.take)
        let second = rig.wait()
        #expect(second.count == 1)
        #expect(Set(first.map(\.token) + second.map(\.token)) == [token, other])
        #expect(Set(firstBytes + second.map(rig.take)) == [[1], [2]])
    }

    @Test("A paused connection brings nothing, a resumed one what came meanwhile")
    func pausesAndResumes() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        #expect(rig.submit(.pauseReceive, near.descriptor, token).count == 0)
        try far.write([1, 2])
        #expect(rig.poll().count == 0)
        _ = rig.submit(.receive, near.descriptor, token)
        #expect(rig.wait().map(rig.take) == [[1, 2]])
    }

    @Test("Bytes and the end of the stream that come together are told one after the other")
    func bytesAndEnd() throws {
        for count in [1, ReceivePool.bufferBytes, ReceivePool.bufferBytes + 1] {
            let rig = try Rig()
            let (near, far) = try connection()
            try far.write([UInt8](repeating: 5, count: count))
            far.close()
            _ = rig.submit(.receive, near.descriptor, token)
            var received = 0
            while true {
                let completions = rig.wait()
                #expect(completions.count == 1)
                guard let completion = completions.first, completion.result > 0 else {
                    #expect(completions.map(\.result) == [0])
                    break
                }
                received += rig.take(completion).count
            }
            #expect(received == count)
            _ = rig.submit(.pauseReceive, near.descriptor, token)
            #expect(rig.poll().count == 0)
        }
    }

    @Test("A connection that is paused with bytes left brings them when it is resumed")
    func pausesWithBytesLeft() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        var chance = Seeded.fromEnvironment(or: 4)
        let bytes = chance.bytes(ReceivePool.bufferBytes + 100)
        try far.write(bytes)
        _ = rig.submit(.receive, near.descriptor, token)
        var received = rig.wait().flatMap(rig.take)
        _ = rig.submit(.pauseReceive, near.descriptor, token)
        #expect(rig.poll().count == 0)
        // What comes while it is paused, and while nothing has been taken, is no new edge either.
        try far.write([1, 2, 3])
        #expect(rig.poll().count == 0)
        _ = rig.submit(.receive, near.descriptor, token)
        while received.count < bytes.count + 3 {
            let completions = rig.wait()
            guard let completion = completions.first, completion.result > 0 else { break }
            received += rig.take(completion)
        }
        #expect(received == bytes + [1, 2, 3], "seed \(chance.seed)")
        #expect(rig.poll().count == 0)
    }

    @Test("A descriptor that is closed with bytes left says nothing of them to its next owner")
    func closesWithBytesLeft() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        try far.write([UInt8](repeating: 5, count: ReceivePool.bufferBytes + 100))
        _ = rig.submit(.receive, near.descriptor, token)
        _ = rig.wait().flatMap(rig.take)
        let (near2, far2) = try connection()
        let descriptor = near.giveAway()
        _ = rig.submit(.close, descriptor, token)
        try #require(dup2(near2.descriptor, descriptor) == descriptor)
        let reused = Socket(descriptor)
        _ = rig.submit(.receive, reused.descriptor, other)
        #expect(rig.poll().count == 0)
        try far2.write([7])
        let completions = rig.wait()
        #expect(completions.map(\.token) == [other])
        #expect(completions.map(rig.take) == [[7]])
        _ = reused
    }

    @Test("The end of the stream is a result of zero that holds no buffer") func endOfStream()
        throws
    {
        let rig = try Rig(buffers: 1)
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        try far.write([5])
        far.close()
        #expect(rig.wait().map(rig.take) == [[5]])
        let end = rig.wait()
        #expect(end.map(\.result) == [0])
        #expect(end.map(\.kind) == [.receive])
        #expect(end.map(\.buffer) == [.max])
        #expect(!rig.pool.isEmpty)
        _ = rig.submit(.pauseReceive, near.descriptor, token)
        #expect(rig.poll().count == 0, "paused after the end, it is not said again")
    }

    @Test("A reset connection tells its errno and holds no buffer") func reset() throws {
        let rig = try Rig(buffers: 1)
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        far.reset()
        let completions = rig.wait()
        #expect(completions.map(\.result) == [-ECONNRESET])
        #expect(completions.map(\.token) == [token])
        #expect(completions.map(\.buffer) == [.max])
        #expect(!rig.pool.isEmpty)
    }

    @Test("The reset of a paused connection is said once, also when it is paused again")
    func resetWhilePaused() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        _ = rig.submit(.pauseReceive, near.descriptor, token)
        far.reset()
        let completions = rig.wait()
        #expect(completions.map(\.result) == [-ECONNRESET])
        #expect(completions.map(\.token) == [token])
        #expect(completions.map(\.buffer) == [.max])
        #expect(rig.poll().count == 0)
        _ = rig.submit(.pauseReceive, near.descriptor, token)
        #expect(rig.poll().count == 0)
        #expect(rig.submit(.close, near.giveAway(), token).count == 0)
        #expect(rig.poll().count == 0)
    }

    // MARK: Send

    @Test("A send that the socket takes whole is known at once") func sends() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        let segments = SegmentPool()
        var queue = SendQueue()
        segments.append([1, 2, 3].raw, to: &queue)
        segments.append(ByteBlock([UInt8](repeating: 9, count: 2000)), to: &queue)
        segments.submit(&queue, descriptor: near.descriptor, token: token, to: rig.operations)
        let completions = rig.submit()
        #expect(completions.map(\.result) == [2003])
        #expect(completions.map(\.kind) == [.send])
        #expect(completions.map(\.token) == [token])
        let arrived = try far.readSome()
        #expect(arrived == [1, 2, 3] + [UInt8](repeating: 9, count: 2000))
        #expect(rig.poll().count == 0)
    }

    @Test("A full socket completes the send when the peer has read, and all bytes arrive in order")
    func fullSocket() throws {
        let rig = try Rig()
        let (near, far) = try localConnection()
        _ = rig.submit(.receive, near.descriptor, token)
        var chance = Seeded.fromEnvironment(or: 4)
        let bytes = chance.bytes(8 << 20)
        let segments = SegmentPool()
        var queue = SendQueue()
        segments.append(ByteBlock(bytes), to: &queue)
        var received: [UInt8] = []
        var refusals = 0
        while !queue.isEmpty {
            segments.submit(&queue, descriptor: near.descriptor, token: token, to: rig.operations)
            var completions = rig.submit()
            if completions.isEmpty {
                refusals += 1
                #expect(rig.poll().count == 0, "the socket is full: no completion, and no spinning")
                // Read until the kernel says that there is room again.
                while completions.isEmpty, let some = try far.readSome(), !some.isEmpty {
                    received += some
                    completions = rig.poll()
                }
            }
            #expect(completions.map(\.kind) == [.send])
            #expect(completions.map(\.token) == [token])
            guard let completion = completions.first, completion.result > 0 else { break }
            segments.didSend(Int(completion.result), from: &queue)
        }
        #expect(refusals > 0, "the socket was never full: nothing was tested")
        #expect(
            rig.poll().count == 0, "a socket with room is not reported when nothing is to be sent")
        #expect(rig.submit(.close, near.giveAway(), token).count == 0)
        while let some = try far.readSome() { received += some }
        #expect(received == bytes, "seed \(chance.seed)")
    }

    @Test("A send on a descriptor that never received waits for room as well")
    func fullAndNeverArmed() throws {
        let rig = try Rig()
        let (near, far) = try localConnection()
        // Far above the numbers that the backend has seen.
        let number = fcntl(near.descriptor, F_DUPFD_CLOEXEC, 700)
        try #require(number >= 700)
        let high = Socket(number)
        let segments = SegmentPool()
        var queue = SendQueue()
        segments.append(ByteBlock([UInt8](repeating: 1, count: 4 << 20)), to: &queue)
        for _ in 0..<100 where !queue.isInFlight {
            segments.submit(&queue, descriptor: number, token: token, to: rig.operations)
            if let completion = rig.submit().first {
                segments.didSend(Int(completion.result), from: &queue)
            }
        }
        #expect(queue.isInFlight, "the socket took everything")
        var completions: [Completion] = []
        while completions.isEmpty, let some = try far.readSome(), !some.isEmpty {
            completions = rig.poll()
        }
        #expect(completions.map(\.kind) == [.send])
        #expect(completions.allSatisfy { $0.result > 0 && $0.token == token })
        _ = high
    }

    @Test("A connection whose send waits still receives") func receivesWhileFull() throws {
        let (rig, near, far, _) = try full()
        _ = rig.submit(.receive, near.descriptor, token)
        try far.write([1])
        let completions = rig.wait()
        #expect(completions.map(\.kind) == [.receive])
        #expect(completions.map(rig.take) == [[1]])
    }

    /// A connection whose socket has refused a send, not paused, not receiving.
    private func full() throws -> (Rig, near: Socket, far: Socket, SegmentPool) {
        let rig = try Rig()
        let (near, far) = try localConnection()
        _ = rig.submit(.receive, near.descriptor, token)
        _ = rig.submit(.pauseReceive, near.descriptor, token)
        let segments = SegmentPool()
        var queue = SendQueue()
        segments.append(ByteBlock([UInt8](repeating: 1, count: 32 << 20)), to: &queue)
        while true {
            segments.submit(&queue, descriptor: near.descriptor, token: token, to: rig.operations)
            guard let completion = rig.submit().first else { break }
            segments.didSend(Int(completion.result), from: &queue)
            try #require(!queue.isEmpty, "the socket took everything")
        }
        return (rig, near, far, segments)
    }

    @Test("A send that waits fails with the connection, and the paused connection says so once too")
    func resetWhileFull() throws {
        let (rig, near, far, segments) = try full()
        far.reset()
        let completions = rig.wait()
        #expect(completions.map(\.kind) == [.send, .receive])
        #expect(completions.allSatisfy { $0.result == -ECONNRESET || $0.result == -EPIPE })
        #expect(rig.poll().count == 0)
        _ = (near, segments)
    }

    @Test("Closing forgets a send that waits: the descriptor's next owner hears nothing of it")
    func closesWhileFull() throws {
        let (rig, near, far, segments) = try full()
        let number = near.giveAway()
        #expect(rig.submit(.close, number, token).count == 0)
        far.close()
        let (near2, far2) = try connection()
        let moved = dup2(near2.descriptor, number)
        try #require(moved == number)
        let reused = Socket(number)
        #expect(rig.submit(.receive, number, other).count == 0)
        #expect(rig.poll().count == 0)
        try far2.write([3])
        let completions = rig.wait()
        #expect(completions.map(\.token) == [other])
        #expect(completions.map(rig.take) == [[3]])
        _ = (reused, segments)
    }

    @Test("A send to a peer that has gone is an errno, not a signal") func sendToNobody() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        far.reset()
        let segments = SegmentPool()
        var queue = SendQueue()
        segments.append([1].raw, to: &queue)
        segments.submit(&queue, descriptor: near.descriptor, token: token, to: rig.operations)
        let completions = rig.submit()
        #expect(completions.map(\.kind) == [.send])
        #expect(completions.allSatisfy { $0.result == -ECONNRESET || $0.result == -EPIPE })
    }

    // MARK: Generations, foreign descriptors, close

    @Test("An event for a descriptor's earlier life is counted and brings nothing")
    func staleGeneration() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        let number = near.giveAway()
        _ = rig.submit(.receive, number, token)
        // A second descriptor keeps the closed one's registration alive in epoll.
        let keeper = Socket(dup(number))
        _ = rig.submit(.close, number, token)
        try far.write([1])
        #expect(rig.poll().count == 0)
        #expect(rig.staleEventCount == 1)
        // The number is taken again, with the next generation.
        let (near2, far2) = try connection()
        try #require(dup2(near2.descriptor, number) == number)
        let reused = Socket(number)
        _ = rig.submit(.receive, number, Token(slot: token.slot, generation: token.generation + 2))
        try far.write([1])
        #expect(rig.poll().count == 0)
        #expect(rig.staleEventCount == 2)
        try far2.write([2])
        let completions = rig.wait()
        #expect(completions.map(\.token.generation) == [token.generation + 2])
        #expect(completions.map(rig.take) == [[2]])
        _ = (reused, keeper)
    }

    @Test("A descriptor that is armed anew under another token brings events under that token")
    func tokenChanges() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        _ = rig.submit(.receive, near.descriptor, other)
        try far.write([1])
        let completions = rig.wait()
        #expect(completions.map(\.token) == [other])
        #expect(rig.staleEventCount == 0)
    }

    @Test("A foreign descriptor is reported each time it is readable, and not when it is quiet")
    func polls() throws {
        let rig = try Rig()
        let bell = Doorbell.make()
        defer { close(bell.descriptor) }
        _ = rig.submit(.poll, bell.descriptor, token)
        #expect(rig.poll().count == 0)
        for _ in 0..<3 {
            bell.announceSleep()
            bell.ringIfAsleep()
            let completions = rig.wait()
            #expect(completions.map(\.kind) == [.poll])
            #expect(completions.map(\.token) == [token])
            bell.silence()
            #expect(rig.poll().count == 0)
        }
    }

    @Test("Closing closes the descriptor, and the peer sees the end") func closes() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        _ = rig.submit(.receive, near.descriptor, token)
        #expect(rig.submit(.close, near.giveAway(), token).count == 0)
        let end = try far.readSome()
        #expect(end == nil)
        #expect(rig.poll().count == 0)
    }

    @Test("The operations of one turn are taken in order, and the queue is empty afterwards")
    func queueIsEmptied() throws {
        let rig = try Rig()
        let (near, far) = try connection()
        rig.operations.add(.receive, descriptor: near.descriptor, token: token)
        rig.operations.add(.pauseReceive, descriptor: near.descriptor, token: token)
        #expect(!rig.operations.isEmpty)
        _ = rig.submit()
        #expect(rig.operations.isEmpty)
        try far.write([1])
        #expect(rig.poll().count == 0, "the pause came last")
    }
}

import Testing

@testable import Reactor

@Suite struct ReceivePoolTests {
    @Test("Each buffer is lent once, until none is left") func lendsEachOnce() {
        let pool = ReceivePool(count: 3)
        let buffers = (0..<3).compactMap { _ in pool.take() }
        #expect(Set(buffers) == [0, 1, 2])
        #expect(pool.isEmpty)
        #expect(pool.take() == nil)
        pool.release(buffers[1])
        #expect(!pool.isEmpty)
        #expect(pool.take() == buffers[1])
    }

    @Test("Buffers do not overlap, and what is written is what is read") func buffersAreApart() {
        let pool = ReceivePool(count: 3)
        for buffer: UInt16 in 0..<3 {
            unsafe pool.address(buffer).initializeMemory(
                as: UInt8.self, repeating: UInt8(buffer) + 1, count: ReceivePool.bufferBytes)
        }
        for buffer: UInt16 in 0..<3 {
            let span = pool.bytes(buffer, count: ReceivePool.bufferBytes)
            let bytes = span.bytes.array()
            #expect(bytes.allSatisfy { $0 == UInt8(buffer) + 1 })
        }
    }

    @Test("More bytes than a buffer holds trap") func tooManyBytesTrap() async {
        await #expect(processExitsWith: .failure) {
            _ = ReceivePool(count: 1).bytes(0, count: ReceivePool.bufferBytes + 1).byteCount
        }
    }
}

@Suite struct CompletionBatchTests {
    @Test("A batch is full at its capacity, and empty once cleared") func capacity() {
        let batch = CompletionBatch(capacity: 2)
        #expect(!batch.isFull)
        for result: Int32 in [1, 2] {
            batch.append(Completion(token: .none, kind: .send, result: result))
        }
        #expect(batch.isFull)
        #expect(batch.completions.map(\.result) == [1, 2])
        batch.removeAll()
        #expect(!batch.isFull)
        #expect(batch.completions.isEmpty)
    }
}

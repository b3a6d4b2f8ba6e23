import TestSupport
import Testing

@testable import Bytes

private func contents(_ buffer: ReceiveBuffer) -> [UInt8] {
    let bytes = buffer.bytes
    return bytes.bytes.array()
}

@Suite struct ReceiveBufferTests {
    @Test("A new buffer is empty and has the capacity it was given") func startsEmpty() {
        let buffer = ReceiveBuffer(capacity: 32)
        #expect(buffer.count == 0)
        #expect(buffer.capacityBytes == 32)
        #expect(contents(buffer) == [])
    }

    @Test("Bytes that fit are kept without growth, one more grows it") func growsOnlyWhenFull() {
        let buffer = ReceiveBuffer(capacity: 8)
        buffer.append([UInt8](0..<8).raw)
        #expect(buffer.capacityBytes == 8)
        buffer.append([8].raw)
        #expect(buffer.capacityBytes == 16)
        #expect(contents(buffer) == Array(0..<9))
    }

    @Test("Consumed room is used again before the buffer grows") func compacts() {
        let buffer = ReceiveBuffer(capacity: 8)
        buffer.append([UInt8](0..<8).raw)
        buffer.consume(5)
        buffer.append([UInt8](8..<13).raw)
        #expect(buffer.capacityBytes == 8)
        #expect(contents(buffer) == Array(5..<13))
        buffer.append([13].raw)
        #expect(buffer.capacityBytes == 16)
        #expect(contents(buffer) == Array(5..<14))
    }

    @Test("A span larger than twice the capacity is taken at once") func largeAppend() {
        let buffer = ReceiveBuffer(capacity: 4)
        buffer.append([1, 2].raw)
        let large = [UInt8](repeating: 7, count: 1000)
        buffer.append(large.raw)
        #expect(contents(buffer) == [1, 2] + large)
    }

    @Test("A buffer consumed whole starts over at its beginning") func startsOver() {
        let buffer = ReceiveBuffer(capacity: 4)
        for round in 0..<100 {
            buffer.append(Array(repeating: UInt8(round), count: 4).raw)
            buffer.consume(4)
        }
        #expect(buffer.count == 0)
        #expect(buffer.capacityBytes == 4)
    }

    @Test("The bytes can be changed in place") func changesInPlace() {
        let buffer = ReceiveBuffer(capacity: 8)
        buffer.append([9, 1, 2, 3].raw)
        buffer.consume(1)
        var bytes = buffer.bytes
        bytes.xor(1..<3, mask: 0xFFFF)
        #expect(contents(buffer) == [1, 0xFD, 0xFC])
    }

    @Test("Consuming more than there is traps") func consumeTraps() async {
        await #expect(processExitsWith: .failure) {
            let buffer = ReceiveBuffer(capacity: 8)
            buffer.append([1, 2].raw)
            buffer.consume(3)
        }
    }

    @Test(
        "Any sequence of appends and consumes leaves what an array holds",
        arguments: 1...20 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        let buffer = ReceiveBuffer(capacity: 1 + chance.below(64))
        var model: [UInt8] = []
        for step in 0..<500 {
            if chance.below(2) == 0 {
                let bytes = chance.bytes(chance.below(50))
                buffer.append(bytes.raw)
                model += bytes
            } else {
                let count = chance.below(4) == 0 ? model.count : chance.below(model.count + 1)
                buffer.consume(count)
                model.removeFirst(count)
            }
            guard buffer.count == model.count, contents(buffer) == model else {
                Issue.record("seed \(chance.seed), step \(step)")
                return
            }
        }
    }
}

import TestSupport
import Testing

@testable import Bytes

private func filled(_ count: Int, capacity: Int = 64) -> FlatArray<Int> {
    let array = FlatArray<Int>(capacity: capacity)
    for value in 0..<count { array.append(value) }
    return array
}

@Suite struct FlatArrayTests {
    @Test(arguments: [-1, 0, 1, 2, 64, 1000])
    func `A new array of any capacity is empty`(_ capacity: Int) {
        let array = FlatArray<UInt32>(capacity: capacity)
        #expect(array.isEmpty)
        #expect(array.count == 0)
        #expect(array.startIndex == array.endIndex)
        #expect(array.last == nil)
        #expect(array.popLast() == nil)
        #expect(Array(array) == [])
    }

    @Test(arguments: [-1, 0, 1, 3, 64])
    func `It grows past its capacity and keeps what it holds`(_ capacity: Int) {
        let array = FlatArray<Int>(capacity: capacity)
        for value in 0..<1000 {
            array.append(value)
            #expect(array.count == value + 1)
            #expect(array.last == value)
            #expect(array[0] == 0)
        }
        #expect(Array(array) == Array(0..<1000))
    }

    @Test func `Elements come off the end in reverse order, and then nothing`() {
        let array = filled(130)
        for value in (0..<130).reversed() {
            #expect(array.popLast() == value)
            #expect(array.count == value)
        }
        for _ in 0..<3 { #expect(array.popLast() == nil) }
        #expect(array.isEmpty)
    }

    @Test func `What was popped makes room for what is appended next`() {
        let array = filled(3, capacity: 2)
        #expect(array.popLast() == 2)
        array.append(7)
        #expect(Array(array) == [0, 1, 7])
        #expect(array.last == 7)
    }

    @Test func `An element is read and written at its own place alone`() {
        let array = filled(5)
        array[0] = 10
        array[4] = 14
        array[2] += 100
        #expect(Array(array) == [10, 1, 102, 3, 14])
    }

    @Test func `Emptied it keeps its memory and shows nothing of what it held`() {
        let array = filled(500)
        let before = unsafe array.address
        array.removeAll()
        #expect(array.isEmpty)
        #expect(array.last == nil)
        #expect(array.popLast() == nil)
        for value in 0..<500 { array.append(value * 2) }
        let after = unsafe array.address
        let isSame = unsafe before == after
        #expect(isSame)
        #expect(Array(array) == (0..<500).map { $0 * 2 })
        array.removeAll()
        array.removeAll()
        #expect(array.count == 0)
    }

    @Test func `It is a random access collection`() {
        let array = filled(100, capacity: 1)
        #expect(array.indices == 0..<100)
        #expect(array.first == 0)
        #expect(array.distance(from: array.startIndex, to: array.endIndex) == 100)
        #expect(array.index(after: 3) == 4 && array.index(before: 3) == 2)
        #expect(array.index(3, offsetBy: 90, limitedBy: 50) == nil)
        #expect(Array(array[10..<13]) == [10, 11, 12])
        #expect(Array(array.reversed().prefix(2)) == [99, 98])
        #expect(array.reduce(0, +) == 4950)
        #expect(array.firstIndex(of: 42) == 42)
        #expect(array.firstIndex(of: 100) == nil)
        #expect(array.map { $0 }.count == array.underestimatedCount)
    }

    @Test func `The address is where the elements are, in a row`() {
        let array = filled(70, capacity: 8)
        let values = (0..<70).map { unsafe array.address[$0] }
        #expect(values == Array(0..<70))
    }

    @Test func `Elements of several words are moved whole`() {
        let array = FlatArray<Token>(capacity: 0)
        for slot in 0..<100 as Range<UInt32> {
            array.append(Token(slot: slot, generation: ~slot))
        }
        #expect(array.enumerated().allSatisfy { $0.element.slot == UInt32($0.offset) })
        #expect(array.allSatisfy { $0.generation == ~$0.slot })
    }

    @Test func `It does what an array does, whatever is done to it`() {
        var random = Seeded.fromEnvironment(or: 11)
        let array = FlatArray<UInt64>(capacity: 1)
        var model: [UInt64] = []
        for step in 0..<20_000 {
            switch random.below(16) {
            case 0..<9:
                let value = random.next()
                array.append(value)
                model.append(value)
            case 9..<13: #expect(array.popLast() == model.popLast())
            case 13..<15 where !model.isEmpty:
                let place = random.below(model.count)
                array[place] &+= 1
                model[place] &+= 1
            default:
                guard step.isMultiple(of: 97) else { continue }
                array.removeAll()
                model.removeAll()
            }
            #expect(array.count == model.count && array.last == model.last, "SEED=\(random.seed)")
        }
        #expect(Array(array) == model, "SEED=\(random.seed)")
    }
}

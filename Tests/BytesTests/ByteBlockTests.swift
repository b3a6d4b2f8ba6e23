import TestSupport
import Testing

@testable import Bytes

@Suite struct ByteBlockTests {
    @Test("A block holds the bytes it was made of", arguments: [0, 1, 15, 16, 17, 4096])
    func holdsBytes(_ count: Int) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let block = ByteBlock(bytes)
        #expect(block.count == count)
        #expect(block.bytes.array() == bytes)
    }

    @Test("A block is a copy: its source may change afterwards") func isACopy() {
        var bytes: [UInt8] = [1, 2, 3]
        let block = ByteBlock(copying: bytes.raw)
        bytes[0] = 9
        #expect(block.bytes.array() == [1, 2, 3])
    }

    @Test("A string becomes its UTF-8") func fromString() {
        #expect(ByteBlock("hé\u{1F44B}").bytes.array() == Array("hé\u{1F44B}".utf8))
        #expect(ByteBlock("").count == 0)
    }

    @Test("Blocks are equal by content and length, not by identity") func equality() {
        let block = ByteBlock("abcdefghij")
        #expect(block.equals(block))
        #expect(block.equals(ByteBlock("abcdefghij")))
        #expect(!block.equals(ByteBlock("abcdefghiJ")))
        #expect(!block.equals(ByteBlock("abcdefghi")))
        #expect(ByteBlock("").equals(ByteBlock("")))
    }

    @Test("The address is where the bytes are, aligned for vectors") func address() {
        let block = ByteBlock([5, 6])
        let first = unsafe block.address.load(as: UInt8.self)
        let position = unsafe UInt(bitPattern: block.address)
        #expect(first == 5)
        #expect(position % 16 == 0)
    }
}

@Suite struct ByteRangeTests {
    @Test("A range counts its bytes and converts back to offsets") func counts() {
        let range = ByteRange(3, 10)
        #expect(range.count == 7)
        #expect(range.range == 3..<10)
        #expect(!range.isEmpty)
    }

    @Test("The empty range is empty, and so is any that ends where it starts") func empty() {
        #expect(ByteRange.empty.isEmpty)
        #expect(ByteRange(9, 9).isEmpty)
        #expect(ByteRange(9, 9).count == 0)
    }

    @Test("A part of a span is the bytes that its range names") func part() {
        let bytes: [UInt8] = [0, 1, 2, 3, 4]
        let part = bytes.raw.part(ByteRange(1, 3)).array()
        #expect(part == [1, 2])
    }
}

import Testing

@testable import Conversations

@Suite struct SecondChanceTests {
    private func filled(_ count: Int, keysMax: Int = 4) -> SecondChance<Int> {
        var clock = SecondChance<Int>(keysMax: keysMax)
        for key in 0..<count { clock.insert(key) }
        return clock
    }

    @Test(arguments: 0...4)
    func `Nobody goes while there is room`(_ count: Int) {
        #expect(filled(count).candidate == nil)
    }

    @Test func `One too many makes the first a candidate until it is settled`() {
        var clock = filled(5)
        #expect(clock.candidate == 0 && clock.candidate == 0)
        clock.settle(.gone)
        #expect(clock.candidate == nil)
    }

    @Test func `Who is spared is passed over, and comes again after a round`() {
        var clock = filled(5)
        var seen: [Int] = []
        for _ in 0..<7 {
            guard let key = clock.candidate else { break }
            seen.append(key)
            clock.settle(.spared)
        }
        #expect(seen == [0, 1, 2, 3, 4, 0, 1])
    }

    @Test func `Every key is met once, whoever goes and comes meanwhile`() {
        var clock = filled(8)
        var gone: [Int] = []
        while let key = clock.candidate {
            gone.append(key)
            clock.settle(.gone)
        }
        #expect(gone.count == 4 && Set(gone).count == 4)
        for key in 8..<12 { clock.insert(key) }
        while let key = clock.candidate {
            gone.append(key)
            clock.settle(.gone)
        }
        #expect(gone.count == 8 && Set(gone).count == 8)
    }
}

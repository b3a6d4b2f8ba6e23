import Reactor
import Testing

@testable import Rings

@Suite struct AtomicWordsTests {
    @Test("A new table holds zeros") func startsAtZero() {
        let words = AtomicWords(count: 5)
        #expect(words.count == 5)
        #expect((0..<5).allSatisfy { words.load($0) == 0 })
    }

    @Test("A word is stored where it was meant to be, and nowhere else") func stores() {
        let words = AtomicWords(count: 3)
        words.store(7, at: 1)
        words.store(.max, at: 2)
        #expect((0..<3).map { words.load($0) } == [0, 7, .max])
    }

    @Test("An exchange takes place only when the expectation holds, and tells what was there")
    func compareExchange() {
        let words = AtomicWords(count: 2)
        #expect(words.compareExchange(0, expected: 0, desired: 5) == 0)
        #expect(words.load(0) == 5)
        #expect(words.compareExchange(0, expected: 0, desired: 9) == 5)
        #expect(words.load(0) == 5)
        #expect(words.load(1) == 0)
    }

    @Test("An index past the table traps") func indexTraps() async {
        await #expect(processExitsWith: .failure) { _ = AtomicWords(count: 2).load(2) }
        await #expect(processExitsWith: .failure) { _ = AtomicWords(count: 2).load(-1) }
        await #expect(processExitsWith: .failure) { AtomicWords(count: 2).store(1, at: 2) }
        await #expect(processExitsWith: .failure) {
            _ = AtomicWords(count: 2).compareExchange(2, expected: 0, desired: 1)
        }
    }

    @Test("Increments by exchange from several threads are all counted") func contendedIncrements()
    {
        let words = AtomicWords(count: 1)
        let threads = (0..<3).map { index in
            WorkerThread(name: "words-\(index)") {
                for _ in 0..<20_000 {
                    var seen = words.load(0)
                    while true {
                        let original = words.compareExchange(0, expected: seen, desired: seen + 1)
                        if original == seen { break }
                        seen = original
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(words.load(0) == 60_000)
    }
}

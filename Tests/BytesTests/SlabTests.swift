import TestSupport
import Testing

@testable import Bytes

private final class Witness {
    final class Tally { var alive = 0 }
    let tally: Tally
    init(_ tally: Tally) {
        self.tally = tally
        tally.alive += 1
    }
    deinit { tally.alive -= 1 }
}

@Suite struct TokenTests {
    @Test(
        "A token survives its raw form",
        arguments: [
            Token(slot: 0, generation: 1), Token(slot: .max, generation: 0),
            Token(slot: 7, generation: .max),
        ]) func raw(_ token: Token)
    {
        #expect(Token(raw: token.raw) == token)
    }

    @Test("Slot and generation stand in their own halves") func halves() {
        #expect(Token(slot: 1, generation: 2).raw == 0x0000_0002_0000_0001)
    }
}

@Suite struct SlabTests {
    @Test("A row is found under its token and changed in place") func insertAndChange() throws {
        let slab = Slab<[Int]>(rowsMax: 10)
        let token = try #require(slab.insert([1]))
        #expect(slab.contains(token))
        slab[token.slot].append(2)
        #expect(slab[token.slot] == [1, 2])
        #expect(slab.count == 1)
    }

    @Test("A removed row's token is refused, and stays refused when its slot is taken again")
    func staleTokensAreRefused() throws {
        let slab = Slab<Int>(rowsMax: 1)
        let first = try #require(slab.insert(1))
        slab.remove(first)
        #expect(!slab.contains(first))
        let second = try #require(slab.insert(2))
        #expect(second.slot == first.slot)
        #expect(second.generation != first.generation)
        #expect(!slab.contains(first))
        #expect(slab.contains(second))
        #expect(slab[second.slot] == 2)
    }

    @Test("Tokens that were never given out are refused") func foreignTokensAreRefused() throws {
        let slab = Slab<Int>(rowsMax: 300)
        #expect(!slab.contains(.none))
        #expect(!slab.contains(Token(slot: 0, generation: 0)))
        let token = try #require(slab.insert(1))
        #expect(!slab.contains(.none))
        #expect(!slab.contains(Token(slot: token.slot, generation: token.generation + 2)))
        // A free slot's generation is even, and no token with it names a row.
        #expect(!slab.contains(Token(slot: token.slot + 1, generation: 0)))
        #expect(!slab.contains(Token(slot: 100_000, generation: 1)))
    }

    @Test(
        "A slab takes exactly as many rows as it may",
        arguments: [0, 1, 2, 255, 256, 257, 512, 600])
    func rowsMax(_ rowsMax: Int) {
        let slab = Slab<Int>(rowsMax: rowsMax)
        var tokens: Set<Token> = []
        for row in 0..<rowsMax {
            guard let token = slab.insert(row) else { break }
            #expect(Int(token.slot) < rowsMax)
            tokens.insert(token)
        }
        #expect(tokens.count == rowsMax)
        #expect(slab.insert(-1) == nil)
        #expect(slab.count == rowsMax)
        if let token = tokens.first {
            slab.remove(token)
            #expect(slab.insert(-1) != nil)
            #expect(slab.insert(-1) == nil)
        }
    }

    @Test("Rows stay where they are while others come and go") func rowsStayPut() throws {
        let slab = Slab<Int>(rowsMax: 5000)
        let token = try #require(slab.insert(42))
        let place = unsafe slab.pointer(token.slot)
        let others = (0..<4999).compactMap { slab.insert($0) }
        #expect(others.count == 4999)
        for other in others { slab.remove(other) }
        let after = unsafe slab.pointer(token.slot)
        let stays = unsafe place == after
        #expect(stays)
        #expect(slab[token.slot] == 42)
    }

    @Test("Removing a row twice traps") func removingTwiceTraps() async {
        await #expect(processExitsWith: .failure) {
            let slab = Slab<Int>(rowsMax: 4)
            guard let token = slab.insert(1) else { return }
            slab.remove(token)
            slab.remove(token)
        }
    }

    @Test("Rows are released when removed, and the rest with the slab") func releasesRows() throws {
        let tally = Witness.Tally()
        do {
            let slab = Slab<Witness>(rowsMax: 1000)
            let tokens = (0..<600).compactMap { _ in slab.insert(Witness(tally)) }
            #expect(tally.alive == 600)
            for token in tokens.prefix(100) { slab.remove(token) }
            #expect(tally.alive == 500)
            let reused = try #require(slab.insert(Witness(tally)))
            #expect(tally.alive == 501)
            slab.remove(reused)
        }
        #expect(tally.alive == 0)
    }

    @Test(
        "Any sequence of inserts and removals leaves what a dictionary holds",
        arguments: 1...10 as ClosedRange<UInt64>)
    func model(_ round: UInt64) {
        var chance = Seeded.fromEnvironment(or: round)
        let rowsMax = 1 + chance.below(700)
        let slab = Slab<UInt64>(rowsMax: rowsMax)
        var model: [Token: UInt64] = [:]
        var order: [Token] = []
        var retired: [Token] = []
        for step in 0..<3000 {
            // Phases that mostly fill and phases that mostly empty reach both ends.
            let fills = step / 750 % 2 == 0
            if chance.below(10) < (fills ? 8 : 3) {
                let row = chance.next()
                let token = slab.insert(row)
                guard (token == nil) == (model.count == rowsMax) else {
                    Issue.record("seed \(chance.seed), step \(step): full is \(token == nil)")
                    return
                }
                if let token {
                    model[token] = row
                    order.append(token)
                }
            } else if !order.isEmpty {
                let token = order.remove(at: chance.below(order.count))
                model[token] = nil
                slab.remove(token)
                retired.append(token)
            }
            guard slab.count == model.count else {
                Issue.record(
                    "seed \(chance.seed), step \(step): \(slab.count) rows, not \(model.count)")
                return
            }
        }
        #expect(
            model.allSatisfy { slab.contains($0.key) && slab[$0.key.slot] == $0.value },
            "seed \(chance.seed)")
        #expect(retired.allSatisfy { !slab.contains($0) }, "seed \(chance.seed)")
        #expect(Set(slab.tokens()) == Set(model.keys), "seed \(chance.seed)")
    }
}

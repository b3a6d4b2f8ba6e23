import Bytes
import ChatModel
import Testing

@testable import ShardRuntime

private func chat(_ number: UInt64) -> Identifier { Identifier(high: 1, low: number) }

private func seconds(_ prefer: String) -> Int? {
    let block = ByteBlock(prefer)
    return Shard.waitSeconds(block.bytes, ByteRange(0, block.count))
}

@Suite struct PollPlacesTests {
    @Test func `A conversation has so many places and no more`() {
        let places = PollPlaces(totalMax: 10, perConversationMax: 2)
        #expect(places.take(chat(1)) && places.take(chat(1)))
        #expect(!places.take(chat(1)))
        #expect(places.take(chat(2)), "another has places of its own")
        places.giveBack(chat(1))
        #expect(places.take(chat(1)))
        #expect(places.total == 3)
    }

    @Test func `All conversations together have so many places and no more`() {
        let places = PollPlaces(totalMax: 3, perConversationMax: 2)
        for number in 1...3 as ClosedRange<UInt64> { #expect(places.take(chat(number))) }
        #expect(!places.take(chat(4)))
        places.giveBack(chat(2))
        #expect(places.take(chat(4)))
        for number in [1, 3, 4] as [UInt64] { places.giveBack(chat(number)) }
        #expect(places.total == 0)
    }

    @Test(arguments: [
        ("wait=5", 5), ("Wait=30", 30), ("WAIT=31", 30), ("wait=99999999999", 30),
        ("respond-async, wait=7", 7), ("wait=7; foo=bar", 7), ("wait = 9", 9), ("wait=\"4\"", 4),
    ])
    func `The preference is found among others and clamped`(_ prefer: String, _ wanted: Int) {
        #expect(seconds(prefer) == wanted)
    }

    @Test(arguments: [
        "", "wait", "wait=", "wait=0", "wait=-1", "wait=x", "wait=1.5", "waits=5", "respond-async",
        "=5", "wait=5 5", "return=minimal", "wait=99999999999999999999999",
    ])
    func `What is no waiting time is no preference`(_ prefer: String) {
        #expect(seconds(prefer) == nil)
    }
}

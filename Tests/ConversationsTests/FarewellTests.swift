// Who follows a conversation, while answers and farewells cross each other between two cores.

import Bytes
import ChatModel
import Testing

@testable import Conversations

@Suite struct FarewellTests {
    private func state() -> ConversationState {
        ConversationState(
            row: Conversation(
                id: Identifier(high: 1, low: 1), tenant: TenantIndex(0), userID: ByteBlock("ann"),
                channel: .web, createdAtMilliseconds: 0, updatedAtMilliseconds: 0),
            isStored: true)
    }

    @Test func `A core follows until it has given back all that told it to`() {
        let state = state()
        state.follow(3)
        state.follow(3)
        state.follow(0)
        #expect(state.followers == 0b1001)
        state.forget(3, answers: 2)
        #expect(state.followers == 0b0001)
        state.forget(0, answers: 1)
        #expect(state.isIdle)
    }

    @Test func `An answer that is still on its way keeps a core that says forget meanwhile`() {
        let state = state()
        state.follow(2)
        // Another socket of the core subscribes; the first one's farewell is older than the answer.
        state.follow(2)
        state.forget(2, answers: 1)
        #expect(state.followers == 0b100, "whoever waits for the second answer would see nothing")
        state.forget(2, answers: 1)
        #expect(state.followers == 0)
    }

    @Test func `A farewell of who never followed changes nothing`() {
        let state = state()
        state.follow(1)
        state.forget(2, answers: 5)
        state.forget(1, answers: 0)
        #expect(state.followers == 0b10)
    }

    @Test func `A subscriber learns what is on its way as well as what is stored`() {
        let world = World()
        let ann = Person("ann")
        world.submit(ann, Draft())
        world.settleAll()
        let id = world.store.order[0]
        world.submit(ann, Draft(text: "again"))
        let ticket = world.subscribe(ann, core: 1, id)
        let follow = world.tickets[ticket].follow
        #expect(follow?.seq == 2, "hello and its reply")
        #expect(follow?.newestSeq == 4, "a reader of the store may see these already")
    }
}

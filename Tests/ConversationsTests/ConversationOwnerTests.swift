import Bytes
import ChatModel
import Testing

@testable import Conversations

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: Role.agent.permissions)
private let foreignAdmin = Person("admin", tenant: 1, permissions: Role.admin.permissions)

extension World {
    /// A stored conversation of this person, and its id.
    fileprivate func begin(_ person: Person, _ draft: Draft = Draft(waits: false)) -> Identifier {
        submit(person, draft)
        settleAll()
        return store.order[store.order.count - 1]
    }

    fileprivate var messages: [Frame] { frames.filter { $0.delivery.seq > 0 } }

    fileprivate func log(_ id: Identifier) -> [String] { (store.logs[id] ?? []).map(\.body.text) }

    fileprivate func expectOrder(sourceLocation: SourceLocation = #_sourceLocation) {
        checkAtRest()
        #expect(violations == [], sourceLocation: sourceLocation)
    }
}

@Suite struct AnswerTests {
    @Test func `A first message reads the user once, and is answered when its unit is stored`() {
        let world = World()
        let ticket = world.submit(ann, Draft())
        #expect(world.reads.count == 1 && world.pending.isEmpty)
        world.deliver(world.perform())
        #expect(world.pending.count == 1)
        #expect(world.tickets[ticket].answers.isEmpty, "nothing is said before the commit")
        #expect(world.pending[0].rowChange == .insert)
        #expect(world.pending[0].entries.map(\.seq) == [1, 2], "the reply goes with its message")
        world.settle()
        #expect(world.tickets[ticket].status == 200)
        #expect(world.tickets[ticket].body?.hasPrefix(#"{"status":"answered""#) == true)
        world.expectOrder()
    }

    @Test func `With respond-async the answer is 202 and the reply follows in the log`() {
        let world = World()
        let ticket = world.submit(ann, Draft(waits: false))
        world.deliver(world.perform())
        #expect(world.pending[0].entries.count == 1)
        world.settle()
        #expect(world.tickets[ticket].status == 202)
        #expect(world.tickets[ticket].body?.hasPrefix(#"{"status":"accepted""#) == true)
        world.settleAll()
        #expect(world.log(world.store.order[0]).count == 2)
        world.expectOrder()
    }

    @Test func `A message to which the engine says nothing is accepted`() {
        let world = World()
        let ticket = world.submit(ann, Draft(text: "quiet please"))
        world.settleAll()
        #expect(world.tickets[ticket].status == 202)
        #expect(world.log(world.store.order[0]).count == 1)
        world.expectOrder()
    }

    @Test func `The store's refusal is told as 503 and leaves nothing behind`() {
        let world = World()
        let ticket = world.submit(ann, Draft(key: 1))
        world.deliver(world.perform())
        world.settle(0, .unavailable)
        #expect(world.tickets[ticket].problem?.code == .temporarilyUnavailable)
        #expect(world.tickets[ticket].problem?.retryAfterSeconds ?? 0 > 0)
        #expect(world.store.order.isEmpty)
        world.expectOrder()
        let again = world.submit(ann, Draft(key: 1))
        world.settleAll()
        #expect(world.tickets[again].status == 200 && !world.tickets[again].isReplay)
        world.expectOrder()
    }

    @Test func `What waits behind a refused unit is refused with it`() {
        let world = World()
        _ = world.begin(ann)
        let first = world.submit(ann, Draft())
        let second = world.submit(ann, Draft(socketCore: 2))
        world.settle(0, .unavailable)
        for ticket in [first, second] {
            #expect(world.tickets[ticket].problem?.code == .temporarilyUnavailable)
        }
        world.expectOrder()
    }

    @Test func `A read that fails refuses everything that waits for it, and is tried again later`()
    {
        let world = World()
        let tickets = [world.submit(ann, Draft()), world.submit(ann, Draft())]
        #expect(world.reads.count == 1)
        world.deliver(world.perform(isAvailable: false))
        for ticket in tickets { #expect(world.tickets[ticket].status == 503) }
        let again = world.submit(ann, Draft())
        world.settleAll()
        #expect(world.tickets[again].status == 200)
        world.expectOrder()
    }

    @Test func `Messages that come while a unit is on its way go together into the next`() {
        let world = World()
        let id = world.begin(ann, Draft(text: "quiet"))
        for _ in 0..<5 { world.submit(ann, Draft(text: "quiet")) }
        #expect(world.pending.count == 1 && world.pending[0].entries.count == 1)
        world.settle()
        #expect(world.pending.count == 1 && world.pending[0].entries.map(\.seq) == [3, 4, 5, 6])
        world.settleAll()
        #expect(world.store.head(of: id) == 6)
        world.expectOrder()
    }

    @Test func `Too many waiting messages are refused, and those that wait are kept`() {
        let world = World()
        _ = world.begin(ann, Draft(text: "quiet"))
        for _ in 0..<Limits.messagesWaitingPerConversationMax + 1 {
            world.submit(ann, Draft(text: "quiet"))
        }
        #expect(world.owner.counters.refusedFull == 0)
        let ticket = world.submit(ann, Draft(text: "quiet", key: 5))
        #expect(world.tickets[ticket].problem?.code == .temporarilyUnavailable)
        #expect(world.owner.counters.refusedFull == 1)
        world.settleAll()
        world.expectOrder()
    }
}

@Suite struct ConversationChoiceTests {
    @Test func `A user has one open conversation for each channel`() {
        let world = World()
        for channel in [Channel.web, .sms, .web, .sms, .slack] {
            world.submit(ann, Draft(channel: channel))
        }
        world.settleAll()
        #expect(world.store.order.count == 3)
        world.expectOrder()
    }

    @Test func `Users of the same name in two tenants share nothing`() {
        let world = World()
        let twin = Person("ann", tenant: 1)
        let id = world.begin(ann)
        let other = world.begin(twin)
        #expect(id != other)
        let ticket = world.submit(twin, Draft(conversation: id))
        world.settleAll()
        #expect(world.tickets[ticket].problem?.code == .notFound)
        world.expectOrder()
    }

    @Test(arguments: [bob, foreignAdmin])
    func `Another's conversation does not exist`(_ stranger: Person) {
        let world = World()
        let id = world.begin(ann)
        let tickets = [
            world.submit(stranger, Draft(conversation: id)), world.subscribe(stranger, core: 1, id),
            world.type(stranger, core: 1, id),
        ]
        world.settleAll()
        for ticket in tickets { #expect(world.tickets[ticket].problem?.code == .notFound) }
        #expect(world.owner.conversations[id]?.followers == 0)
        world.expectOrder()
    }

    @Test func `A conversation that nobody made does not exist`() {
        let world = World()
        let id = Identifier(high: 1, low: 2)
        let tickets = [
            world.submit(ann, Draft(conversation: id)), world.subscribe(agent, core: 1, id),
            world.type(agent, core: 1, id),
        ]
        #expect(world.reads.count == 1, "it is looked for once")
        world.settleAll()
        for ticket in tickets { #expect(world.tickets[ticket].problem?.code == .notFound) }
        world.expectOrder()
    }

    @Test func `An agent writes for the user whose conversation it is, and for nobody else in it`()
    {
        let world = World()
        let id = world.begin(ann)
        let good = world.submit(agent, Draft(conversation: id, actingFor: ann))
        let bad = world.submit(agent, Draft(conversation: id, actingFor: bob))
        world.settleAll()
        #expect(world.tickets[good].status == 200)
        #expect(world.tickets[bad].problem?.code == .notFound)
        world.expectOrder()
    }

    @Test func `A conversation that was dropped from memory goes on where it was`() {
        let world = World()
        let id = world.begin(ann)
        world.owner.drop(id)
        world.owner.users.removeAll()
        world.submit(ann, Draft())
        world.settleAll()
        #expect(world.store.order == [id])
        #expect(world.store.head(of: id) == 4)
        world.expectOrder()
    }

    @Test func `A session lasts for as long as it is used, and no longer than its time to live`() {
        let world = World(sessionTimeToLiveSeconds: 60)
        let id = world.begin(ann)
        for wait in [60_000, 60_000, 60_001] as [UInt64] {
            world.pass(milliseconds: wait)
            world.submit(ann, Draft(waits: false))
            world.settleAll()
        }
        let sessions = (world.store.logs[id] ?? []).filter(\.isInbound).map(\.session)
        #expect(sessions[0] == sessions[1] && sessions[1] == sessions[2])
        #expect(sessions[3] != sessions[2])
        #expect(sessions.allSatisfy { $0.shardKey == ann.shardKey })
        world.expectOrder()
    }

    @Test func `A socket that connects is told its user's session`() {
        let world = World()
        let first = world.connect(ann, core: 3)
        let id = world.begin(ann)
        let second = world.connect(ann, core: 4)
        let session = world.store.logs[id]?.first?.session.text(.session)
        #expect(world.tickets[first].body == session)
        #expect(world.tickets[second].body == session)
        let other = world.connect(bob, core: 4)
        #expect(world.tickets[other].body != session)
    }
}

@Suite struct IdempotencyTests {
    @Test func `The same key again is answered with the original and its reply`() {
        let world = World()
        let first = world.submit(ann, Draft(key: 1))
        world.settleAll()
        let again = world.submit(ann, Draft(key: 1))
        world.settleAll()
        #expect(world.tickets[again].body == world.tickets[first].body)
        #expect(world.tickets[again].status == 200)
        #expect(world.tickets[again].isReplay && !world.tickets[first].isReplay)
        #expect(world.store.head(of: world.store.order[0]) == 2, "nothing is stored twice")
        #expect(world.owner.counters.duplicates == 1)
        world.expectOrder()
    }

    @Test func `Another body under the same key is refused`() {
        let world = World()
        world.submit(ann, Draft(key: 1))
        world.settleAll()
        for core in [nil, 2] as [UInt8?] {
            let other = world.submit(ann, Draft(text: "other", key: 1, body: 9, socketCore: core))
            world.settleAll()
            #expect(world.tickets[other].problem?.code == .idempotencyMismatch)
        }
        #expect(world.store.head(of: world.store.order[0]) == 2)
        world.expectOrder()
    }

    @Test func `A key that is still in progress is a conflict over HTTP`() {
        let world = World()
        let first = world.submit(ann, Draft(key: 1))
        world.deliver(world.perform())
        let again = world.submit(ann, Draft(key: 1))
        #expect(world.tickets[again].problem?.code == .conflict)
        #expect(world.tickets[again].problem?.retryAfterSeconds == 1)
        world.settleAll()
        #expect(world.tickets[first].status == 200)
        world.expectOrder()
    }

    @Test func `A socket that repeats a key in progress is acknowledged with the first`() {
        let world = World()
        world.submit(ann, Draft(key: 1, socketCore: 1))
        world.deliver(world.perform())
        let again = world.submit(ann, Draft(key: 1, socketCore: 2))
        let other = world.submit(ann, Draft(text: "other", key: 1, body: 9, socketCore: 2))
        #expect(world.tickets[again].answers.isEmpty && world.tickets[other].answers.isEmpty)
        world.settleAll()
        #expect(world.tickets[again].isReplay)
        #expect(world.tickets[again].body?.contains(#""duplicate":true"#) == true)
        #expect(world.tickets[other].problem?.code == .idempotencyMismatch)
        world.expectOrder()
    }

    @Test func `A repeated key is refused together with the message that the store could not take`()
    {
        let world = World()
        world.submit(ann, Draft(key: 1, socketCore: 1))
        world.deliver(world.perform())
        let again = world.submit(ann, Draft(key: 1, socketCore: 2))
        world.settle(0, .unavailable)
        #expect(world.tickets[again].problem?.code == .temporarilyUnavailable)
        world.expectOrder()
    }

    @Test func `The same key of two users names two messages`() {
        let world = World()
        let tickets = [world.submit(ann, Draft(key: 1)), world.submit(bob, Draft(key: 1, body: 2))]
        world.settleAll()
        for ticket in tickets { #expect(world.tickets[ticket].status == 200) }
        #expect(world.store.order.count == 2)
        world.expectOrder()
    }

    @Test func `A duplicate in a unit does not hold up its neighbours`() {
        let world = World()
        let id = world.begin(ann, Draft(text: "quiet", key: 1))
        world.submit(ann, Draft(text: "quiet"))
        let tickets = [
            world.submit(ann, Draft(text: "quiet", key: 2)),
            world.submit(ann, Draft(text: "quiet", key: 1)),
            world.submit(ann, Draft(text: "quiet", key: 3)),
        ]
        world.settleAll()
        #expect(tickets.map { world.tickets[$0].isReplay } == [false, true, false])
        #expect(world.store.head(of: id) == 4)
        world.expectOrder()
    }

    @Test func `A duplicate as the first message of a conversation makes none`() {
        let world = World()
        world.submit(ann, Draft(key: 1, channel: .web))
        world.settleAll()
        let again = world.submit(ann, Draft(key: 1, channel: .sms))
        world.settleAll()
        #expect(world.tickets[again].isReplay)
        #expect(world.store.order.count == 1)
        world.expectOrder()
        let fresh = world.submit(ann, Draft(channel: .sms))
        world.settleAll()
        #expect(world.tickets[fresh].status == 200)
        world.expectOrder()
    }

    @Test func `A seq that another writer took is given anew, and nothing is lost`() {
        let world = World()
        let id = world.begin(ann, Draft(text: "quiet"))
        let ticket = world.submit(ann, Draft(text: "quiet", key: 4))
        world.settle(0, .afterForeignEntry)
        #expect(world.tickets[ticket].answers.isEmpty)
        #expect(world.owner.counters.conflicts == 1)
        world.settleAll()
        #expect(world.tickets[ticket].status == 202)
        #expect(world.store.head(of: id) == 3)
        world.expectOrder()
    }
}

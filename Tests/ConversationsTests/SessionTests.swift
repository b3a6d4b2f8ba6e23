import Bytes
import ChatModel
import Testing

@testable import Conversations

/// An owner and what it says, without a store: sessions need none.
private final class Desk {
    let owner: ConversationOwner
    var milliseconds: UInt64 = 1_700_000_000_000
    var dismissed: [(user: UserKey, cores: UInt64)] = []
    private var ordinal: UInt32 = 0

    init() {
        owner = World(sessionTimeToLiveSeconds: 60).owner
        pass(0)
    }

    func pass(_ count: UInt64) {
        milliseconds += count
        owner.setTime(milliseconds: milliseconds, nanoseconds: milliseconds * 1_000_000)
    }

    func ask(_ request: (Origin) -> OwnerRequest) -> (status: Int, body: String) {
        ordinal += 1
        let origin = Origin(
            core: 0, isSocket: false, token: Token(slot: 1, generation: 1), ordinal: ordinal)
        owner.receive(request(origin))
        var found = (status: 0, body: "")
        owner.takeActions { action in
            switch action {
            case .answer(let answer):
                switch answer.result {
                case .success(let status, let body, _, _): found = (status, body.text)
                case .failure(let problem): found = (problem.status, "\(problem.code)")
                }
            case .dismiss(let user, let cores): dismissed.append((user, cores))
            default: break
            }
        }
        return found
    }

    /// The id of the session that a socket of the person gets.
    func connect(_ person: Person, core: UInt8, device: String? = nil) -> Identifier? {
        let body = ask {
            var origin = $0
            origin.core = core
            return .connect(origin, person.key, shardKey: person.shardKey)
        }.body
        if let device { owner.receive(.deviceCame(person.key, ByteBlock(device))) }
        let block = ByteBlock(body)
        return Identifier(block.bytes, kind: .session)
    }
}

private let ann = Person("ann")
private let bob = Person("bob")
private let agent = Person("agent", permissions: [.anyUser])

@Suite struct SessionTests {
    @Test func `A session tells its user, its times and its devices`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1, device: "phone"))
        _ = desk.connect(ann, core: 2, device: "desk")
        desk.owner.receive(.deviceWent(ann.key, ByteBlock("phone")))
        desk.pass(1000)
        let (status, body) = desk.ask { .session($0, ann.principal, id) }
        #expect(status == 200)
        #expect(body.hasPrefix(#"{"id":"\#(id.text(.session))","user_id":"ann","devices":["#))
        #expect(
            body.contains(
                #"{"id":"phone","connected":false,"last_seen_at":"2023-11-14T22:13:20.000Z"}"#))
        #expect(
            body.contains(
                #"{"id":"desk","connected":true,"last_seen_at":"2023-11-14T22:13:21.000Z"}"#))
        #expect(body.contains(#""created_at":"2023-11-14T22:13:20.000Z""#))
        #expect(body.contains(#""expires_at":"2023-11-14T22:14:20.000Z""#))
        #expect(desk.ask { .sessions($0, ann.key) }.body == #"{"data":[\#(body)]}"#)
    }

    @Test func `Only its user and those who act for any user see it`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1))
        for stranger in [
            bob, Person("ann", tenant: 1), Person("x", tenant: 1, permissions: [.anyUser]),
        ] {
            #expect(desk.ask { .session($0, stranger.principal, id) }.status == 404)
            #expect(desk.ask { .endSession($0, stranger.principal, id) }.status == 404)
        }
        #expect(desk.ask { .session($0, agent.principal, id) }.status == 200)
        #expect(desk.dismissed.isEmpty)
    }

    @Test func `What is ended is gone, its cores are told, and the next is a new one`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1, device: "phone"))
        _ = desk.connect(ann, core: 3)
        #expect(desk.ask { .endSession($0, agent.principal, id) }.status == 204)
        #expect(desk.dismissed.map(\.cores) == [0b1010])
        #expect(desk.dismissed.map(\.user) == [ann.key])
        #expect(desk.ask { .session($0, ann.principal, id) }.status == 404)
        #expect(desk.ask { .endSession($0, ann.principal, id) }.status == 404)
        #expect(desk.ask { .sessions($0, ann.key) }.body == #"{"data":[]}"#)
        // What is left of the sockets that were closed.
        desk.owner.receive(.deviceWent(ann.key, ByteBlock("phone")))
        let next = try #require(desk.connect(ann, core: 1))
        #expect(next != id)
        #expect(desk.ask { .session($0, ann.principal, next) }.body.contains(#""devices":[]"#))
    }

    @Test func `A session that was not used for its time to live is gone`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1, device: "phone"))
        desk.owner.receive(.deviceWent(ann.key, ByteBlock("phone")))
        desk.pass(60_000)
        #expect(desk.ask { .session($0, ann.principal, id) }.status == 200)
        desk.pass(1)
        #expect(desk.ask { .session($0, ann.principal, id) }.status == 404)
        #expect(desk.ask { .sessions($0, ann.key) }.body == #"{"data":[]}"#)
        let next = try #require(desk.connect(ann, core: 1))
        #expect(next != id)
        #expect(desk.ask { .session($0, ann.principal, next) }.body.contains(#""devices":[]"#))
        #expect(desk.owner.sessions.count == 1)
    }

    @Test func `A device with several sockets is connected until the last has gone`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1, device: "phone"))
        _ = desk.connect(ann, core: 1, device: "phone")
        let phone = ByteBlock("phone")
        for isConnected in [true, true, false, false] {
            let body = desk.ask { .session($0, ann.principal, id) }.body
            #expect(body.contains(#""connected":true"#) == isConnected)
            desk.owner.receive(.deviceWent(ann.key, phone))
        }
        let body = desk.ask { .session($0, ann.principal, id) }.body
        #expect(body.components(of: #""id":"phone""#) == 1)
        #expect(body.contains(#""connected":false"#))
    }

    @Test func `Of too many devices the one that was not seen for longest is forgotten`() throws {
        let desk = Desk()
        let id = try #require(desk.connect(ann, core: 1))
        for number in 0..<Limits.devicesPerSessionMax {
            desk.owner.receive(.deviceCame(ann.key, ByteBlock("d\(number)")))
            desk.pass(1)
        }
        desk.owner.receive(.deviceCame(ann.key, ByteBlock("more")))
        #expect(!desk.ask { .session($0, ann.principal, id) }.body.contains("more"))
        for number in [5, 3] {
            desk.owner.receive(.deviceWent(ann.key, ByteBlock("d\(number)")))
            desk.pass(1)
        }
        desk.owner.receive(.deviceCame(ann.key, ByteBlock("more")))
        let body = desk.ask { .session($0, ann.principal, id) }.body
        #expect(body.contains("more") && body.contains(#""d3""#) && !body.contains(#""d5""#))
    }
}

extension String {
    fileprivate func components(of text: String) -> Int {
        var rest = Substring(self)
        var count = 0
        while let found = rest.firstRange(of: text) {
            rest = rest[found.upperBound...]
            count += 1
        }
        return count
    }
}

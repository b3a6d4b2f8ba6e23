import Bytes
import ChatModel
import Testing
import Wire

@testable import API

private let message = Identifier(high: 1, low: 2)
private let tenant = Tenant(
    index: TenantIndex(0), name: "acme", allowsGuests: true, ratePerMinute: 1, burst: 1,
    userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])

private final class Bench {
    let parser = JSONParser(documentBytesMax: 1 << 17, depthMax: 32)
    let reader: MessageRequestReader

    init() { reader = MessageRequestReader(parser: parser) }

    private func principal(_ name: String) -> Principal {
        Principal(
            tenant: TenantIndex(0), subject: ByteBlock(name),
            permissions: Role.endUser.permissions, expiresAtSeconds: .max)
    }

    func edit(
        _ body: String, key: String? = nil, of id: Identifier = message
    ) throws(Problem)
        -> MessageChange
    {
        let block = ByteBlock(body)
        precondition(parser.parse(block.bytes), "the test's own body is JSON")
        return try reader.readEdit(
            of: id, principal("ann"), tenant, key: key.map { ByteBlock($0) })
    }

    func reaction(
        _ body: String, key: String? = nil, by name: String = "ann"
    ) throws(Problem)
        -> MessageChange
    {
        let block = ByteBlock(body)
        precondition(parser.parse(block.bytes), "the test's own body is JSON")
        return try reader.readReaction(
            to: message, principal(name), tenant, key: key.map { ByteBlock($0) })
    }

    func pointer(_ read: (Bench) throws(Problem) -> MessageChange) -> String? {
        do throws(Problem) {
            _ = try read(self)
            return nil
        } catch {
            return error.faults.first?.pointer
        }
    }
}

@Suite struct MessageChangeReaderTests {
    @Test func `An edit has a message's content, in one spelling`() throws {
        let change = try Bench().edit(
            #"{ "content" : { "text" : "a" , "type" : "text" }, "x": 1 }"#)
        #expect(change.deed == .edit && change.message == message && change.idempotency == nil)
        #expect(change.content.bytes.string() == #"{"text":"a","type":"text"}"#)
    }

    @Test(arguments: [
        ("{}", "/content"), ("[]", ""), (#"{"content":1}"#, "/content"),
        (#"{"content":{"type":"text"}}"#, "/content/text"),
        (#"{"content":{"type":"text","text":""}}"#, "/content/text"),
        (#"{"content":{"type":"event","name":"redacted"}}"#, "/content/type"),
        (
            #"{"content":{"type":"reaction","emoji":"x","message_id":"msg_01942f5a-3c10-7a41-8f2e-5b6d7c8e9f10"}}"#,
            "/content/type"
        ),
    ]) func `What is not valid has a pointer`(_ body: String, _ pointer: String) {
        #expect(Bench().pointer { (bench) throws(Problem) in try bench.edit(body) } == pointer)
    }

    @Test func `A key names one change of one message by one person`() throws {
        let bench = Bench()
        let body = #"{"content":{"type":"text","text":"a"}}"#
        let first = try bench.edit(body, key: "k")
        let same = try bench.edit(#"{"content":{"text":"a","type":"text"}}"#, key: "k")
        #expect(first.idempotency == same.idempotency && first.fingerprint == same.fingerprint)
        let other = try bench.edit(body, key: "k", of: Identifier(high: 1, low: 3))
        let reaction = try bench.reaction(#"{"emoji":"a"}"#, key: "k")
        #expect(other.idempotency == first.idempotency)
        #expect(reaction.idempotency == first.idempotency)
        #expect(Set([first, other, reaction].map(\.fingerprint)).count == 3)
        let bob = try bench.reaction(#"{"emoji":"a"}"#, key: "k", by: "bob")
        #expect(bob.idempotency != first.idempotency)
    }

    @Test func `An empty emoji takes a reaction back`() throws {
        #expect(try Bench().reaction(#"{"emoji":"x"}"#).deed == .reaction)
        #expect(try Bench().reaction(#"{"emoji":""}"#).deed == .reactionTakenBack)
    }

    @Test(arguments: [
        "{}", #"{"emoji":null}"#, #"{"emoji":1}"#, #"{"emoji":"\n"}"#, #"{"emoji":"\u007f"}"#,
        #"{"emoji":"a\u0080"}"#, #"{"emoji":"\u009f"}"#,
        "{\"emoji\":\"\(String(repeating: "a", count: 65))\"}",
    ]) func `An emoji is short and has no control characters`(_ body: String) {
        #expect(Bench().pointer { (bench) throws(Problem) in try bench.reaction(body) } == "/emoji")
    }

    @Test(arguments: ["👩‍👩‍👧‍👦", "é", "\u{A0}", "\u{C0}", String(repeating: "a", count: 64)])
    func `Any other short text is one`(_ emoji: String) throws {
        let change = try Bench().reaction("{\"emoji\":\"\(emoji)\"}")
        #expect(change.content.bytes.string().hasSuffix("\"emoji\":\"\(emoji)\"}"))
    }
}

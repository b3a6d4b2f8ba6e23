import Bytes
import Testing

@testable import ChatModel

private let messageID = Identifier(high: 0x0192_A3B4_C5D6_7E8F, low: 0x9A0B_1C2D_3E4F_5061)
private let conversationID = Identifier(high: 0x0192_A3B4_C5D6_7000, low: 0x8000_0000_0000_5061)

private func entry() -> Entry {
    Entry(
        id: messageID, conversation: conversationID, seq: 12, kind: .message, isInbound: true,
        senderType: .user, senderID: ByteBlock("ann"), channel: .web,
        content: ByteBlock(#"{"type":"text","text":"Hi"}"#), createdAtMilliseconds: 951_782_400_000)
}

private func json(_ entry: Entry) -> String {
    let writer = ByteWriter(capacity: 16)
    entry.write(into: writer)
    return writer.string()
}

private func json(_ conversation: Conversation, unread: UInt64) -> String {
    let writer = ByteWriter(capacity: 16)
    conversation.write(into: writer, unread: unread)
    return writer.string()
}

@Suite struct EntryTests {
    @Test func `An inbound message has the contract's members`() {
        #expect(
            json(entry())
                == #"{"id":"msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061","#
                + #""conversation_id":"conv_0192a3b4-c5d6-7000-8000-000000005061","seq":12,"#
                + #""kind":"message","direction":"inbound","status":"accepted","#
                + #""visibility":"public","sender":{"type":"user","id":"ann"},"#
                + #""channel":"web","content":{"type":"text","text":"Hi"},"metadata":{},"#
                + #""created_at":"2000-02-29T00:00:00.000Z"}"#)
    }

    @Test func `An entry is its own part between the two ends that its head writes`() {
        for isInbound in [true, false] {
            var entry = entry()
            entry.isInbound = isInbound
            entry.metadata = ByteBlock(#"{"a":1}"#)
            let writer = ByteWriter(capacity: 16)
            writer.append("before")
            let part = entry.write(into: writer)
            let whole = writer.block()
            let again = ByteWriter(capacity: 16)
            let head = EntryHead(
                id: entry.id, conversation: entry.conversation, seq: entry.seq, kind: entry.kind,
                isInbound: isInbound, createdAtMilliseconds: entry.createdAtMilliseconds)
            again.append("before")
            let same = head.write(around: whole.bytes.extracting(part.range), into: again)
            #expect(again.string() == whole.bytes.string() && same == part)
            let text = whole.bytes.extracting(part.range).string()
            #expect(text.hasPrefix(#","sender":"#) && text.hasSuffix(#""metadata":{"a":1}"#))
        }
    }

    @Test func `An outbound entry is sent, by whoever sent it`() {
        var outbound = entry()
        outbound.isInbound = false
        outbound.senderType = .bot
        outbound.kind = .handler
        let text = json(outbound)
        #expect(text.contains(#""kind":"handler","direction":"outbound","status":"sent","#))
        #expect(text.contains(#""sender":{"type":"bot","#))
        #expect(!text.contains("accepted"))
    }

    @Test func `Optional members stand only when there is something to say`() {
        #expect(!json(entry()).contains("reply_to"))
        #expect(!json(entry()).contains("client_message_id"))
        var full = entry()
        full.replyTo = messageID
        full.clientMessageID = ByteBlock("c-\"1\"")
        full.metadata = ByteBlock(#"{"a":1}"#)
        let text = json(full)
        #expect(text.contains(#","reply_to":"msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061","#))
        #expect(text.contains(#","client_message_id":"c-\"1\"","#))
        #expect(text.contains(#","metadata":{"a":1},"#))
    }

    @Test func `A sender's name cannot break out of its string`() {
        var nasty = entry()
        nasty.senderID = ByteBlock("a\",\"seq\":1,\"x\":\"\n")
        #expect(json(nasty).contains(#""id":"a\",\"seq\":1,\"x\":\"\n"}"#))
    }

    @Test func `The greatest seq is written in full`() {
        var last = entry()
        last.seq = .max
        #expect(json(last).contains(#""seq":18446744073709551615,"#))
    }
}

@Suite struct ConversationTests {
    @Test func `A conversation has the contract's members`() {
        var row = Conversation(
            id: conversationID, tenant: TenantIndex(0), userID: ByteBlock("a\"b"), channel: .sms,
            lastSeq: 7, createdAtMilliseconds: 0, updatedAtMilliseconds: 951_782_400_001)
        #expect(
            json(row, unread: 2)
                == #"{"id":"conv_0192a3b4-c5d6-7000-8000-000000005061","user_id":"a\"b","#
                + #""channel":"sms","status":"open","handler":{"type":"bot","token":1},"#
                + #""labels":[],"priority":"normal","attributes":{},"last_seq":7,"unread":2,"#
                + #""created_at":"1970-01-01T00:00:00.000Z","#
                + #""updated_at":"2000-02-29T00:00:00.001Z","version":1}"#)
        row.handler = Handler(type: .human, token: 9)
        row.status = .snoozed
        #expect(json(row, unread: 0).contains(#""handler":{"type":"human","token":9}"#))
        #expect(json(row, unread: 0).contains(#""status":"snoozed""#))
    }

    @Test func `Names of channels, types and states come back from their text`() {
        for channel in Channel.allCases {
            let name = ByteBlock(channel.name.description)
            #expect(Channel(name.bytes) == channel)
        }
        for type in ContentType.allCases {
            let name = ByteBlock(type.name.description)
            #expect(ContentType(name.bytes) == type)
        }
        for status in ConversationStatus.allCases {
            let name = ByteBlock(status.name.description)
            #expect(ConversationStatus(name.bytes) == status)
        }
    }

    @Test(arguments: ["", "Web", "web ", "WEB", "we", "webb", "Open", "Text", "quick-replies", "0"])
    func `Any other name is unknown`(_ text: String) {
        let name = ByteBlock(text)
        #expect(Channel(name.bytes) == nil)
        #expect(ContentType(name.bytes) == nil)
        #expect(ConversationStatus(name.bytes) == nil)
    }
}

@Suite struct TenantDirectoryTests {
    private func tenant(_ index: UInt16, _ name: String) -> Tenant {
        Tenant(
            index: TenantIndex(index), name: name, allowsGuests: true, ratePerMinute: 1, burst: 1,
            userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
    }

    private func found(_ name: String, in directory: TenantDirectory) -> String? {
        let block = ByteBlock(name)
        return directory.find(block.bytes)?.nameText
    }

    @Test func `A tenant is found by its exact name and by its index`() {
        let names = (0..<500).map { "tenant-\($0)" }
        let directory = TenantDirectory(names.enumerated().map { tenant(UInt16($0), $1) })
        for (index, name) in names.enumerated() {
            #expect(found(name, in: directory) == name)
            #expect(directory.find(named: name)?.index == TenantIndex(UInt16(index)))
            #expect(directory[TenantIndex(UInt16(index))].nameText == name)
        }
    }

    @Test(arguments: ["", "acm", "acme ", "Acme", "ACME", "acme\0", "globex"])
    func `Any other name is not known`(_ name: String) {
        let directory = TenantDirectory([tenant(0, "acme")])
        #expect(found(name, in: directory) == nil)
        #expect(directory.find(named: name) == nil)
    }

    @Test func `A tenant keeps its index over reloads, whatever comes and goes`() {
        let first = TenantDirectory([tenant(0, "a"), tenant(1, "b")])
        // As a store would number them now.
        let second = first.successor([tenant(0, "c"), tenant(1, "b")])
        #expect(second.find(named: "b")?.index == TenantIndex(1))
        #expect(second.find(named: "c")?.index == TenantIndex(2))
        #expect(second.find(named: "a") == nil && found("a", in: second) == nil)
        #expect(second[TenantIndex(0)].nameText == "a", "what is under way still finds it")
        let third = second.successor([tenant(0, "a"), tenant(1, "d")])
        #expect(third.find(named: "a")?.index == TenantIndex(0))
        #expect(third.find(named: "d")?.index == TenantIndex(3))
        #expect(third.tenants.map(\.nameText) == ["a", "b", "c", "d"])
    }

    @Test func `Who holds an old directory finds the newest`() {
        let first = TenantDirectory([tenant(0, "a")])
        #expect(!first.hasSuccessor && first.newest === first)
        let second = first.successor([tenant(0, "a"), tenant(1, "b")])
        #expect(!first.hasSuccessor, "nobody sees it before it is published")
        first.publish(second)
        let third = second.successor([tenant(0, "b")])
        second.publish(third)
        #expect(first.hasSuccessor && second.hasSuccessor && !third.hasSuccessor)
        #expect(first.newest === third && second.newest === third && third.newest === third)
    }

    @Test func `A directory may be empty`() {
        #expect(found("acme", in: TenantDirectory([])) == nil)
    }

    @Test(arguments: ["", "Queue", "merge", "queue ", "0"])
    func `An unknown run policy is none`(_ name: String) {
        #expect(RunPolicy(name: name) == nil)
        for policy in [RunPolicy.queue, .burst, .restart] {
            #expect(RunPolicy(name: policy.name) == policy)
        }
    }
}

import Bytes
import ChatModel
import Testing

@testable import API

private let conversation = "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"
private let answered = "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f0001"

@Suite struct MessageRequestTests {
    @Test func `A full message is read with everything around it`() {
        let found = readMessage(
            message(
                #""conversation_id":"\#(conversation)","client_message_id":"c-1","device_id":"d","#
                    + #""reply_to":"\#(answered)","metadata":{"a":{"b":[1]}}"#), waits: false
        ).value
        #expect(found?.origin == origin(isSocket: false))
        #expect(found?.user == UserKey(tenant: TenantIndex(3), userID: ByteBlock("ann")))
        #expect(found?.conversation?.text(.conversation) == conversation)
        #expect(found?.replyTo?.text(.message) == answered)
        #expect(found?.channel == .web && found?.contentType == .text)
        #expect(found?.content.text == hello && found?.text.text == "Hello")
        #expect(found?.clientMessageID?.text == "c-1")
        #expect(found?.metadata?.text == #"{"a":{"b":[1]}}"#)
        #expect(found?.waitsForReply == false && found?.arrivedNanoseconds == 77)
        #expect(found?.shardKey == 0x5061, "a conversation's id names its core")
    }

    @Test func `Without a conversation the user's own core is named`() {
        let found = readMessage(message()).value
        #expect(
            found?.shardKey == UserKey.shardKey(tenant: ByteBlock("acme"), user: ByteBlock("ann")))
        #expect(found?.conversation == nil && found?.replyTo == nil && found?.metadata == nil)
    }

    @Test func `Unknown fields are ignored and null ones are absent`() {
        let nulls =
            #""conversation_id":null,"client_message_id":null,"device_id":null,"reply_to":null,"metadata":null,"x":{}"#
        let found = readMessage(message(nulls)).value
        #expect(found != nil)
        #expect(
            found?.idempotency == nil && found?.fingerprint == 0 && found?.clientMessageID == nil)
    }

    @Test(arguments: [
        ("[]", " type"), ("null", " type"), (#""x""#, " type"), ("7", " type"),
        (message(user: nil), "/user_id required"), (message(user: "null"), "/user_id required"),
        (message(user: "7"), "/user_id type"), (message(user: #"["ann"]"#), "/user_id type"),
        (message(user: #""""#), "/user_id format"),
        (message(user: #""a\u0000b""#), "/user_id format"),
        (message(user: #""a\nb""#), "/user_id format"),
        (message(user: #""\u007f""#), "/user_id format"),
        (message(user: "\"\(text(129))\""), "/user_id format"),
        (message(user: "\"\(text(65, "é"))\""), "/user_id format"),
        (message(channel: nil), "/channel required"),
        (message(channel: "null"), "/channel required"),
        (message(channel: #""fax""#), "/channel unknown_type"),
        (message(channel: #""Web""#), "/channel unknown_type"),
        (message(channel: #""""#), "/channel unknown_type"),
        (message(channel: "1"), "/channel unknown_type"),
        (message(content: nil), "/content required"), (message(content: "null"), "/content type"),
        (message(#""conversation_id":"x""#), "/conversation_id format"),
        (message(#""conversation_id":7"#), "/conversation_id format"),
        (message(#""conversation_id":"""#), "/conversation_id format"),
        (message(#""conversation_id":"\#(answered)""#), "/conversation_id format"),
        (message(#""conversation_id":"\#(conversation) ""#), "/conversation_id format"),
        (message(#""reply_to":"\#(conversation)""#), "/reply_to format"),
        (message(#""reply_to":[]"#), "/reply_to format"),
        (message(#""client_message_id":"""#), "/client_message_id format"),
        (message(#""client_message_id":7"#), "/client_message_id type"),
        (message(#""client_message_id":"a\tb""#), "/client_message_id format"),
        (message(#""client_message_id":"\#(text(129))""#), "/client_message_id format"),
        (message(#""device_id":"""#), "/device_id format"),
        (message(#""device_id":{}"#), "/device_id type"),
        (message(#""metadata":[]"#), "/metadata type"),
        (message(#""metadata":"{}""#), "/metadata type"),
        (message(#""metadata":7"#), "/metadata type"),
        (message(#""metadata":{"a":1,"a":2}"#), "/metadata duplicate_key"),
        (message(#""metadata":{"x":[{"a":1,"\u0061":2}]}"#), "/metadata duplicate_key"),
        (message(#""metadata":{"x":"\#(text(8185))"}"#), "/metadata too_long"),
    ])
    func `A request that breaks a rule is refused at its pointer`(_ json: String, _ fault: String) {
        let found = readMessage(json, as: principal("svc", .service))
        #expect(found.problem?.status == 422)
        #expect(found.faults == [fault])
    }

    @Test func `All faults of a request are told together`() {
        let found = readMessage(
            #"{"user_id":7,"channel":8,"conversation_id":9,"reply_to":1,"client_message_id":2,"device_id":3,"#
                + #""metadata":4,"content":{"type":"text"}}"#, as: principal("svc", .service))
        #expect(
            found.faults == [
                "/user_id type", "/channel unknown_type", "/conversation_id format",
                "/reply_to format",
                "/client_message_id type", "/device_id type", "/metadata type",
                "/content/text required",
            ])
    }

    @Test(arguments: [
        "{", "{}x", "{\"a\":}", "{'a':1}", "{\"a\":\"\u{1}\"}", "", "{\"a\":\"\\ud800\"}",
        "{\"a\":01}",
    ])
    func `What is no JSON is not read at all`(_ json: String) {
        guard case .noJSON = readMessage(json) else {
            Issue.record("\(json) was parsed")
            return
        }
    }

    @Test func `Metadata of exactly the limit is kept, and empty metadata is none`() {
        let json = #"{"x":"\#(text(8184))"}"#
        #expect(
            readMessage(message("\"metadata\":" + json)).value?.metadata?.count
                == Limits.metadataBytesMax)
        #expect(readMessage(message(#""metadata":{ }"#)).value?.metadata == nil)
    }
}

@Suite struct MessageUserTests {
    @Test(arguments: ["bob", "Ann", "ann ", "an", "annn", "ann\u{301}"])
    func `An end user's token is good for its own user id alone`(_ other: String) {
        let found = readMessage(message(user: "\"\(other)\""))
        #expect(found.problem?.code == .forbidden && found.problem?.status == 403)
    }

    @Test func `The 403 is told before other faults, which would describe another's request`() {
        #expect(readMessage(message(user: #""bob""#, content: "7")).problem?.code == .forbidden)
    }

    @Test(arguments: [Role.agent, .service, .admin])
    func `Who may act for any user may name any`(_ role: Role) {
        #expect(
            readMessage(message(user: #""bob""#), as: principal("x", role)).value?.user.userID.text
                == "bob")
    }

    @Test func `Operators may act for nobody else`() {
        #expect(
            readMessage(message(user: #""bob""#), as: principal("x", .ops)).problem?.code
                == .forbidden)
    }

    @Test func `A socket's frame is its own user's and web chat unless it says otherwise`() {
        let found = readMessage(message(user: nil, channel: nil), isSocket: true, frameID: "c-1")
            .value
        #expect(found?.user.userID.text == "ann" && found?.channel == .web)
        #expect(found?.frameID?.text == "c-1" && found?.clientMessageID?.text == "c-1")
        let named = readMessage(message(channel: #""sms""#), isSocket: true).value
        #expect(named?.channel == .sms)
        #expect(readMessage(message(user: #""bob""#), isSocket: true).problem?.code == .forbidden)
    }

    @Test func `The longest user id is read`() {
        let name = text(128)
        #expect(
            readMessage(message(user: "\"\(name)\""), as: principal(name)).value?.user.userID.text
                == name)
    }
}

@Suite struct IdempotencyScopeTests {
    private func digest(
        _ user: String = "ann", tenant name: String = "acme", key: String? = "k",
        _ json: String? = nil
    ) -> Digest? {
        readMessage(
            json ?? message(user: "\"\(user)\""), as: principal("svc", .service),
            tenant: tenant(name), key: key
        ).value?.idempotency
    }

    @Test func `A key is scoped by tenant and user`() {
        #expect(digest() != nil && digest() == digest())
        let others = [
            digest("bob"), digest("Ann"), digest(tenant: "globex"), digest(key: "K"),
            digest(key: "k "),
            digest("annk", key: "x"), digest("an", key: "nk"), digest("n", tenant: "acmea"),
        ]
        for other in others { #expect(other != nil && other != digest()) }
        #expect(digest(key: "K")?.high == digest()?.high, "a user's keys stand together")
        #expect(Set(others).count == others.count)
    }

    @Test
    func `The header's key goes before the client's message id, and either alone is the same key`()
    {
        let named = message(#""client_message_id":"k""#)
        #expect(digest(key: nil, named) == digest())
        #expect(digest(key: "other", named) == digest(key: "other"))
        #expect(digest(key: nil) == nil)
    }

    @Test func `No key, no fingerprint`() {
        #expect(readMessage(message()).value?.fingerprint == 0)
        #expect(readMessage(message(), key: "k").value?.fingerprint != 0)
    }
}

@Suite struct FingerprintTests {
    private func fingerprint(_ json: String) -> UInt64? {
        readMessage(json, key: "k").value?.fingerprint
    }

    @Test func `Every part of a request changes its fingerprint`() {
        let requests = [
            message(), message(channel: #""sms""#),
            message(content: #"{"type":"text","text":"hello"}"#),
            message(content: #"{"type":"text","text":"Hello","x":1}"#),
            message(#""reply_to":"\#(answered)""#), message(#""metadata":{"a":1}"#),
            message(#""metadata":{"a":2}"#),
            message(#""metadata":{"b":1}"#),
        ]
        let found = requests.compactMap(fingerprint)
        #expect(found.count == requests.count)
        #expect(Set(found).count == requests.count)
    }

    @Test func `What does not make another request leaves it as it is`() {
        let wanted = fingerprint(message())
        let same = [
            message(#""device_id":"d2""#), message(#""client_message_id":"c""#),
            message(#""unknown":1"#),
            message(#""conversation_id":"\#(conversation)""#), message(#""metadata":{}"#),
            message(#""metadata":null"#),
            message(content: "{ \"type\" : \"text\", \"text\":\"\\u0048ello\" }"),
            #"{"content":\#(hello),"channel":"web","user_id":"ann"}"#,
            message(content: #"{"text":"Hello","type":"text"}"#),
        ]
        for json in same { #expect(fingerprint(json) == wanted, "\(json)") }
        #expect(
            fingerprint(message(#""metadata":{"a":[1,{"x":1,"y":2}],"b":2}"#))
                == fingerprint(message(#""metadata":{"b":2,"a":[1,{"y":2,"x":1}]}"#)))
        #expect(
            fingerprint(message(#""metadata":{"a":[1,2]}"#))
                != fingerprint(message(#""metadata":{"a":[2,1]}"#)))
    }

    @Test func `It stays the same from process to process, since it is stored`() {
        #expect(fingerprint(message()) == 15_132_693_248_840_395_933)
    }
}

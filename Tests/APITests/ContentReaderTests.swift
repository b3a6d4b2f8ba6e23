import Bytes
import ChatModel
import Testing

@testable import API

private struct Accepted: Sendable, CustomTestStringConvertible {
    var type: ContentType
    /// What the engine reads.
    var text: String
    var json: String

    init(_ type: ContentType, _ json: String, text: String = "") {
        self.type = type
        self.json = json
        self.text = text
    }

    var testDescription: String { String(json.prefix(120)) }
}

private struct Refused: Sendable, CustomTestStringConvertible {
    var json: String
    var faults: [String]

    init(_ json: String, _ faults: String...) {
        self.json = json
        self.faults = faults.map { "/content" + $0 }
    }

    var testDescription: String { "\(faults) \(json.prefix(120))" }
}

private let messageID = "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"
private let choice = #"{"id":"1","title":"One"}"#

private func list(_ element: String, _ count: Int) -> String {
    "[" + [String](repeating: element, count: count).joined(separator: ",") + "]"
}

private let accepted: [Accepted] = [
    Accepted(.text, #"{"type":"text","text":"x"}"#, text: "x"),
    Accepted(.text, #"{"type":"text","text":"\#(text(10_000, "é"))"}"#, text: text(10_000, "é")),
    Accepted(.text, #"{"type":"text","text":"\#(text(10_000, "😀"))"}"#, text: text(10_000, "😀")),
    Accepted(.image, #"{"type":"image","url":"https://e.x/a.png","mime_type":"image/png"}"#),
    Accepted(.image, #"{"type":"image","media_id":"m1","mime_type":"image/png"}"#),
    Accepted(
        .audio, #"{"type":"audio","url":"http://e.x/a","mime_type":"audio/ogg","duration_ms":0}"#),
    Accepted(
        .video,
        #"{"type":"video","url":"https://e.x/v","mime_type":"video/mp4","filename":"v","caption":"","#
            + #""size":9007199254740993,"width":1,"height":2,"duration_ms":3}"#),
    Accepted(
        .file, #"{"type":"file","media_id":"m","mime_type":"a/b","caption":"\#(text(1024))"}"#),
    Accepted(.file, #"{"type":"file","url":null,"media_id":"m","mime_type":"a/b"}"#),
    Accepted(.file, #"{"type":"file","url":"https://e.x/\#(text(2036))","mime_type":"a/b"}"#),
    Accepted(.location, #"{"type":"location","latitude":90,"longitude":-180}"#),
    Accepted(
        .location,
        #"{"type":"location","latitude":-90.0,"longitude":180.0,"name":"n","address":""}"#),
    Accepted(.location, #"{"type":"location","latitude":0.125,"longitude":-0.5}"#),
    Accepted(.contact, #"{"type":"contact","name":{"full":"A B"},"phones":["+1"]}"#),
    Accepted(.buttons, #"{"type":"buttons","text":"t","buttons":\#(list(choice, 10))}"#, text: "t"),
    Accepted(
        .buttons,
        #"{"type":"buttons","text":"t","buttons":[{"id":"1","title":"a","url":"https://e.x/a"}]}"#,
        text: "t"),
    Accepted(
        .quickReplies, #"{"type":"quick_replies","text":"t","replies":\#(list(choice, 13))}"#,
        text: "t"),
    Accepted(
        .list,
        #"{"type":"list","text":"t","button":"b","sections":\#(list("{\"title\":\"s\",\"rows\":[\(choice)]}", 10))}"#,
        text: "t"),
    Accepted(
        .list,
        #"{"type":"list","text":"t","button":"b","sections":[{"rows":\#(list(choice, 10))}]}"#,
        text: "t"),
    Accepted(.carousel, #"{"type":"carousel","cards":\#(list("{\"title\":\"c\"}", 10))}"#),
    Accepted(
        .carousel,
        #"{"type":"carousel","cards":[{"title":"\#(text(80))","subtitle":"s","image_url":"https://e.x/i","#
            + #""buttons":\#(list(choice, 3))}]}"#),
    Accepted(
        .template, #"{"type":"template","name":"welcome","locale":"de-AT","variables":{"a":1}}"#),
    Accepted(
        .reply, #"{"type":"reply","id":"1","title":"Talk to a human"}"#, text: "Talk to a human"),
    Accepted(.reaction, #"{"type":"reaction","message_id":"\#(messageID)","emoji":"👩‍👩‍👧‍👦"}"#),
    Accepted(.event, #"{"type":"event","name":"opened","data":{"deep":[1,{"x":null}]}}"#),
    Accepted(.event, #"{"type":"event","name":"opened"}"#),
    Accepted(.text, #"{"type":"text","text":"x","unknown":{"kept":[true,false,null]}}"#, text: "x"),
]

private let refused: [Refused] = [
    // The object and its type.
    Refused("null", " type"), Refused("[]", " type"), Refused(#""text""#, " type"),
    Refused("7", " type"),
    Refused("{}", "/type required"), Refused(#"{"type":null}"#, "/type required"),
    Refused(#"{"type":7}"#, "/type required"), Refused(#"{"type":["text"]}"#, "/type required"),
    Refused(#"{"type":"Text","text":"x"}"#, "/type unknown_type"),
    Refused(#"{"type":"text ","text":"x"}"#, "/type unknown_type"),
    Refused(#"{"type":"","text":"x"}"#, "/type unknown_type"),
    Refused(#"{"type":"html","text":"x"}"#, "/type unknown_type"),
    Refused(#"{"type":"text","text":"a","text":"b"}"#, " duplicate_key"),
    Refused(#"{"type":"text","type":"image","text":"b"}"#, " duplicate_key"),
    Refused(#"{"type":"text","text":"a","x":{"y":[{"z":1,"z":2}]}}"#, " duplicate_key"),
    Refused(#"{"type":"text","text":"a","\u0074ext":"b"}"#, " duplicate_key"),
    // text
    Refused(#"{"type":"text"}"#, "/text required"),
    Refused(#"{"type":"text","text":null}"#, "/text required"),
    Refused(#"{"type":"text","text":""}"#, "/text too_short"),
    Refused(#"{"type":"text","text":7}"#, "/text type"),
    Refused(#"{"type":"text","text":["x"]}"#, "/text type"),
    Refused(#"{"type":"text","text":"\#(text(10_001))"}"#, "/text too_long"),
    Refused(#"{"type":"text","text":"\#(text(10_001, "é"))"}"#, "/text too_long"),
    // media
    Refused(#"{"type":"image"}"#, "/url required", "/mime_type required"),
    Refused(#"{"type":"image","url":null,"mime_type":"a/b"}"#, "/url required"),
    Refused(#"{"type":"audio","url":7,"mime_type":"a/b"}"#, "/url type"),
    Refused(#"{"type":"video","url":"javascript:alert(1)","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"video","url":"data:text/html,x","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"ftp://e.x/a","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"//e.x/a","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":" https://e.x/a","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"https://e.x/a b","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"https://e.x/a\nb","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"https://e.x/a\u007f","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"https://","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"file","url":"","mime_type":"a/b"}"#, "/url format"),
    Refused(
        #"{"type":"file","url":"https://e.x/\#(text(2037))","mime_type":"a/b"}"#, "/url format"),
    Refused(#"{"type":"image","media_id":"","mime_type":"a/b"}"#, "/media_id too_short"),
    Refused(
        #"{"type":"image","media_id":"\#(text(129))","mime_type":"a/b"}"#, "/media_id too_long"),
    Refused(#"{"type":"image","media_id":1,"mime_type":"a/b"}"#, "/media_id type"),
    Refused(#"{"type":"image","media_id":"m"}"#, "/mime_type required"),
    Refused(#"{"type":"image","media_id":"m","mime_type":1}"#, "/mime_type type"),
    Refused(#"{"type":"image","media_id":"m","mime_type":""}"#, "/mime_type format"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"png"}"#, "/mime_type format"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"/png"}"#, "/mime_type format"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"image/"}"#, "/mime_type format"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"a/\#(text(126))"}"#, "/mime_type format"),
    Refused(
        #"{"type":"image","media_id":"m","mime_type":"a/b","filename":""}"#, "/filename too_short"),
    Refused(
        #"{"type":"image","media_id":"m","mime_type":"a/b","filename":"\#(text(257))"}"#,
        "/filename too_long"),
    Refused(
        #"{"type":"image","media_id":"m","mime_type":"a/b","caption":"\#(text(1025))"}"#,
        "/caption too_long"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"a/b","caption":1}"#, "/caption type"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"a/b","size":-1}"#, "/size type"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"a/b","width":1.5}"#, "/width type"),
    Refused(#"{"type":"image","media_id":"m","mime_type":"a/b","height":"1"}"#, "/height type"),
    Refused(
        #"{"type":"image","media_id":"m","mime_type":"a/b","duration_ms":true}"#,
        "/duration_ms type"),
    // location
    Refused(#"{"type":"location"}"#, "/latitude required", "/longitude required"),
    Refused(#"{"type":"location","latitude":90.000001,"longitude":0}"#, "/latitude range"),
    Refused(#"{"type":"location","latitude":-91,"longitude":0}"#, "/latitude range"),
    Refused(#"{"type":"location","latitude":0,"longitude":180.5}"#, "/longitude range"),
    Refused(#"{"type":"location","latitude":0,"longitude":-1e300}"#, "/longitude range"),
    Refused(
        #"{"type":"location","latitude":"0","longitude":null}"#, "/latitude type",
        "/longitude required"),
    Refused(
        #"{"type":"location","latitude":0,"longitude":0,"name":"\#(text(257))"}"#, "/name too_long"),
    Refused(#"{"type":"location","latitude":0,"longitude":0,"address":[]}"#, "/address type"),
    // buttons and quick replies
    Refused(#"{"type":"buttons"}"#, "/text required", "/buttons required"),
    Refused(#"{"type":"buttons","text":"t","buttons":[]}"#, "/buttons too_few"),
    Refused(#"{"type":"buttons","text":"t","buttons":\#(list(choice, 11))}"#, "/buttons too_many"),
    Refused(#"{"type":"buttons","text":"t","buttons":{}}"#, "/buttons type"),
    Refused(
        #"{"type":"buttons","text":"t","buttons":[7,\#(choice),"x"]}"#, "/buttons/0 type",
        "/buttons/2 type"),
    Refused(
        #"{"type":"buttons","text":"t","buttons":[{}]}"#, "/buttons/0/id required",
        "/buttons/0/title required"),
    Refused(
        #"{"type":"buttons","text":"t","buttons":[\#(choice),{"id":"","title":"\#(text(81))","url":"x"}]}"#,
        "/buttons/1/id too_short", "/buttons/1/title too_long", "/buttons/1/url format"),
    Refused(
        #"{"type":"quick_replies","text":"t","replies":\#(list(choice, 14))}"#, "/replies too_many"),
    Refused(
        #"{"type":"quick_replies","text":"","replies":[{"id":1,"title":"x"}]}"#, "/text too_short",
        "/replies/0/id type"),
    // list
    Refused(#"{"type":"list","text":"t"}"#, "/button required", "/sections required"),
    Refused(
        #"{"type":"list","text":"t","button":"\#(text(81))","sections":[]}"#, "/button too_long",
        "/sections too_few"),
    Refused(
        #"{"type":"list","text":"t","button":"b","sections":\#(list("{\"rows\":[\(choice)]}", 11))}"#,
        "/sections too_many"),
    Refused(
        #"{"type":"list","text":"t","button":"b","sections":[{"title":"x"}]}"#,
        "/sections/0/rows required"),
    Refused(
        #"{"type":"list","text":"t","button":"b","sections":[{"title":"\#(text(81))","rows":\#(list(choice, 11))}]}"#,
        "/sections/0/title too_long", "/sections/0/rows too_many"),
    Refused(
        #"{"type":"list","text":"t","button":"b","sections":[{"rows":[\#(choice)]},{"rows":[\#(choice),{"id":"x"}]}]}"#,
        "/sections/1/rows/1/title required"),
    // carousel
    Refused(#"{"type":"carousel"}"#, "/cards required"),
    Refused(#"{"type":"carousel","cards":\#(list("{\"title\":\"c\"}", 11))}"#, "/cards too_many"),
    Refused(#"{"type":"carousel","cards":[]}"#, "/cards too_few"),
    Refused(
        #"{"type":"carousel","cards":[{"title":"","subtitle":"\#(text(257))","image_url":"file:///etc"}]}"#,
        "/cards/0/title too_short", "/cards/0/subtitle too_long", "/cards/0/image_url format"),
    Refused(
        #"{"type":"carousel","cards":[{"title":"c","buttons":\#(list(choice, 4))}]}"#,
        "/cards/0/buttons too_many"),
    Refused(
        #"{"type":"carousel","cards":[{"title":"c"},{"title":"c","buttons":[\#(choice),{"id":"x"}]}]}"#,
        "/cards/1/buttons/1/title required"),
    // template, reply, reaction, event
    Refused(#"{"type":"template"}"#, "/name required"),
    Refused(
        #"{"type":"template","name":"","locale":"d","variables":[]}"#, "/name too_short",
        "/locale too_short", "/variables type"),
    Refused(#"{"type":"template","name":"n","locale":"\#(text(36))"}"#, "/locale too_long"),
    Refused(#"{"type":"reply"}"#, "/id required", "/title required"),
    Refused(
        #"{"type":"reply","id":"\#(text(257))","title":""}"#, "/id too_long", "/title too_short"),
    Refused(#"{"type":"reaction"}"#, "/message_id required", "/emoji required"),
    Refused(#"{"type":"reaction","message_id":"x","emoji":"x"}"#, "/message_id format"),
    Refused(#"{"type":"reaction","message_id":7,"emoji":"x"}"#, "/message_id format"),
    Refused(
        #"{"type":"reaction","message_id":"conv_\#(messageID.dropFirst(4))","emoji":"x"}"#,
        "/message_id format"),
    Refused(#"{"type":"reaction","message_id":"\#(messageID)","emoji":""}"#, "/emoji too_short"),
    Refused(
        #"{"type":"reaction","message_id":"\#(messageID)","emoji":"\#(text(33))"}"#,
        "/emoji too_long"),
    Refused(#"{"type":"event"}"#, "/name required"),
    Refused(#"{"type":"event","name":"\#(text(257))","data":"x"}"#, "/name too_long", "/data type"),
    Refused(#"{"type":"event","name":"x","data":[]}"#, "/data type"),
]

@Suite struct ContentReaderTests {
    @Test(arguments: accepted)
    private func `A content of each type is read, with the text that the engine needs`(
        _ content: Accepted
    ) {
        let found = readContent(content.json)
        #expect(found.faults == [])
        #expect(found.value?.contentType == content.type)
        #expect(found.value?.text.text == content.text)
    }

    @Test func `Every type has an accepted example, and more refused ones than accepted`() {
        #expect(Set(accepted.map(\.type)) == Set(ContentType.allCases))
        #expect(refused.count > 2 * accepted.count)
    }

    @Test(arguments: refused)
    private func `A content that breaks a rule is refused at its pointer`(_ content: Refused) {
        let found = readContent(content.json)
        #expect(found.problem?.code == .validationFailed)
        #expect(found.faults == content.faults)
    }

    @Test func `What is stored is compact, with one spelling for each string`() {
        let spelled =
            "{ \"type\" : \"te\\u0078t\",\n\t\"text\" : \"\\u0048\\u00e9\\/\\ud83d\\ude00\\n\" , \"n\":[ 1 , -2, 0.5 ] }"
        #expect(
            readContent(spelled).value?.content.text
                == "{\"type\":\"text\",\"text\":\"Hé/😀\\n\",\"n\":[1,-2,0.5]}")
    }

    @Test func `Numbers keep their value`() {
        let numbers = [
            "0", "-1", "9223372036854775807", "-9223372036854775808", "18446744073709551615", "0.1",
            "true", "null",
        ]
        for number in numbers {
            let json = #"{"type":"event","name":"x","data":{"n":\#(number)}}"#
            #expect(readContent(json).value?.content.text == json)
        }
    }

    @Test func `At most twenty faults are told`() {
        let found = readContent(#"{"type":"buttons","text":"t","buttons":\#(list("{}", 10))}"#)
        #expect(found.faults.count == 20)
        #expect(found.problem?.detail == "The request has 20 faults.")
        let many =
            #"{"type":"list","text":"t","button":"b","sections":\#(list("{\"rows\":\(list("{}", 10))}", 10))}"#
        #expect(readContent(many).faults.count == FaultList.faultsMax)
    }

    @Test func `A single fault is the problem's detail`() {
        #expect(readContent("{}").problem?.detail == "content.type must be a string.")
    }

    @Test func `A field that is named twice is found among thousands`() {
        func content(_ count: Int, twice: Int?) -> String {
            var fields = (0..<count).map { "\"f\($0)\":\($0)" }
            if let twice { fields.append("\"f\(twice)\":0") }
            return #"{"type":"event","name":"x","data":{\#(fields.joined(separator: ","))}}"#
        }
        for count in [1, 2, 16, 17, 33, 5000] {
            #expect(readContent(content(count, twice: nil)).faults == [])
            for twice in [0, count / 2, count - 1] {
                #expect(
                    readContent(content(count, twice: twice)).faults == ["/content duplicate_key"])
            }
        }
    }
}

import Bytes
import Testing

@testable import ChatModel

private func json(_ problem: Problem, instance: String = "", requestID: String = "r") -> String {
    let writer = ByteWriter(capacity: 16)
    let path = ByteBlock(instance)
    let id = ByteBlock(requestID)
    problem.write(into: writer, instance: path.bytes, requestID: id.bytes)
    return writer.string()
}

/// The codes of the contract's section 3, with the status and whether trying again may help.
private let contract: [(code: String, status: Int, isRetryable: Bool)] = [
    ("malformed_json", 400, false), ("bad_request", 400, false), ("unauthenticated", 401, false),
    ("forbidden", 403, false), ("tenant_mismatch", 403, false), ("not_found", 404, false),
    ("method_not_allowed", 405, false), ("conflict", 409, true),
    ("precondition_failed", 412, false),
    ("payload_too_large", 413, false),
    ("unsupported_media_type", 415, false), ("validation_failed", 422, false),
    ("idempotency_mismatch", 422, false), ("rate_limited", 429, true), ("internal", 500, true),
    ("temporarily_unavailable", 503, true), ("timeout", 504, true),
]

@Suite struct ProblemTests {
    @Test func `Each code has the contract's status and retryability`() {
        #expect(Set(contract.map(\.code)) == Set(ProblemCode.allCases.map(\.rawValue)))
        for row in contract {
            let code = ProblemCode(rawValue: row.code)
            #expect(code?.status == row.status, "\(row.code)")
            #expect(code?.isRetryable == row.isRetryable, "\(row.code)")
        }
    }

    @Test func `A problem without faults has the members of RFC 9457 in this order`() {
        let problem = Problem(.notFound, "There is no such conversation.")
        #expect(
            json(problem, instance: "/api/v2/x", requestID: "req-1")
                == #"{"type":"about:blank#not_found","title":"Not found","status":404,"#
                + #""detail":"There is no such conversation.","instance":"/api/v2/x","#
                + #""code":"not_found","request_id":"req-1","retryable":false}"#)
    }

    @Test func `An empty instance becomes the root`() {
        #expect(json(Problem(.conflict, "x")).contains("\"instance\":\"/\""))
        #expect(json(Problem(.conflict, "x"), instance: "/").contains(#""instance":"/""#))
    }

    @Test func `Faults are told in their order, each with pointer, code and detail`() {
        let problem = Problem(
            .validationFailed, "Two faults.",
            faults: [
                FieldFault("/content/text", "too_long", "Too long."),
                FieldFault("?limit", "range", "Out of range."),
            ])
        #expect(
            json(problem).hasSuffix(
                #""retryable":false,"errors":[{"pointer":"/content/text","code":"too_long","#
                    + #""detail":"Too long."},{"pointer":"?limit","code":"range","#
                    + #""detail":"Out of range."}]}"#))
    }

    @Test func `Without faults there is no errors member`() {
        #expect(!json(Problem(.validationFailed, "x")).contains("errors"))
    }

    @Test func `Text from outside cannot break out of its string`() {
        let nasty = "a\"b\\c\n\u{1}\u{7F}é😀"
        let problem = Problem(
            .badRequest, nasty, faults: [FieldFault("/" + nasty, nasty, nasty)])
        let wanted = #"a\"b\\c\n\u0001"# + "\u{7F}é😀"
        let text = json(problem, instance: nasty, requestID: nasty)
        #expect(text.contains("\"detail\":\"\(wanted)\""))
        #expect(text.contains("\"instance\":\"\(wanted)\""))
        #expect(text.contains("\"request_id\":\"\(wanted)\""))
        #expect(text.contains("{\"pointer\":\"/\(wanted)\",\"code\":\"\(wanted)\""))
        #expect(!text.contains("\n") && !text.contains("\u{1}"))
    }

    @Test func `An override changes the status in the body as well`() {
        let problem = Problem(.badRequest, "x", statusOverride: 431)
        #expect(problem.status == 431)
        #expect(json(problem).contains(#""status":431,"#))
    }

    @Test func `An invalid field makes a 422 with one fault and its detail`() {
        let problem = Problem.invalid("/a", "type", "Wrong.")
        #expect(problem.status == 422)
        #expect(problem.detail == "Wrong.")
        #expect(problem.faults == [FieldFault("/a", "type", "Wrong.")])
        #expect(problem.retryAfterSeconds == nil)
    }

    @Test func `Every code has a title that needs no escaping`() {
        for code in ProblemCode.allCases {
            let title = code.title.description
            #expect(!title.isEmpty)
            #expect(title.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x22 && $0 != 0x5C && $0 < 0x7F })
        }
    }
}

import Bytes
import ChatModel
import Wire

@testable import API

extension ByteBlock {
    var text: String { bytes.string() }
}

func tenant(_ name: String = "acme", index: UInt16 = 3) -> Tenant {
    Tenant(
        index: TenantIndex(index), name: name, allowsGuests: true, ratePerMinute: 1, burst: 1,
        userRatePerMinute: 1, userBurst: 1, runPolicy: .queue, allowedOrigins: [])
}

func principal(_ name: String = "ann", _ role: Role = .endUser) -> Principal {
    Principal(
        tenant: TenantIndex(3), subject: ByteBlock(name), permissions: role.permissions,
        expiresAtSeconds: .max)
}

func origin(isSocket: Bool) -> Origin {
    Origin(core: 1, isSocket: isSocket, token: Token(slot: 2, generation: 3), ordinal: 4)
}

/// Whatever came of reading something.
enum Reading<Value> {
    case read(Value)
    case refused(Problem)
    case noJSON

    var value: Value? { if case .read(let value) = self { value } else { nil } }
    var problem: Problem? { if case .refused(let problem) = self { problem } else { nil } }

    /// `pointer code` of each fault, in order.
    var faults: [String] { problem?.faults.map { "\($0.pointer) \($0.code)" } ?? [] }
}

func readMessage(
    _ json: String, as principal: Principal = principal(), tenant: Tenant = tenant(),
    isSocket: Bool = false, key: String? = nil, frameID: String? = nil, waits: Bool = true
) -> Reading<Submission> {
    let parser = JSONParser(documentBytesMax: 1 << 20, depthMax: Limits.jsonDepthMax)
    let block = ByteBlock(json)
    guard parser.parse(block.bytes) else { return .noJSON }
    let context = MessageRequestReader.Context(
        origin: origin(isSocket: isSocket), frameID: frameID.map { ByteBlock($0) },
        principal: principal,
        tenant: tenant, key: key.map { ByteBlock($0) }, waitsForReply: waits, nowNanoseconds: 77)
    do throws(Problem) {
        return .read(try MessageRequestReader(parser: parser).read(context))
    } catch {
        return .refused(error)
    }
}

let hello = #"{"type":"text","text":"Hello"}"#

func message(
    user: String? = #""ann""#, channel: String? = #""web""#, content: String? = hello,
    _ others: String = ""
) -> String {
    var members: [String] = []
    if let user { members.append("\"user_id\":" + user) }
    if let channel { members.append("\"channel\":" + channel) }
    if let content { members.append("\"content\":" + content) }
    if !others.isEmpty { members.append(others) }
    return "{" + members.joined(separator: ",") + "}"
}

func readContent(_ json: String) -> Reading<Submission> { readMessage(message(content: json)) }

func text(_ count: Int, _ letter: String = "x") -> String {
    String(repeating: letter, count: count)
}

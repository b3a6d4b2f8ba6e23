// Reads what an agent says (POST /api/v2/chat/conversations/{id}/messages).

import Bytes
import ChatModel
import Wire

extension MessageRequestReader {
    /// The document must have been parsed. `key` is the Idempotency-Key header.
    public func readAgentMessage(
        _ principal: Principal, _ tenant: Tenant, key: ByteBlock?
    ) throws(Problem) -> AgentMessage {
        let root = JSONParser.root
        guard parser.kind(root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        var faults = FaultList()
        let isInternal = isInternal(root, &faults)
        let replyTo = identifier(root, "reply_to", .message, &faults)
        let clientID = name(root, "client_message_id", Limits.clientMessageIDBytesMax, &faults)
        let metadata = metadata(root, &faults)
        let metadataHash =
            metadata == nil ? 0 : parser.field(root, "metadata").map(parser.hash) ?? 0
        var content: ReadContent?
        if let node = parser.field(root, "content") {
            content = contents.read(node, at: "/content", &faults)
        } else {
            faults.add("/content", "required", "content is needed.")
        }
        guard faults.isEmpty, let content else { throw faults.problem }
        let name = key ?? clientID
        let hash = fingerprint(.web, replyTo, metadataHash ^ (isInternal ? 1 : 0), content.hash)
        return AgentMessage(
            content: content.json, isInternal: isInternal, clientMessageID: clientID,
            idempotency: name.map { digest(tenant.name, principal.subject, $0, kind: 1) },
            fingerprint: name == nil ? 0 : hash, replyTo: replyTo, metadata: metadata)
    }

    private func isInternal(_ root: JSONNode, _ faults: inout FaultList) -> Bool {
        guard let node = parser.field(root, "visibility"), parser.kind(node) != .null else {
            return false
        }
        let parser = parser
        if parser.kind(node) == .string {
            if parser.string(node).equals("public") { return false }
            if parser.string(node).equals("internal") { return true }
        }
        faults.add("/visibility", "format", "visibility must be public or internal.")
        return false
    }
}

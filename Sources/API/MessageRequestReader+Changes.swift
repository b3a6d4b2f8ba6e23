// Reads what is to become of a message (PATCH …/messages/{message_id}, POST …/reactions).

import Bytes
import ChatModel
import Wire

extension MessageRequestReader {
    /// The new content, by the rules of a message's; the document must have been parsed. `key` is
    /// the Idempotency-Key header. Throws a problem with a pointer for each fault.
    public func readEdit(
        of message: Identifier, _ principal: Principal, _ tenant: Tenant, key: ByteBlock?
    ) throws(Problem) -> MessageChange {
        let root = try rootObject()
        var faults = FaultList()
        var content: ReadContent?
        if let node = parser.field(root, "content") {
            content = contents.read(node, at: "/content", &faults)
        } else {
            faults.add("/content", "required", "content is needed.")
        }
        if content?.type == .event || content?.type == .reaction {
            // What stands in place of a deleted message is an event.
            faults.add(
                "/content/type", "unsupported", "A message cannot be edited to become this.")
        }
        guard faults.isEmpty, let content else { throw faults.problem }
        return MessageChange(
            deed: .edit, message: message, content: content.json,
            idempotency: key.map { digest(tenant.name, principal.subject, $0, kind: 2) },
            fingerprint: key == nil ? 0 : fingerprint(.web, message, 1, content.hash))
    }

    /// An empty emoji takes the sender's reaction back.
    public func readReaction(
        to message: Identifier, _ principal: Principal, _ tenant: Tenant, key: ByteBlock?
    ) throws(Problem) -> MessageChange {
        let root = try rootObject()
        let parser = parser
        guard let node = parser.field(root, "emoji"), parser.kind(node) != .null else {
            throw .invalid("/emoji", "required", "emoji is needed; empty takes a reaction back.")
        }
        guard parser.kind(node) == .string else {
            throw .invalid("/emoji", "type", "emoji must be a string.")
        }
        let emoji = parser.string(node)
        guard emoji.byteCount <= Limits.emojiBytesMax, !emoji.hasControlCharacter() else {
            throw .invalid(
                "/emoji", "format",
                "emoji must have at most \(Limits.emojiBytesMax) bytes and no control characters.")
        }
        let hash = emoji.hash(seed: 0)
        return MessageChange.reaction(
            to: message, emoji: ByteBlock(copying: emoji),
            idempotency: key.map { digest(tenant.name, principal.subject, $0, kind: 2) },
            fingerprint: key == nil ? 0 : fingerprint(.web, message, 3, hash))
    }

    private func rootObject() throws(Problem) -> JSONNode {
        guard parser.kind(JSONParser.root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        return JSONParser.root
    }
}

extension RawSpan {
    /// C0, DEL or C1 (U+0080 to U+009F), in valid UTF-8.
    fileprivate func hasControlCharacter() -> Bool {
        for offset in 0..<byteCount {
            let byte = byte(at: offset)
            if byte < 0x20 || byte == 0x7F { return true }
            if byte == 0xC2, offset + 1 < byteCount, self.byte(at: offset + 1) < 0xA0 {
                return true
            }
        }
        return false
    }
}

// Reads a message, from the body of POST /api/v2/chat/message or from a socket's frame, into a
// submission.

import Bytes
import ChatModel
import Identity
import Wire

/// Owner: one core. The parsed document of the request at hand is the parser's.
public final class MessageRequestReader {
    let parser: JSONParser
    let contents: ContentReader
    let writer = ByteWriter(capacity: 1024)

    public init(parser: JSONParser) {
        self.parser = parser
        contents = ContentReader(parser: parser)
    }

    /// What is around the message and not in it.
    public struct Context {
        public let origin: Origin
        public let frameID: ByteBlock?
        public let principal: Principal
        public let tenant: Tenant
        /// The Idempotency-Key header or the frame's id.
        public let key: ByteBlock?
        public let waitsForReply: Bool
        public let nowNanoseconds: UInt64

        public init(
            origin: Origin, frameID: ByteBlock?, principal: Principal, tenant: Tenant,
            key: ByteBlock?,
            waitsForReply: Bool, nowNanoseconds: UInt64
        ) {
            self.origin = origin
            self.frameID = frameID
            self.principal = principal
            self.tenant = tenant
            self.key = key
            self.waitsForReply = waitsForReply
            self.nowNanoseconds = nowNanoseconds
        }
    }

    /// The document must have been parsed. Throws a problem: 403 for another's user_id, 422 for the
    /// rest.
    public func read(_ context: Context) throws(Problem) -> Submission {
        let root = JSONParser.root
        guard parser.kind(root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        var faults = FaultList()
        let user = userID(root, context, &faults)
        if let user, !context.principal.may(.anyUser), !user.equals(context.principal.subject) {
            throw Problem(.forbidden, "This token may only be used for its own user_id.")
        }
        let channel = channel(root, context, &faults)
        let conversation = identifier(root, "conversation_id", .conversation, &faults)
        let replyTo = identifier(root, "reply_to", .message, &faults)
        let clientID = name(root, "client_message_id", Limits.clientMessageIDBytesMax, &faults)
        _ = name(root, "device_id", Limits.deviceIDBytesMax, &faults)
        let metadata = metadata(root, &faults)
        let metadataHash =
            metadata == nil ? 0 : parser.field(root, "metadata").map(parser.hash) ?? 0
        var content: ReadContent?
        if let node = parser.field(root, "content") {
            content = contents.read(node, at: "/content", &faults)
        } else {
            faults.add("/content", "required", "content is needed.")
        }
        guard faults.isEmpty, let user, let content else { throw faults.problem }
        return submission(
            context, user, channel, conversation, replyTo, clientID, metadata, metadataHash, content
        )
    }

    private func submission(
        _ context: Context, _ user: ByteBlock, _ channel: Channel, _ conversation: Identifier?,
        _ replyTo: Identifier?, _ clientID: ByteBlock?, _ metadata: ByteBlock?,
        _ metadataHash: UInt64, _ content: ReadContent
    ) -> Submission {
        let tenantName = context.tenant.name
        let key = context.key ?? clientID
        return Submission(
            origin: context.origin, frameID: context.frameID, principal: context.principal,
            user: UserKey(tenant: context.tenant.index, userID: user),
            shardKey: conversation?.shardKey
                ?? UserKey.shardKey(tenant: tenantName, user: user),
            conversation: conversation, channel: channel, contentType: content.type,
            content: content.json,
            text: content.text, clientMessageID: clientID ?? context.frameID,
            idempotency: key.map { digest(tenantName, user, $0) },
            fingerprint: key == nil
                ? 0 : fingerprint(channel, replyTo, metadataHash, content.hash),
            replyTo: replyTo, metadata: metadata, waitsForReply: context.waitsForReply,
            arrivedNanoseconds: context.nowNanoseconds)
    }

    private func userID(
        _ root: JSONNode, _ context: Context, _ faults: inout FaultList
    ) -> ByteBlock? {
        guard let node = parser.field(root, "user_id"), parser.kind(node) != .null else {
            if context.origin.isSocket { return context.principal.subject }
            faults.add("/user_id", "required", "user_id is needed.")
            return nil
        }
        return name(root, "user_id", Limits.userIDBytesMax, &faults)
    }

    /// A socket is web chat unless it says otherwise; over HTTP the channel is named.
    private func channel(_ root: JSONNode, _ context: Context, _ faults: inout FaultList) -> Channel
    {
        guard let node = parser.field(root, "channel"), parser.kind(node) != .null else {
            if !context.origin.isSocket { faults.add("/channel", "required", "channel is needed.") }
            return .web
        }
        let parser = parser
        guard parser.kind(node) == .string, let channel = Channel(parser.string(node)) else {
            faults.add(
                "/channel", "unknown_type",
                "channel must be one of web, whatsapp, messenger, slack, teams, sms, voice, http.")
            return .web
        }
        return channel
    }

    func identifier(
        _ root: JSONNode, _ field: StaticString, _ kind: IdentifierKind, _ faults: inout FaultList
    ) -> Identifier? {
        guard let node = parser.field(root, field), parser.kind(node) != .null else { return nil }
        let parser = parser
        guard parser.kind(node) == .string, let id = Identifier(parser.string(node), kind: kind)
        else {
            faults.add(
                "/\(field)", "format", "\(field) must be an id that starts with \(kind.prefix).")
            return nil
        }
        return id
    }

    /// A name that clients choose: 1 to `bytesMax` bytes, no control characters.
    func name(
        _ root: JSONNode, _ field: StaticString, _ bytesMax: Int, _ faults: inout FaultList
    ) -> ByteBlock? {
        guard let node = parser.field(root, field), parser.kind(node) != .null else { return nil }
        let parser = parser
        guard parser.kind(node) == .string else {
            faults.add("/\(field)", "type", "\(field) must be a string.")
            return nil
        }
        let text = parser.string(node)
        guard Self.isName(text, bytesMax) else {
            faults.add(
                "/\(field)", "format",
                "\(field) must have 1 to \(bytesMax) bytes and no control characters.")
            return nil
        }
        return ByteBlock(copying: text)
    }

    public static func isName(_ text: RawSpan, _ bytesMax: Int) -> Bool {
        guard text.byteCount > 0, text.byteCount <= bytesMax else { return false }
        for offset in 0..<text.byteCount
        where text.byte(at: offset) < 0x20 || text.byte(at: offset) == 0x7F {
            return false
        }
        return true
    }

    func metadata(_ root: JSONNode, _ faults: inout FaultList) -> ByteBlock? {
        guard let node = parser.field(root, "metadata"), parser.kind(node) != .null else {
            return nil
        }
        guard parser.kind(node) == .object else {
            faults.add("/metadata", "type", "metadata must be an object.")
            return nil
        }
        if parser.hasDuplicateKeys(node) {
            faults.add("/metadata", "duplicate_key", "An object names a field twice.")
            return nil
        }
        writer.removeAll()
        parser.write(node, into: writer)
        guard writer.count <= Limits.metadataBytesMax else {
            faults.add(
                "/metadata", "too_long",
                "metadata has more than \(Limits.metadataBytesMax) bytes of JSON.")
            return nil
        }
        return writer.count == 2 ? nil : writer.block()
    }

    /// Keys are a user's own: the same key of two users names two messages. The high half is the
    /// same for all keys of a user, so that they stand together in the store's index.
    /// `kind` keeps what one and the same person says as a user and as an agent apart.
    func digest(
        _ tenant: ByteBlock, _ user: ByteBlock, _ key: ByteBlock, kind: UInt8 = 0
    ) -> Digest {
        let writer = writer
        writer.removeAll()
        writer.append(tenant)
        writer.append(0)
        writer.append(user)
        writer.append(kind)
        writer.append(key)
        return Digest(
            high: user.bytes.hash(seed: tenant.bytes.hash(seed: 0)),
            low: Digests.digest(writer.bytes).low)
    }

    /// Of everything that makes a request the same request, its conversation apart
    /// (`Submission.isSame`).
    func fingerprint(
        _ channel: Channel, _ replyTo: Identifier?, _ metadata: UInt64, _ content: UInt64
    ) -> UInt64 {
        let writer = writer
        writer.removeAll()
        writer.append(channel.rawValue)
        replyTo?.write(into: writer)
        writer.append(0)
        writer.append(hex: metadata)
        writer.append(hex: content)
        return writer.bytes.hash(seed: 0)
    }
}

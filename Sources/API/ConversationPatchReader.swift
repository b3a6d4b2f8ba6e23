// Reads what is to be changed of a conversation (PATCH /api/v2/chat/conversations/{id}).
//
// A field that is absent stays. `null` clears an assignee, labels and attributes, and makes the
// priority normal again; labels and attributes are replaced as a whole.

import Bytes
import ChatModel
import Wire

/// Owner: one core. The parsed document of the request at hand is the parser's.
public final class ConversationPatchReader {
    private let parser: JSONParser
    private let writer = ByteWriter(capacity: 1024)

    public init(parser: JSONParser) { self.parser = parser }

    /// The document must have been parsed. Throws a problem with a pointer for each fault.
    public func read(_ condition: VersionCondition) throws(Problem) -> ConversationPatch {
        let root = JSONParser.root
        guard parser.kind(root) == .object else {
            throw .invalid("", "type", "The body must be an object.")
        }
        var faults = FaultList()
        var patch = ConversationPatch()
        patch.condition = condition
        if let node = parser.field(root, "status") {
            patch.status = status(node, &faults)
        }
        if let node = parser.field(root, "priority") {
            patch.priority = priority(node, &faults)
        }
        if let node = parser.field(root, "assignee") {
            patch.assignee = isNull(node) ? .cleared : name(node, "/assignee", &faults)
        }
        if let node = parser.field(root, "labels") {
            patch.labels = isNull(node) ? .cleared : labels(node, &faults)
        }
        if let node = parser.field(root, "attributes") {
            patch.attributes = isNull(node) ? .cleared : attributes(node, &faults)
        }
        if let node = parser.field(root, "handler"), !isNull(node) {
            readHandler(node, into: &patch, &faults)
        }
        guard faults.isEmpty else { throw faults.problem }
        return patch
    }

    private func isNull(_ node: JSONNode) -> Bool { parser.kind(node) == .null }

    private func status(_ node: JSONNode, _ faults: inout FaultList) -> ConversationStatus? {
        let parser = parser
        if parser.kind(node) == .string, let status = ConversationStatus(parser.string(node)) {
            return status
        }
        faults.add("/status", "format", "status must be open, pending, snoozed or closed.")
        return nil
    }

    private func priority(_ node: JSONNode, _ faults: inout FaultList) -> ConversationPriority? {
        if isNull(node) { return .normal }
        let parser = parser
        if parser.kind(node) == .string, let found = ConversationPriority(parser.string(node)) {
            return found
        }
        faults.add("/priority", "format", "priority must be low, normal, high or urgent.")
        return nil
    }

    /// The id of a person or a bot.
    private func name(
        _ node: JSONNode, _ pointer: String, _ faults: inout FaultList
    ) -> FieldChange<ByteBlock> {
        let parser = parser
        guard parser.kind(node) == .string else {
            faults.add(pointer, "type", "\(pointer.dropFirst()) must be a string.")
            return .unchanged
        }
        guard MessageRequestReader.isName(parser.string(node), Limits.userIDBytesMax) else {
            faults.add(
                pointer, "format",
                "\(pointer.dropFirst()) must have 1 to \(Limits.userIDBytesMax) bytes.")
            return .unchanged
        }
        return .set(ByteBlock(copying: parser.string(node)))
    }

    /// `{type, id?}`, or the type alone.
    private func readHandler(
        _ node: JSONNode, into patch: inout ConversationPatch, _ faults: inout FaultList
    ) {
        let parser = parser
        var typeNode = node
        var pointer = "/handler"
        if parser.kind(node) == .object {
            pointer = "/handler/type"
            guard let found = parser.field(node, "type") else {
                return faults.add(pointer, "required", "handler.type is needed.")
            }
            typeNode = found
            if let id = parser.field(node, "id"), !isNull(id),
                case .set(let name) = name(id, "/handler/id", &faults)
            {
                patch.handlerID = name
            }
        }
        guard parser.kind(typeNode) == .string else {
            return faults.add(pointer, "type", "handler must have the type bot or human.")
        }
        if parser.string(typeNode).equals("bot") {
            patch.handler = .bot
        } else if parser.string(typeNode).equals("human") {
            patch.handler = .human
        } else {
            faults.add(pointer, "unknown_type", "handler must have the type bot or human.")
        }
    }

    /// Each label is kept once, where it was first named.
    private func labels(_ node: JSONNode, _ faults: inout FaultList) -> FieldChange<ByteBlock> {
        let parser = parser
        guard parser.kind(node) == .array else {
            faults.add("/labels", "type", "labels must be an array.")
            return .unchanged
        }
        guard parser.elementCount(node) <= Limits.labelsMax else {
            faults.add(
                "/labels", "too_many",
                "A conversation has at most \(Limits.labelsMax) labels.")
            return .unchanged
        }
        var kept: [JSONNode] = []
        var index = 0
        var element = parser.first(in: node)
        while let current = element {
            if parser.kind(current) != .string {
                faults.add("/labels/\(index)", "type", "A label must be a string.")
            } else if !MessageRequestReader.isName(parser.string(current), Limits.labelBytesMax) {
                faults.add(
                    "/labels/\(index)", "format",
                    "A label must have 1 to \(Limits.labelBytesMax) bytes.")
            } else if !kept.contains(where: { parser.string($0).equals(parser.string(current)) }) {
                kept.append(current)
            }
            element = parser.nextElement(after: current)
            index += 1
        }
        if kept.isEmpty { return .cleared }
        writer.removeAll()
        writer.append(0x5B)
        for (place, label) in kept.enumerated() {
            if place > 0 { writer.append(0x2C) }
            writer.append(json: parser.string(label))
        }
        writer.append(0x5D)
        return .set(writer.block())
    }

    private func attributes(_ node: JSONNode, _ faults: inout FaultList) -> FieldChange<ByteBlock> {
        guard parser.kind(node) == .object else {
            faults.add("/attributes", "type", "attributes must be an object.")
            return .unchanged
        }
        if parser.hasDuplicateKeys(node) {
            faults.add("/attributes", "duplicate_key", "An object names a field twice.")
            return .unchanged
        }
        writer.removeAll()
        parser.write(node, into: writer)
        guard writer.count <= Limits.attributesBytesMax else {
            faults.add(
                "/attributes", "too_long",
                "attributes have more than \(Limits.attributesBytesMax) bytes of JSON.")
            return .unchanged
        }
        return writer.count == 2 ? .cleared : .set(writer.block())
    }
}

extension VersionCondition {
    static let tagsMax = 16

    /// The value of If-Match (RFC 9110 section 13.1.1): `*`, or a list of entity tags, each a
    /// version in quotes. What is weak or no version fits nothing.
    public init(ifMatch value: RawSpan) {
        if value.equals("*") {
            self = .none
            return
        }
        var versions: [UInt64] = []
        var start = 0
        while start < value.byteCount, versions.count < Self.tagsMax {
            let end = value.firstOffset(of: 0x2C, from: start)
            let tag = value.extracting(start..<end).trimmed()
            if tag.byteCount > 2, tag.byte(at: 0) == 0x22, tag.byte(at: tag.byteCount - 1) == 0x22,
                let version = tag.extracting(1..<tag.byteCount - 1).decimal()
            {
                versions.append(version)
            }
            start = end + 1
        }
        self = .anyOf(versions)
    }
}

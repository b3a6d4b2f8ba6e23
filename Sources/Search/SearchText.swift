// What of a message can be found: what people write and read. Ids, addresses, media types, names of
// templates and events, and metadata are for machines and are left out.
//
// A change of these rules is a change of the index: SearchIndex.version goes up with it, since what
// was indexed is taken out by giving the same text again.

import Bytes
import ChatModel
import Wire

/// Owner: one thread.
final class SearchText {
    /// Longer documents, of which only attributes in the megabytes can be made, are not searched.
    static let documentBytesMax = 1 << 18

    private let parser = JSONParser(documentBytesMax: documentBytesMax, depthMax: 64)
    private let writer = ByteWriter(capacity: 4096)

    /// Fields whose strings are read by people, and those that hold more such fields.
    private static let readable: [StaticString] = [
        "text", "caption", "title", "subtitle", "filename", "name", "address", "description",
        "button",
    ]
    private static let containers: [StaticString] = [
        "buttons", "replies", "sections", "rows", "cards",
    ]

    /// The text of a Message object, a line for each field; nil when the document is too long.
    func text(of body: ByteBlock) -> ByteBlock? {
        guard body.count <= Self.documentBytesMax else { return nil }
        writer.removeAll()
        guard parser.parse(body.bytes),
            let content = parser.field(JSONParser.root, "content"),
            let type = parser.field(content, "type"), parser.kind(type) == .string
        else { return ByteBlock.empty }
        let parser = parser
        switch ContentType(parser.string(type)) {
        case .event, .reaction, nil: break
        case .contact: appendAll(in: content)
        case .template:
            if let variables = parser.field(content, "variables") { appendAll(in: variables) }
        default: appendReadable(of: content)
        }
        return writer.block()
    }

    private func appendReadable(of object: JSONNode) {
        var key = parser.first(in: object)
        while let current = key {
            let parser = parser
            let name = parser.string(current)
            let value = parser.value(of: current)
            switch parser.kind(value) {
            case .string where Self.readable.contains(where: { name.equals($0) }): append(value)
            case .array where Self.containers.contains(where: { name.equals($0) }):
                var element = parser.first(in: value)
                while let next = element {
                    if parser.kind(next) == .object { appendReadable(of: next) }
                    element = parser.nextElement(after: next)
                }
            default: break
            }
            key = parser.nextKey(after: current)
        }
    }

    /// Every string but the content's type, at any depth; the parser bounds the depth.
    private func appendAll(in node: JSONNode) {
        let parser = parser
        switch parser.kind(node) {
        case .string: append(node)
        case .array:
            var element = parser.first(in: node)
            while let next = element {
                appendAll(in: next)
                element = parser.nextElement(after: next)
            }
        case .object:
            var key = parser.first(in: node)
            while let current = key {
                if !parser.string(current).equals("type") {
                    appendAll(in: parser.value(of: current))
                }
                key = parser.nextKey(after: current)
            }
        default: break
        }
    }

    private func append(_ string: JSONNode) {
        let parser = parser
        if writer.count > 0 { writer.append(0x0A) }
        writer.append(parser.string(string))
    }
}

extension ByteBlock {
    static let empty = ByteBlock([UInt8]())
}

// JSON as clients read it, with the product's parser.

import Bytes
import Wire

final class Document {
    private let parser = JSONParser(documentBytesMax: 1 << 22, depthMax: 64)
    private var block = ByteBlock("")

    /// False for anything malformed.
    func parse(_ bytes: some Sequence<UInt8>) -> Bool {
        block = ByteBlock(Array(bytes))
        let block = block
        return parser.parse(block.bytes) && parser.kind(JSONParser.root) == .object
    }

    private func node(_ path: [StaticString], in start: JSONNode) -> JSONNode? {
        var node = start
        for name in path {
            guard parser.kind(node) == .object, let next = parser.field(node, name) else {
                return nil
            }
            node = next
        }
        return node
    }

    /// The whole document, or a part of it, as the product writes it.
    func json(of node: JSONNode = JSONParser.root) -> ByteBlock {
        let writer = ByteWriter(capacity: 1024)
        parser.write(node, into: writer)
        return writer.block()
    }

    func text(_ path: StaticString...) -> String? { text(path, in: JSONParser.root) }
    func number(_ path: StaticString...) -> UInt64? { number(path, in: JSONParser.root) }
    func isTrue(_ name: StaticString) -> Bool {
        parser.field(JSONParser.root, name).map { parser.kind($0) == .yes } ?? false
    }

    func text(_ path: [StaticString], in start: JSONNode) -> String? {
        let parser = parser
        guard let node = node(path, in: start), parser.kind(node) == .string else { return nil }
        return parser.string(node).string()
    }

    func number(_ path: [StaticString], in start: JSONNode) -> UInt64? {
        node(path, in: start).flatMap { parser.unsigned($0) }
    }

    /// The elements of the array under `name`; empty for none.
    func elements(_ name: StaticString) -> [JSONNode] {
        guard let array = parser.field(JSONParser.root, name), parser.kind(array) == .array else {
            return []
        }
        var found: [JSONNode] = []
        var next = parser.first(in: array)
        while let element = next {
            found.append(element)
            next = parser.nextElement(after: element)
        }
        return found
    }
}

// Reads a content object (contract section 3) from a parsed document: checks it, and writes it anew
// as canonical JSON, so that what is stored has one spelling. Every fault is collected with its
// JSON pointer.

import Bytes
import ChatModel
import Wire

/// A content object that was accepted.
public struct ReadContent {
    public let type: ContentType
    public let json: ByteBlock
    /// What the engine reads.
    public let text: ByteBlock
    /// Of its value: the same for any order of fields.
    public let hash: UInt64
}

/// Collects the faults of one request. At most `faultsMax` are told; one is enough to refuse.
public struct FaultList {
    public static let faultsMax = 20
    public private(set) var faults: [FieldFault] = []

    public init() {}
    public var isEmpty: Bool { faults.isEmpty }

    public mutating func add(_ pointer: String, _ code: String, _ detail: String) {
        if faults.count < Self.faultsMax { faults.append(FieldFault(pointer, code, detail)) }
    }

    public var problem: Problem {
        Problem(
            .validationFailed,
            faults.count == 1 ? faults[0].detail : "The request has \(faults.count) faults.",
            faults: faults)
    }
}

/// Owner: one core.
public final class ContentReader {
    private let parser: JSONParser
    private let writer = ByteWriter(capacity: 4096)
    static let noText = ByteBlock("")

    public init(parser: JSONParser) { self.parser = parser }

    public func read(
        _ node: JSONNode, at pointer: String, _ faults: inout FaultList
    ) -> ReadContent? {
        guard parser.kind(node) == .object else {
            faults.add(pointer, "type", "content must be an object.")
            return nil
        }
        guard let typeNode = parser.field(node, "type"), parser.kind(typeNode) == .string else {
            faults.add(pointer + "/type", "required", "content.type must be a string.")
            return nil
        }
        let parser = parser
        guard let type = ContentType(parser.string(typeNode)) else {
            faults.add(pointer + "/type", "unknown_type", "This content type is not known.")
            return nil
        }
        if parser.hasDuplicateKeys(node) {
            faults.add(pointer, "duplicate_key", "An object names a field twice.")
            return nil
        }
        let before = faults.faults.count
        let fields = Fields(parser: parser, object: node, pointer: pointer)
        check(type, fields, &faults)
        guard faults.faults.count == before else { return nil }
        writer.removeAll()
        parser.write(node, into: writer)
        return ReadContent(
            type: type, json: writer.block(), text: text(of: type, node), hash: parser.hash(node))
    }

    private func text(of type: ContentType, _ node: JSONNode) -> ByteBlock {
        let field: JSONNode?
        switch type {
        case .text, .buttons, .quickReplies, .list: field = parser.field(node, "text")
        case .reply: field = parser.field(node, "title")
        default: field = nil
        }
        guard let field else { return Self.noText }
        let parser = parser
        return ByteBlock(copying: parser.string(field))
    }

    private func check(_ type: ContentType, _ fields: Fields, _ faults: inout FaultList) {
        switch type {
        case .text: fields.string("text", .required, 1...Limits.textCharactersMax, &faults)
        case .image, .audio, .video, .file: checkMedia(fields, &faults)
        case .location:
            fields.number("latitude", -90...90, &faults)
            fields.number("longitude", -180...180, &faults)
            fields.string("name", .optional, 0...Limits.shortTextCharactersMax, &faults)
            fields.string("address", .optional, 0...Limits.shortTextCharactersMax, &faults)
        case .contact: break
        case .buttons:
            fields.string("text", .required, 1...Limits.textCharactersMax, &faults)
            fields.array("buttons", 1...Limits.buttonsMax, .required, &faults) { $0.button(&$1) }
        case .quickReplies:
            fields.string("text", .required, 1...Limits.textCharactersMax, &faults)
            fields.array("replies", 1...Limits.quickRepliesMax, .required, &faults) {
                $0.choice(&$1)
            }
        case .list:
            fields.string("text", .required, 1...Limits.textCharactersMax, &faults)
            fields.string("button", .required, 1...Limits.titleCharactersMax, &faults)
            fields.array("sections", 1...Limits.listSectionsMax, .required, &faults) {
                section, faults in
                section.string("title", .optional, 0...Limits.titleCharactersMax, &faults)
                section.array("rows", 1...Limits.listRowsMax, .required, &faults) { $0.choice(&$1) }
            }
        case .carousel:
            fields.array("cards", 1...Limits.cardsMax, .required, &faults) { card, faults in
                card.string("title", .required, 1...Limits.titleCharactersMax, &faults)
                card.string("subtitle", .optional, 0...Limits.shortTextCharactersMax, &faults)
                card.url("image_url", .optional, &faults)
                card.array("buttons", 0...Limits.buttonsPerCardMax, .optional, &faults) {
                    $0.button(&$1)
                }
            }
        case .template:
            fields.string("name", .required, 1...Limits.shortTextCharactersMax, &faults)
            fields.string("locale", .optional, 2...35, &faults)
            fields.object("variables", .optional, &faults)
        case .reply: fields.choice(&faults)
        case .reaction:
            fields.messageID("message_id", &faults)
            fields.string("emoji", .required, 1...32, &faults)
        case .event:
            fields.string("name", .required, 1...Limits.shortTextCharactersMax, &faults)
            fields.object("data", .optional, &faults)
        }
    }

    private func checkMedia(_ fields: Fields, _ faults: inout FaultList) {
        if fields.has("url") {
            fields.url("url", .required, &faults)
        } else if fields.has("media_id") {
            fields.string("media_id", .required, 1...128, &faults)
        } else {
            faults.add(fields.pointer + "/url", "required", "Either url or media_id is needed.")
        }
        fields.mediaType("mime_type", &faults)
        fields.string("filename", .optional, 1...Limits.shortTextCharactersMax, &faults)
        fields.string("caption", .optional, 0...Limits.captionCharactersMax, &faults)
        for name: StaticString in ["size", "width", "height", "duration_ms"] {
            fields.count(name, &faults)
        }
    }
}

enum Presence { case required, optional }

/// The fields of one object, with its pointer. Each check adds what is wrong.
struct Fields {
    let parser: JSONParser
    let object: JSONNode
    let pointer: String

    func path(_ name: StaticString) -> String { "\(pointer)/\(name)" }

    func has(_ name: StaticString) -> Bool {
        parser.field(object, name).map { parser.kind($0) != .null } ?? false
    }

    /// The field, or nil when it is absent or null; an absent required one is a fault.
    func node(_ name: StaticString, _ presence: Presence, _ faults: inout FaultList) -> JSONNode? {
        if let node = parser.field(object, name), parser.kind(node) != .null { return node }
        if presence == .required { faults.add(path(name), "required", "\(name) is needed.") }
        return nil
    }

    /// Length in Unicode scalars.
    func string(
        _ name: StaticString, _ presence: Presence, _ length: ClosedRange<Int>,
        _ faults: inout FaultList
    ) {
        guard let node = node(name, presence, &faults) else { return }
        guard parser.kind(node) == .string else {
            return faults.add(path(name), "type", "\(name) must be a string.")
        }
        let parser = parser
        let count = parser.string(node).scalarCount()
        if count < length.lowerBound {
            faults.add(path(name), "too_short", "\(name) must not be empty.")
        } else if count > length.upperBound {
            faults.add(
                path(name), "too_long",
                "\(name) has \(count) characters; at most \(length.upperBound) are allowed.")
        }
    }

    func number(_ name: StaticString, _ range: ClosedRange<Double>, _ faults: inout FaultList) {
        guard let node = node(name, .required, &faults) else { return }
        guard let value = parser.number(node) else {
            return faults.add(path(name), "type", "\(name) must be a number.")
        }
        if !range.contains(value) {
            faults.add(
                path(name), "range",
                "\(name) must be from \(Int(range.lowerBound)) to \(Int(range.upperBound)).")
        }
    }

    func count(_ name: StaticString, _ faults: inout FaultList) {
        guard let node = node(name, .optional, &faults) else { return }
        if parser.unsigned(node) == nil {
            faults.add(path(name), "type", "\(name) must be a whole number that is not negative.")
        }
    }

    func object(_ name: StaticString, _ presence: Presence, _ faults: inout FaultList) {
        guard let node = node(name, presence, &faults) else { return }
        if parser.kind(node) != .object {
            faults.add(path(name), "type", "\(name) must be an object.")
        }
    }

    func array(
        _ name: StaticString, _ count: ClosedRange<Int>, _ presence: Presence,
        _ faults: inout FaultList, _ each: (Fields, inout FaultList) -> Void
    ) {
        guard let node = node(name, presence, &faults) else { return }
        guard parser.kind(node) == .array else {
            return faults.add(path(name), "type", "\(name) must be an array.")
        }
        let found = parser.elementCount(node)
        guard count.contains(found) else {
            return faults.add(
                path(name), found < count.lowerBound ? "too_few" : "too_many",
                "\(name) has \(found) elements; from \(count.lowerBound) to \(count.upperBound) are allowed."
            )
        }
        var index = 0
        var element = parser.first(in: node)
        while let current = element {
            let place = "\(path(name))/\(index)"
            if parser.kind(current) == .object {
                each(Fields(parser: parser, object: current, pointer: place), &faults)
            } else {
                faults.add(place, "type", "Each element of \(name) must be an object.")
            }
            element = parser.nextElement(after: current)
            index += 1
        }
    }

    /// `{id, title}`.
    func choice(_ faults: inout FaultList) {
        string("id", .required, 1...Limits.shortTextCharactersMax, &faults)
        string("title", .required, 1...Limits.titleCharactersMax, &faults)
    }

    /// `{id, title, url?}`.
    func button(_ faults: inout FaultList) {
        choice(&faults)
        url("url", .optional, &faults)
    }

    /// Absolute, http or https, so that no client is handed a script.
    func url(_ name: StaticString, _ presence: Presence, _ faults: inout FaultList) {
        guard let node = node(name, presence, &faults) else { return }
        guard parser.kind(node) == .string else {
            return faults.add(path(name), "type", "\(name) must be a string.")
        }
        let parser = parser
        let text = parser.string(node)
        let isHTTP = text.hasPrefix("https://") || text.hasPrefix("http://")
        var isClean = text.byteCount > 8 && text.byteCount <= Limits.urlBytesMax
        for offset in 0..<text.byteCount
        where text.byte(at: offset) <= 0x20 || text.byte(at: offset) == 0x7F {
            isClean = false
        }
        if !isHTTP || !isClean {
            faults.add(
                path(name), "format",
                "\(name) must be an http or https URL of at most \(Limits.urlBytesMax) bytes.")
        }
    }

    func mediaType(_ name: StaticString, _ faults: inout FaultList) {
        guard let node = node(name, .required, &faults) else { return }
        guard parser.kind(node) == .string else {
            return faults.add(path(name), "type", "\(name) must be a string.")
        }
        let parser = parser
        let text = parser.string(node)
        let slash = text.firstOffset(of: 0x2F)
        if slash == 0 || slash >= text.byteCount - 1 || text.byteCount > 127 {
            faults.add(path(name), "format", "\(name) must be a media type such as image/png.")
        }
    }

    func messageID(_ name: StaticString, _ faults: inout FaultList) {
        guard let node = node(name, .required, &faults) else { return }
        let parser = parser
        guard parser.kind(node) == .string, Identifier(parser.string(node), kind: .message) != nil
        else {
            return faults.add(path(name), "format", "\(name) must be a message id.")
        }
    }
}

extension RawSpan {
    /// Unicode scalars of valid UTF-8.
    public func scalarCount() -> Int {
        var count = 0
        for offset in 0..<byteCount where byte(at: offset) & 0xC0 != 0x80 { count += 1 }
        return count
    }
}

// Owner: one thread. A parsed JSON document, read straight from simdjson's tape.
//
// The tape is an array of 64-bit words, a type letter in the top byte and a payload below
// (simdjson, doc/tape.md): a container's payload is the index behind its end, a string's an offset
// into the string buffer (4 bytes of length, the unescaped bytes), a number is followed by a word
// of its own. Numbers that fit neither 64 bits nor a double are refused by the parser.
//
// Budget: no allocation per document; a look at a field is a few loads.

import Bytes
import CSimdjson

public enum JSONKind: UInt8, Sendable {
    case object = 0x7B
    case array = 0x5B
    case string = 0x22
    case signed = 0x6C
    case unsigned = 0x75
    case double = 0x64
    case yes = 0x74
    case no = 0x66
    case null = 0x6E
}

/// A value of the document that the parser holds now: an index into its tape.
public struct JSONNode: Equatable, BitwiseCopyable {
    @usableFromInline let index: Int
    @inlinable init(_ index: Int) { self.index = index }
}

@safe public final class JSONParser {
    // Safety: tape and strings point into the parser's own memory and are valid until the next
    // parse; every access is checked against their counts.
    private let parser: OpaquePointer
    @usableFromInline var document = unsafe csj_document()
    private let seed = UInt64.random(in: .min ... .max)

    /// `documentBytesMax` bounds one document, `depthMax` the depth of its values: the root's is 1.
    public init(documentBytesMax: Int, depthMax: Int) {
        guard let made = unsafe csj_create(documentBytesMax, depthMax) else {
            preconditionFailure("no memory for a JSON parser of \(documentBytesMax) bytes")
        }
        unsafe parser = unsafe made
    }

    deinit { unsafe csj_destroy(parser) }

    public static var root: JSONNode { JSONNode(1) }

    /// Parses and validates (RFC 8259, UTF-8 included). False for anything malformed. The span must
    /// have `ByteBlock.paddingBytes` readable bytes behind it, as every buffer of `Bytes` has.
    public func parse(_ span: RawSpan) -> Bool {
        guard span.byteCount > 0 else { return false }
        return unsafe span.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return false }
            // Safety: the caller guarantees the padding.
            return unsafe csj_parse(parser, base, raw.count, &document) == 0
        }
    }

    @inlinable @inline(always) func word(_ index: Int) -> UInt64 {
        unsafe precondition(index >= 0 && index < document.tape_count, "read past the tape")
        // Safety: the bound was checked on the line above.
        return unsafe document.tape.unsafelyUnwrapped[index]
    }

    @inlinable public func kind(_ node: JSONNode) -> JSONKind {
        guard let kind = JSONKind(rawValue: UInt8(truncatingIfNeeded: word(node.index) >> 56))
        else {
            preconditionFailure("a tape word with an unknown type")
        }
        return kind
    }

    /// The unescaped bytes of a string or key; valid until the next parse.
    @inlinable @_lifetime(borrow self) public func string(_ node: JSONNode) -> RawSpan {
        precondition(kind(node) == .string, "only a string has bytes")
        let offset = Int(word(node.index) & 0x00FF_FFFF_FFFF_FFFF)
        // Safety: simdjson wrote the length and that many bytes at this offset of its string
        // buffer; both are checked against the buffer's bound.
        let span = strings(offset)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    @usableFromInline @_lifetime(borrow self) func strings(_ offset: Int) -> RawSpan {
        let start = unsafe UnsafeRawPointer(document.strings.unsafelyUnwrapped)
        unsafe precondition(
            offset >= 0 && offset + 4 <= document.strings_count, "read past the strings")
        let count = unsafe Int(start.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        unsafe precondition(offset + 4 + count <= document.strings_count, "read past the strings")
        let span = unsafe RawSpan(_unsafeStart: start + offset + 4, byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// The value as a double, whatever its number form; nil for no number.
    public func number(_ node: JSONNode) -> Double? {
        switch kind(node) {
        case .signed: Double(Int64(bitPattern: word(node.index + 1)))
        case .unsigned: Double(word(node.index + 1))
        case .double: Double(bitPattern: word(node.index + 1))
        default: nil
        }
    }

    /// The value as a non-negative integer; nil for anything else.
    public func unsigned(_ node: JSONNode) -> UInt64? {
        switch kind(node) {
        case .signed: UInt64(exactly: Int64(bitPattern: word(node.index + 1)))
        case .unsigned: word(node.index + 1)
        default: nil
        }
    }

    /// The node behind `node` and all that is in it.
    @inlinable public func following(_ node: JSONNode) -> JSONNode {
        switch kind(node) {
        case .object, .array: JSONNode(Int(word(node.index) & 0xFFFF_FFFF))
        case .signed, .unsigned, .double: JSONNode(node.index &+ 2)
        default: JSONNode(node.index &+ 1)
        }
    }

    /// First key of an object or first element of an array; nil when it is empty.
    @inlinable public func first(in container: JSONNode) -> JSONNode? {
        let node = JSONNode(container.index &+ 1)
        return isEnd(node) ? nil : node
    }

    /// The value of a key.
    @inlinable public func value(of key: JSONNode) -> JSONNode { JSONNode(key.index &+ 1) }

    /// The key behind a key's value; nil at the end of the object.
    @inlinable public func nextKey(after key: JSONNode) -> JSONNode? {
        let node = following(value(of: key))
        return isEnd(node) ? nil : node
    }

    /// The element behind an element; nil at the end of the array.
    @inlinable public func nextElement(after element: JSONNode) -> JSONNode? {
        let node = following(element)
        return isEnd(node) ? nil : node
    }

    @inlinable func isEnd(_ node: JSONNode) -> Bool {
        let letter = UInt8(truncatingIfNeeded: word(node.index) >> 56)
        return letter == 0x7D || letter == 0x5D || letter == 0x72
    }

    /// The first field of that name; nil when there is none. Linear in the object's own fields.
    @inlinable public func field(_ object: JSONNode, _ name: StaticString) -> JSONNode? {
        guard kind(object) == .object else { return nil }
        var key = first(in: object)
        while let current = key {
            if string(current).equals(name) { return value(of: current) }
            key = nextKey(after: current)
        }
        return nil
    }

    public func elementCount(_ container: JSONNode) -> Int {
        var count = 0
        let isObject = kind(container) == .object
        var node = first(in: container)
        while let current = node {
            count += 1
            node = isObject ? nextKey(after: current) : nextElement(after: current)
        }
        return count
    }

    /// True when an object anywhere in `node` names a field twice: two readers could then disagree
    /// about what was sent. An object of more than a few fields is sorted by seeded hashes, since
    /// comparing each field with each would let one document of 64 KiB hold a core for seconds.
    public func hasDuplicateKeys(_ node: JSONNode) -> Bool {
        switch kind(node) {
        case .object:
            var count = 0
            var key = first(in: node)
            while let current = key {
                if hasDuplicateKeys(value(of: current)) { return true }
                count += 1
                key = nextKey(after: current)
            }
            return count <= Self.fieldsComparedMax
                ? hasEqualKeys(node) : hasEqualKeysByHash(node, count)
        case .array:
            var element = first(in: node)
            while let current = element {
                if hasDuplicateKeys(current) { return true }
                element = nextElement(after: current)
            }
            return false
        default: return false
        }
    }

    private static let fieldsComparedMax = 16

    private func hasEqualKeys(_ object: JSONNode) -> Bool {
        var key = first(in: object)
        while let current = key {
            var other = nextKey(after: current)
            while let candidate = other {
                if string(candidate).equals(string(current)) { return true }
                other = nextKey(after: candidate)
            }
            key = nextKey(after: current)
        }
        return false
    }

    private func hasEqualKeysByHash(_ object: JSONNode, _ count: Int) -> Bool {
        var keys: [(hash: UInt64, key: JSONNode)] = []
        keys.reserveCapacity(count)
        var key = first(in: object)
        while let current = key {
            keys.append((string(current).hash(seed: seed), current))
            key = nextKey(after: current)
        }
        keys.sort { $0.hash < $1.hash }
        for place in keys.indices.dropFirst() {
            // Nobody outside knows the seed, so equal hashes of different keys do not pile up.
            var other = place - 1
            while other >= 0, keys[other].hash == keys[place].hash {
                if string(keys[other].key).equals(string(keys[place].key)) { return true }
                other -= 1
            }
        }
        return false
    }

    /// Of the value, whatever its spelling and the order of fields. Stable: it is stored and
    /// compared later.
    public func hash(_ node: JSONNode) -> UInt64 {
        let kind = kind(node)
        var hash = Self.mix(UInt64(kind.rawValue))
        switch kind {
        case .string: hash = string(node).hash(seed: hash)
        case .signed, .unsigned, .double: hash = Self.mix(hash ^ word(node.index + 1))
        case .yes, .no, .null: break
        case .array:
            var element = first(in: node)
            while let current = element {
                hash = Self.mix(hash &+ self.hash(current))
                element = nextElement(after: current)
            }
        case .object:
            var sum: UInt64 = 0
            var key = first(in: node)
            while let current = key {
                sum &+= Self.mix(
                    string(current).hash(seed: hash) ^ self.hash(value(of: current)).byteSwapped)
                key = nextKey(after: current)
            }
            hash = Self.mix(hash ^ sum)
        }
        return hash
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let (high, low) = (value ^ 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(
            by: 0xD6E8_FEB8_6659_FD93)
        return high ^ low ^ value
    }

    /// The value as compact JSON: what is stored and sent on, so that no reader sees the sender's
    /// spelling.
    public func write(_ node: JSONNode, into writer: ByteWriter) {
        switch kind(node) {
        case .string: writer.append(json: string(node))
        case .signed:
            let value = Int64(bitPattern: word(node.index + 1))
            if value < 0 { writer.append(0x2D) }
            writer.append(decimal: value.magnitude)
        case .unsigned: writer.append(decimal: word(node.index + 1))
        case .double: writer.append(string: Double(bitPattern: word(node.index + 1)).description)
        case .yes: writer.append("true")
        case .no: writer.append("false")
        case .null: writer.append("null")
        case .array:
            writer.append(0x5B)
            var element = first(in: node)
            while let current = element {
                write(current, into: writer)
                element = nextElement(after: current)
                if element != nil { writer.append(0x2C) }
            }
            writer.append(0x5D)
        case .object:
            writer.append(0x7B)
            var key = first(in: node)
            while let current = key {
                writer.append(json: string(current))
                writer.append(0x3A)
                write(value(of: current), into: writer)
                key = nextKey(after: current)
                if key != nil { writer.append(0x2C) }
            }
            writer.append(0x7D)
        }
    }
}

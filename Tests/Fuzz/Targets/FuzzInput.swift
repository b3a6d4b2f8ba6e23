// What the fuzzer gives, taken apart: choices and cuts from its first bytes, the rest as it is.

import Bytes
import Glibc

/// A fuzz target: its name on the command line, and what it does with one input.
struct FuzzTarget: Sendable {
    let name: String
    let run: @Sendable ([UInt8]) -> Void
}

let fuzzTargets = [
    FuzzTarget(name: "http", run: fuzzHTTP),
    FuzzTarget(name: "websocket", run: fuzzWebSocket),
    FuzzTarget(name: "deflate", run: fuzzDeflate),
    FuzzTarget(name: "json", run: fuzzJSON),
    FuzzTarget(name: "cursors", run: fuzzCursors),
    FuzzTarget(name: "tokens", run: fuzzTokens),
]

/// One input. What is missing reads as zero, so that no input is too short.
struct FuzzInput {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func byte() -> UInt8 {
        guard place < bytes.count else { return 0 }
        place += 1
        return bytes[place - 1]
    }

    /// Below `bound`, from one byte.
    mutating func choice(of bound: Int) -> Int { Int(byte()) % bound }

    mutating func word() -> UInt64 { (0..<8).reduce(0) { word, _ in word << 8 | UInt64(byte()) } }

    /// Up to seven 16-bit numbers that say where the rest is cut; a byte before them says how many.
    mutating func cuts() -> [Int] {
        (0..<choice(of: 8)).map { _ in Int(byte()) << 8 | Int(byte()) }
    }

    /// All that has not been taken.
    func rest() -> [UInt8] { Array(bytes[place...]) }
}

extension Array where Element == UInt8 {
    /// The bytes in pieces that end at `cuts` (in any order, taken modulo the length) and at the
    /// end. Pieces may be empty.
    func pieces(_ cuts: [Int]) -> [ArraySlice<UInt8>] {
        let ends = cuts.map { $0 % (count + 1) }.sorted() + [count]
        var start = 0
        return ends.map { end in
            defer { start = end }
            return self[start..<end]
        }
    }
}

/// The same for two values that must be equal; they are shown.
func expectEqual<Value: Equatable>(_ one: Value, _ other: Value, _ sentence: StaticString) {
    guard one != other else { return }
    let text = Array("one:   \(one)\nother: \(other)\n".utf8)
    // Not through a buffer, which would be lost with the process.
    _ = unsafe text.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
    preconditionFailure("\(sentence)")
}

/// A property of the service: when it does not hold, the run ends here.
func expect(_ holds: @autoclosure () -> Bool, _ sentence: StaticString) {
    if !holds() { preconditionFailure("\(sentence)") }
}

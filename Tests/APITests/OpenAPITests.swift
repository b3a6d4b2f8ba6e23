import Foundation
import Ingest
import Testing
import Wire

/// The operations of `openapi.yaml`, read by its indentation: two spaces before a path, four before
/// a method.
private func describedOperations() throws -> [String: Set<String>] {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Sources/API/Web/openapi.yaml")
    var operations: [String: Set<String>] = [:]
    var path = ""
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
        if line.hasPrefix("components:") { break }
        if line.hasPrefix("  /") {
            path = String(line.dropFirst(2).dropLast())
        } else if line.hasPrefix("    "), !line.hasPrefix("     "), line.hasSuffix(":"),
            !path.isEmpty
        {
            operations[path, default: []].insert(String(line.dropFirst(4).dropLast()))
        }
    }
    return operations
}

private let methods: [(String, HTTPMethod)] = [
    ("get", .get), ("post", .post), ("put", .put), ("patch", .patch), ("delete", .delete),
]

/// Names of variables may differ: `{id}`, `{conversation_id}`.
private func shape(_ path: String) -> String {
    path.replacing(/\{[^}]*\}/, with: "{}")
}

@Suite struct OpenAPITests {
    @Test func `Every route is described with its methods, and nothing else is`() throws {
        let described = Dictionary(
            uniqueKeysWithValues: try describedOperations().map { (shape($0.key), $0.value) })
        let routes = Route.allCases.filter { $0 != .unknown && !$0.isBench }
        for route in routes {
            let accepted = methods.filter { route.accepts($0.1) }.map { $0.0 }
            #expect(
                described[shape(route.pattern.description)] == Set(accepted),
                "\(route.pattern)")
        }
        #expect(described.count == routes.count)
    }
}

// The style of this project as far as a machine can hold it: CONTRIBUTING.md says it in words.

import Foundation
import Testing

private struct Source {
    let path: String
    let lines: [String]
    var isTest: Bool { path.hasPrefix("Tests/") }
}

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

private func sources(in folders: [String], suffix: String = ".swift") -> [Source] {
    folders.flatMap { folder in
        let directory = root.appending(path: folder)
        let found = FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil)
        return (found?.allObjects ?? []).compactMap { $0 as? URL }
            .filter { $0.path.hasSuffix(suffix) }
            .compactMap(read)
    }
}

private func read(_ url: URL) -> Source? {
    guard let text = try? String(contentsOf: url, encoding: .utf8) else { return nil }
    let path = url.path.dropFirst(root.path.count).drop { $0 == "/" }
    return Source(path: String(path), lines: text.components(separatedBy: "\n"))
}

private let swift = sources(in: ["Sources", "Tests"])

/// Every line of every file that breaks the rule, as `path:line`.
private func places(_ files: [Source], where isFault: (String) -> Bool) -> [String] {
    files.flatMap { file in
        file.lines.enumerated().filter { isFault($0.element) }
            .map { "\(file.path):\($0.offset + 1)" }
    }
}

private func code(_ line: String) -> Substring {
    let trimmed = line.drop { $0 == " " }
    return trimmed.hasPrefix("//") ? "" : trimmed
}

@Suite struct StyleTests {
    @Test func `The files are found`() {
        #expect(swift.count > 100)
        #expect(swift.contains { $0.path == "Sources/Reactor/EventLoop.swift" })
    }

    @Test func `A line has at most 100 columns, unless it is one long literal`() {
        let wide = places(swift) { line in
            guard line.count > 100 else { return false }
            let text = line.drop { " =+?:(".contains($0) }
            return !(text.hasPrefix("\"") || text.hasPrefix("#\""))
        }
        #expect(wide == [])
    }

    @Test func `A function has at most 70 lines`() {
        var long: [String] = []
        for file in swift {
            var start: (line: Int, indent: Int)?
            for (number, line) in file.lines.enumerated() {
                let indent = line.prefix { $0 == " " }.count
                if start == nil, code(line).contains("func "), !line.contains("}") {
                    start = (number, indent)
                } else if let began = start, indent <= began.indent, line.hasSuffix("}"),
                    line.drop(while: { $0 == " " }) == "}"
                {
                    if number - began.line >= 70 { long.append("\(file.path):\(began.line + 1)") }
                    start = nil
                }
            }
        }
        #expect(long == [])
    }

    @Test func `A file has at most 500 lines`() {
        let long = swift.filter { $0.lines.count > 500 }
        #expect(long.map(\.path) == [])
    }

    @Test(arguments: [
        "try!", "as!", "fatalError(", "-Ounchecked", "TODO", "FIXME", "XXX", "NSLog", "debugPrint",
    ])
    func `What ends a process without a sentence, or is left over, is not there`(_ word: String) {
        #expect(places(swift.filter { !$0.isTest }) { code($0).contains(word) } == [])
    }

    @Test func `Foundation and dispatch queues stay outside`() {
        let banned = ["import Foundation", "import Dispatch"]
        #expect(places(swift.filter { !$0.isTest }) { banned.contains($0) } == [])
    }

    @Test func `Only the command line prints`() {
        let others = swift.filter { !$0.isTest && !$0.path.hasPrefix("Sources/chat-service/") }
        #expect(places(others) { code($0).hasPrefix("print(") } == [])
    }

    @Test func `A file that is unsafe somewhere argues why it is not`() {
        let silent = swift.filter { file in
            !file.isTest && file.lines.contains { code($0).contains("unsafe ") }
                && !file.lines.contains { $0.contains("// Safety:") }
        }
        #expect(silent.map(\.path) == [])
    }

    @Test func `A source file says near its beginning what it is`() {
        let bare = swift.filter { file in
            !file.isTest && !file.lines.prefix(12).contains { $0.hasPrefix("//") }
        }
        #expect(bare.map(\.path) == [])
    }
}

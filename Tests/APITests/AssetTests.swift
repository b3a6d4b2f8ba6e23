import Bytes
import Testing

@testable import API

@Suite struct AssetTests {
    private let asset = Asset(Array("(() => {})();\n".utf8), MediaType.script)

    private func isNamed(_ condition: String) -> Bool {
        asset.isNamed(in: ByteBlock(condition).bytes)
    }

    @Test func `A tag is a quoted hash of the bytes`() {
        let tag = asset.tag.bytes.string()
        #expect(tag.count == 34 && tag.first == "\"" && tag.last == "\"")
        #expect(Asset(Array("other".utf8), MediaType.script).tag.bytes.string() != tag)
    }

    @Test
    func `A condition names the asset by its tag, weak or not, alone or in a list, or by a star`() {
        let tag = asset.tag.bytes.string()
        for condition in [
            tag, "W/\(tag)", " \(tag) ", "\"a\", \(tag)", "\(tag),\"b\"", "W/\"a\" , W/\(tag)", "*",
            "\"a,b\", \(tag)", ",, \(tag)",
        ] {
            #expect(isNamed(condition), "\(condition)")
        }
    }

    @Test func `What is not the tag names nothing`() {
        let tag = asset.tag.bytes.string()
        for condition in [
            "", " ", ",", "\"\"", "\"a\"", String(tag.dropFirst()), String(tag.dropLast()),
            "w/\(tag)",
            "W/", "W/ \(tag)", "\(tag)x", "x\(tag)", "**", "\"a\", *", "\(tag) \(tag)",
            tag.uppercased() == tag ? "" : tag.uppercased(),
        ] {
            #expect(!isNamed(condition), "\(condition)")
        }
    }

    private let scripts = [Assets.widget.bytes, Assets.console.bytes].map { $0.bytes.string() }

    @Test func `A script is one closed function, and its style sheet stays inside its literal`() {
        for text in scripts {
            #expect(text.hasPrefix("(() => {\n\"use strict\";") && text.hasSuffix("})();\n"))
        }
        for sheet in Assets.styleSheetTexts {
            #expect(sheet.count > 1000)
            #expect(!sheet.contains("`") && !sheet.contains("\\") && !sheet.contains("${"))
        }
    }

    @Test func `The console may not be framed, and makes nothing from text`() throws {
        for asset in [Assets.consolePage, Assets.console] {
            #expect(!asset.isForAllOrigins)
            let block = try #require(asset.policy)
            let policy = block.bytes.string()
            #expect(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"))
            #expect(policy.contains("require-trusted-types-for 'script'"))
        }
    }

    @Test func `Nothing is made from markup, and no other host is named`() {
        let words = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        for text in scripts {
            for word in words { #expect(!text.contains(word), "\(word)") }
            let addresses = text.components(separatedBy: "https://").dropFirst()
            let hosts = addresses.map { $0.prefix { $0.isLetter || $0 == "." } }
            #expect(hosts.allSatisfy { $0.isEmpty || $0 == "www.openstreetmap.org" })
        }
    }
}

extension String {
    fileprivate func components(separatedBy mark: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while let found = rest.firstRange(of: mark) {
            parts.append(rest[..<found.lowerBound])
            rest = rest[found.upperBound...]
        }
        return parts + [rest]
    }
}

// Files that are part of the program: the page, the widget's script, the API's description.

import Bytes
import Identity

/// A file with what is said about it.
public struct Asset: Sendable {
    public let bytes: ByteBlock
    public let mediaType: StaticString
    /// A strong validator: the beginning of the bytes' SHA-256, in quotes.
    public let tag: ByteBlock
    public let policy: ByteBlock?
    public let isForAllOrigins: Bool

    init(
        _ content: [UInt8], _ mediaType: StaticString, policy: ByteBlock? = nil,
        isForAllOrigins: Bool = false
    ) {
        let block = ByteBlock(content)
        bytes = block
        self.mediaType = mediaType
        self.policy = policy
        self.isForAllOrigins = isForAllOrigins
        let writer = ByteWriter(capacity: 64)
        writer.append(0x22)
        for byte in Digests.sha256(block.bytes).prefix(16) {
            writer.append(hex: UInt64(byte), digits: 2)
        }
        writer.append(0x22)
        tag = writer.block()
    }

    /// If-None-Match (RFC 9110 section 13.1.2) compares weakly. Our tag has no comma, so a list may
    /// be cut at each: a foreign tag that breaks there is still not ours.
    public func isNamed(in condition: RawSpan) -> Bool {
        var rest = condition.trimmed()
        if rest.equals("*") { return true }
        while rest.byteCount > 0 {
            let end = rest.firstOffset(of: 0x2C)
            var candidate = rest.extracting(0..<end).trimmed()
            if candidate.hasPrefix("W/") {
                candidate = candidate.extracting(2..<candidate.byteCount)
            }
            if candidate.equals(tag.bytes) { return true }
            rest = rest.extracting(min(end + 1, rest.byteCount)..<rest.byteCount)
        }
        return false
    }
}

public enum Assets {
    public static let indexPage = Asset(
        PackageResources.index_html, MediaType.html, policy: pagePolicy)
    public static let openAPI = Asset(PackageResources.openapi_yaml, MediaType.yaml)
    public static let asyncAPI = Asset(PackageResources.asyncapi_yaml, MediaType.yaml)

    /// The chat: one script, from parts in the order in which they build on each other. The style
    /// sheet becomes a template literal, so it has no backslash and no backtick.
    public static let widget = Asset(
        Array("(() => {\n\"use strict\";\nconst STYLE = String.raw`".utf8)
            + PackageResources.widget_style_css + Array("`;\n".utf8)
            + PackageResources.widget_texts_js + PackageResources.widget_view_js
            + PackageResources.widget_chat_js + PackageResources.widget_element_js
            + Array("})();\n".utf8),
        MediaType.script, isForAllOrigins: true)

    /// For the test that holds it to what a literal bears.
    static var styleSheetText: String {
        String(decoding: PackageResources.widget_style_css, as: UTF8.self)
    }

    /// The page has no script or style of its own: it loads the widget, which calls home only.
    private static let pagePolicy = ByteBlock(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            + "img-src 'self' https: http: data: blob:; media-src 'self' https: http: blob:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
}

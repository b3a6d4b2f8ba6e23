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
        script(
            style: PackageResources.widget_style_css,
            [
                PackageResources.widget_texts_js, PackageResources.words_js,
                PackageResources.widget_view_js, PackageResources.widget_chat_js,
                PackageResources.widget_element_js,
            ]),
        MediaType.script, isForAllOrigins: true)

    /// Where agents work: a page that holds nothing, and its script.
    public static let consolePage = Asset(
        PackageResources.console_html, MediaType.html, policy: consolePolicy)
    public static let console = Asset(
        script(
            style: PackageResources.console_style_css,
            [
                PackageResources.console_texts_js, PackageResources.words_js,
                PackageResources.widget_view_js, PackageResources.console_link_js,
                PackageResources.console_shell_js, PackageResources.console_content_js,
                PackageResources.console_entries_js, PackageResources.console_queue_js,
                PackageResources.console_log_js, PackageResources.console_reply_js,
                PackageResources.console_details_js, PackageResources.console_main_js,
            ]),
        MediaType.script, policy: consolePolicy)

    private static func script(style: [UInt8], _ parts: [[UInt8]]) -> [UInt8] {
        Array("(() => {\n\"use strict\";\nconst STYLE = String.raw`".utf8) + style
            + Array("`;\n".utf8) + parts.joined() + Array("})();\n".utf8)
    }

    /// For the test that holds them to what a literal bears.
    static var styleSheetTexts: [String] {
        [PackageResources.widget_style_css, PackageResources.console_style_css].map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// The page has no script or style of its own: it loads the widget, which calls home only.
    private static let pagePolicy = ByteBlock(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            + "img-src 'self' https: http: data: blob:; media-src 'self' https: http: blob:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'self'")

    /// The console shows what strangers wrote to somebody with rights: no other page may frame it,
    /// and no text of any kind can become markup or script.
    private static let consolePolicy = ByteBlock(
        "default-src 'none'; script-src 'self'; connect-src 'self'; "
            + "img-src 'self' https: http: data: blob:; media-src 'self' https: http: blob:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            + "require-trusted-types-for 'script'; trusted-types 'none'")
}

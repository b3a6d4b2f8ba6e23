import Bytes

/// `uri-host [":" port]` as it stands in Host and in request targets (RFC 9110 section 7.2,
/// RFC 3986 section 3.2). There is no userinfo: RFC 9110 section 4.2.4 has it treated as an error,
/// since it is likely to hide the real host.
enum HTTPAuthority {
    enum PortRule { case optional, required }

    static func isValid(_ text: RawSpan, port rule: PortRule) -> Bool {
        let count = text.byteCount
        guard let hostEnd = endOfHost(text) else { return false }
        if hostEnd == count { return rule == .optional }
        guard text.byte(at: hostEnd) == HTTPByte.colon else { return false }
        // port = *DIGIT: "host:" is a host with the default port.
        let digits = count &- hostEnd &- 1
        guard digits <= 5, digits > 0 || rule == .optional else { return false }
        var value = 0
        var i = hostEnd &+ 1
        while i < count {
            let digit = text.byte(at: i) &- 0x30
            guard digit < 10 else { return false }
            value = value &* 10 &+ Int(digit)
            i &+= 1
        }
        return value <= 65535
    }

    /// Where the host ends; nil when it is empty or malformed.
    private static func endOfHost(_ text: RawSpan) -> Int? {
        let count = text.byteCount
        guard count > 0 else { return nil }
        if text.byte(at: 0) == 0x5B {
            var close = 1
            while close < count, text.byte(at: close) != 0x5D { close &+= 1 }
            guard close < count, isIPv6(text.extracting(1..<close)) else { return nil }
            return close &+ 1
        }
        var i = 0
        while true {
            i = HTTPByteClass.registeredName.endOfRun(text, from: i, to: count)
            guard i < count, text.byte(at: i) == HTTPByte.percent else { break }
            guard HTTPByte.isPercentEncoding(text, at: i, before: count) else { return nil }
            i &+= 3
        }
        return i > 0 ? i : nil
    }

    /// IPv6address, RFC 3986 section 3.2.2: eight groups, or fewer around one "::"; the last two
    /// may be an IPv4 address. Zones and IPvFuture are refused.
    private static func isIPv6(_ text: RawSpan) -> Bool {
        let count = text.byteCount
        var groups = 0
        var i = 0
        var compressed = false
        if count >= 2, text.load16(at: 0) == 0x3A3A {
            if count == 2 { return true }
            compressed = true
            i = 2
        }
        while true {
            let start = i
            while i < count, i &- start < 4, HTTPByteClass.hexDigit.contains(text.byte(at: i)) {
                i &+= 1
            }
            guard i > start else { return false }
            if i < count, text.byte(at: i) == 0x2E {
                guard isIPv4(text.extracting(start..<count)) else { return false }
                groups &+= 2
                break
            }
            groups &+= 1
            if i == count { break }
            guard text.byte(at: i) == HTTPByte.colon, i &+ 1 < count else { return false }
            i &+= 1
            if text.byte(at: i) == HTTPByte.colon {
                guard !compressed else { return false }
                compressed = true
                i &+= 1
                if i == count { break }
            }
        }
        return compressed ? groups <= 7 : groups == 8
    }

    /// Four numbers from 0 to 255 without leading zeros.
    private static func isIPv4(_ text: RawSpan) -> Bool {
        var i = 0
        var octet = 0
        while octet < 4 {
            let start = i
            var value = 0
            while i < text.byteCount, text.byte(at: i) &- 0x30 < 10, i &- start < 3 {
                value = value &* 10 &+ Int(text.byte(at: i) &- 0x30)
                i &+= 1
            }
            guard i > start, value <= 255 else { return false }
            if i &- start > 1, text.byte(at: start) == 0x30 { return false }
            octet &+= 1
            if octet == 4 { break }
            guard i < text.byteCount, text.byte(at: i) == 0x2E else { return false }
            i &+= 1
        }
        return i == text.byteCount
    }
}
